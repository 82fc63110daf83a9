"""The report of a run that trained a model."""
