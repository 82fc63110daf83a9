"""Rows as tables of Markdown."""

from collections.abc import Mapping, Sequence

from fer import plain_text


def table(rows: Sequence[Mapping[str, str | int | float]]) -> str:
    """A table with the columns of the first row; numbers are set to the right. Empty without a row."""
    if not rows:
        return ""
    numeric = [isinstance(value, int | float) for value in rows[0].values()]
    lines = [
        f"| {' | '.join(plain_text.in_markdown(name) for name in rows[0])} |",
        f"|{''.join(' ---: |' if is_number else ' --- |' for is_number in numeric)}",
        *(f"| {' | '.join(map(_cell, row.values()))} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _cell(value: str | int | float) -> str:
    return f"{value:,}" if isinstance(value, int) else plain_text.in_markdown(str(value))
