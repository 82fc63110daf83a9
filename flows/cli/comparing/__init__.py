"""The commands that set models, releases and versions of data beside each other, or a model against data."""
