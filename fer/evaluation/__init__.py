"""From a model to a verdict."""
