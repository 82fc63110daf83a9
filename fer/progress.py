"""How a stage says how far it is: a callable that takes what is done of how much, with a `note` for what to keep."""

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Where a stage reports to."""

    def __call__(self, done: int, total: int, text: str = "") -> None:
        """So much of `total` (at least 1) is done; `text` says what is counted, and may change from call to call."""

    def note(self, text: str) -> None:
        """A line to keep, such as how much memory a training will need: nothing is counted."""


class _Silent:
    def __call__(self, done: int, total: int, text: str = "") -> None:
        pass

    def note(self, text: str) -> None:
        pass


silent: Progress = _Silent()  # the default: says nothing


class Reporter:
    """A Progress of two functions: `count` is called as the Progress is, `note` as its `note`."""

    def __init__(self, count: Callable[[int, int, str], None], note: Callable[[str], None] = silent.note):
        self._count = count
        self._note = note

    def __call__(self, done: int, total: int, text: str = "") -> None:
        self._count(done, total, text)

    def note(self, text: str) -> None:
        """See Progress."""
        self._note(text)
