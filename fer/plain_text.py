"""Text from outside – paths, labels, messages – where only its letters are to be seen.

A line feed, ESC, or a character that turns the direction of what follows would shape what stands around it.
"""

import json
import re
import unicodedata
from typing import Any

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode categories
# What CommonMark and GitHub's tables, strikethrough, mentions and bare addresses give a meaning to within a line.
_MARKUP = re.compile(r"[\\`*_\[\]<>|#~&@!]|:(?=//)|(?<=www)\.", re.IGNORECASE)


def visible(text: str, but: str = "") -> str:
    """The text with each character that can't be seen, but for those in `but`, spelt out: ESC is `\\u001b`."""
    unseen = {each for each in set(text) - set(but) if unicodedata.category(each) in _UNSEEN}
    return text.translate({ord(each): f"\\u{ord(each):04x}" for each in unseen})


def in_markdown(text: str) -> str:
    """The text as part of a line of Markdown, in which nothing is markup."""
    return _MARKUP.sub(r"\\\g<0>", visible(text))


def parse_value(text: str) -> Any:
    """A setting's value: read as JSON, or else as it stands."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # of thousands of digits or brackets: it is no setting either
        return text
