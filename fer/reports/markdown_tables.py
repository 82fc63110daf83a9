"""Rows as tables of Markdown."""

import re
from collections.abc import Mapping, Sequence

from fer import plain_text

_NUMBER = re.compile(r"[+−-]?[0-9][0-9,]*(?:\.[0-9]+)?(?:e[+−-]?[0-9]+)? ?%?")


def table(rows: Sequence[Mapping[str, str | int | float]]) -> str:
    """A table with the columns of the first row; those of numbers, or texts of them, are set to the right. Empty
    without a row.
    """
    if not rows:
        return ""
    numeric = [_are_numbers([row.get(name, "") for row in rows]) for name in rows[0]]
    lines = [
        f"| {' | '.join(plain_text.in_markdown(name) for name in rows[0])} |",
        f"|{''.join(' ---: |' if is_number else ' --- |' for is_number in numeric)}",
        *(f"| {' | '.join(map(_cell, row.values()))} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _are_numbers(column: Sequence[str | int | float]) -> bool:
    texts = [value for value in column if isinstance(value, str) and value]
    return any(value != "" for value in column) and all(map(_NUMBER.fullmatch, texts))


def _cell(value: str | int | float) -> str:
    return f"{value:,}" if isinstance(value, int) else plain_text.in_markdown(str(value))
