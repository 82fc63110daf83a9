"""Text from outside – paths, labels, messages – where only its letters are to be seen.

A line feed, ESC, or a character that turns the direction of what follows would shape what stands around it.
"""

import json
import re
import unicodedata
from typing import Any

# What no label, file name or column may hold: controls, separators of lines, marks of direction. They would break a
# report's lines, turn what a terminal shows, or make two names look like one.
UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_SHOWN_CHARS = 80
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode categories
# What CommonMark and GitHub's tables, strikethrough, mentions and bare addresses give a meaning to within a line.
_MARKUP = re.compile(r"[\\`*_\[\]<>|#~&@!]|:(?=//)|(?<=www)\.", re.IGNORECASE)


def visible(text: str, keep: str = "") -> str:
    """The text with each character that can't be seen spelt out, except those in `keep`: ESC is `\\u001b`."""
    unseen = {character for character in set(text) - set(keep) if unicodedata.category(character) in _UNSEEN}
    return text.translate({ord(character): f"\\u{ord(character):04x}" for character in unseen})


def in_markdown(text: str) -> str:
    """The text as part of a line of Markdown, in which nothing is markup."""
    return _MARKUP.sub(r"\\\g<0>", visible(text))


def parse_value(text: str) -> Any:
    """A setting's value: read as JSON, or else as it stands."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # of thousands of digits or brackets: it is no setting either
        return text


def quoted(text: str) -> str:
    """Text from a source for a message: quoted, escaped where it can't be printed, cut after some 80 characters."""
    literal = repr(text[: _SHOWN_CHARS + 1])
    return literal if len(literal) <= _SHOWN_CHARS + 2 else f"{literal[:_SHOWN_CHARS]}...{literal[0]}"
