"""Regular expressions of a recipe that find a label or a subject in paths, in bounded time.

Python's own `re` can be sent searching for years by a few characters, and nothing stops it then; `regex` stops.
"""

import math
import re
import time

import regex

from fer import errors

_MOST_CHARS = 500
_MOST_REPEATS = 10_000  # the product of all that stand in braces: `regex` writes them out
_SECONDS = 60.0  # for all paths of a source; two million take 10 s
_SECONDS_A_PATH = 2.0


def check(pattern: str) -> str:
    """The pattern, if it can be used; raises ValueError for one that is not valid, or has no group."""
    if len(pattern) > _MOST_CHARS:
        raise ValueError(f"the regular expression must have at most {_MOST_CHARS} characters")
    counts = [max(int(count[:6] or 1) for count in pair) for pair in re.findall(r"\{(\d*),?(\d*)\}", pattern)]
    if math.prod(counts) > _MOST_REPEATS:
        raise ValueError(f"the repeats in braces must not multiply to more than {_MOST_REPEATS:,}")
    try:
        re.compile(pattern)  # what Python does not know is not what is documented
        n_groups = regex.compile(pattern).groups
    except (re.error, regex.error, RecursionError, OverflowError) as error:
        raise ValueError(f"the regular expression must be valid: {error}") from None
    if not n_groups:
        raise ValueError("the regular expression must have a group around what is meant, such as (S[0-9]+)")
    return pattern


class PathPattern:
    """A pattern from `check`; `setting` names it in errors."""

    def __init__(self, setting: str, pattern: str):
        self._setting = setting
        self._pattern = regex.compile(pattern)
        self._text = pattern
        self._left_s = _SECONDS

    def find(self, path: str) -> str | None:
        """What the first group matches in the path; None where the pattern or its group doesn't.

        Raises ConfigError once the search has taken too long over all paths.
        """
        began = time.perf_counter()
        try:
            match = self._pattern.search(path, timeout=max(min(self._left_s, _SECONDS_A_PATH), 0.001))
        except TimeoutError:
            raise errors.ConfigError(
                f"{self._setting} must be found in a path within {_SECONDS_A_PATH:.0f} s, in all in {_SECONDS:.0f}.",
                received=f"{self._text!r}, which takes longer",
                todo="write it without repeats within repeats, such as (a+)+",
            ) from None
        self._left_s -= time.perf_counter() - began
        return match[1] or None if match else None
