"""Processes that work for this one: how many, for what, within which limits, and that they end."""
