"""How a stage says how far it is: a callable that takes (done, total, note).

With a total of 0 nothing is counted: the note is one to keep, such as how much memory a training will need.
"""

from typing import Protocol


class Progress(Protocol):
    def __call__(self, done: int, total: int, note: str = "") -> None: ...


def silent(done: int, total: int, note: str = "") -> None:
    """The default: says nothing."""
