"""Refs: the small frozen records that stages hand to each other, and that Prefect carries, caches and shows.

A Ref names a folder in the workspace and the digest of what is in it; never an array, a frame or a model. Each package
has a `refs` of its own, with those that its stages make."""

from fer.engine.records import Record

Counts = dict[str, int]  # class, split or reason -> images


class Ref(Record):
    """`path` is the folder, relative to the workspace; `digest` the SHA-256 of its content. The workspace sets both."""

    path: str = ""
    digest: str = ""

    def summary(self) -> str:
        """One line for the terminal and the Prefect UI."""
        return ""
