"""Files that a user leaves out, by globs on their paths."""

import fnmatch
import re
from collections.abc import Iterable, Sequence
from itertools import accumulate

from fer.ingest import archives


class Exclusion:
    """Which files `patterns` leave out.

    A glob with a slash is matched with the whole path of a file or of a folder above it, one without with their names
    alone. `*` stands for any characters, slashes among them.
    """

    def __init__(self, patterns: Sequence[str]):
        self._matchers = {pattern: re.compile(fnmatch.translate(pattern.strip("/"))) for pattern in patterns}
        self._used: set[str] = set()

    def kept(self, members: Iterable[archives.Member]) -> list[archives.Member]:
        """The members that no pattern leaves out."""
        return [member for member in members if not self._leaves_out(member.name)]

    @property
    def unused(self) -> tuple[str, ...]:
        """The patterns that left nothing out so far."""
        return tuple(pattern for pattern in self._matchers if pattern not in self._used)

    def _leaves_out(self, path: str) -> bool:
        names = path.split("/")
        paths = list(accumulate(names, "{}/{}".format))
        leaving = {
            pattern
            for pattern, matcher in self._matchers.items()
            if any(map(matcher.match, paths if "/" in pattern.strip("/") else names))
        }
        self._used |= leaving
        return bool(leaving)
