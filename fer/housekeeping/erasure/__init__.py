"""Erasure: images that are to be forgotten, what knew them, what of it is removed, and a report about it."""
