"""How a stage says how far it is: a callable that takes (done, total, note)."""

from typing import Protocol


class Progress(Protocol):
    def __call__(self, done: int, total: int, note: str = "") -> None: ...


def silent(done: int, total: int, note: str = "") -> None:
    """The default: says nothing."""
