"""Releases: versions, aliases, history."""
