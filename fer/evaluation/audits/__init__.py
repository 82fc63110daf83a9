"""A model held against data: a release on other data, or a model that was trained elsewhere."""
