"""Docstrings of this project are plain text with `code` in backticks, lists and indented drawings; autodoc wants reST.

So whoever writes one needs to know no markup, and none can break the build.
"""

import re
from typing import Any

_MARKUP = re.compile(r"([\\*|]|(?<=\w)_(?!\w))")
_FIELD_OF_TUPLE = "Alias for field number"


def to_rest(lines: list[str]) -> list[str]:
    """Lines of plain text as lines of reST."""
    rest: list[str] = []
    literal = False
    for line in lines:
        indented = line.startswith(("  ", "\t", "├", "│", "└"))
        if indented and not literal and _continues_an_item(rest):
            rest.append(line if not line.strip() else _inline(line))
            continue
        if indented and not literal:
            if rest and rest[-1].strip():
                rest.append("")
            rest += ["::", ""]
            literal = True
        elif literal and line.strip() and not indented:
            rest.append("")
            literal = False
        rest.append(f"    {line}" if literal else _inline(line))
    return rest


def _continues_an_item(rest: list[str]) -> bool:
    for line in reversed(rest):
        if not line.strip():
            return False
        if re.match(r"(\\\*|-|\d+\.) ", line):
            return True
        if not line.startswith(" "):
            return False
    return False


def _inline(line: str) -> str:
    bullet = re.match(r"\* (?=\S)", line)
    head = bullet[0] if bullet else ""
    parts = line[len(head) :].split("`")
    if len(parts) % 2 == 0:
        return head + _escaped(line[len(head) :]).replace("`", "\\`")
    text = "".join(_escaped(part) if i % 2 == 0 else _code(part) for i, part in enumerate(parts))
    return head + text


def _code(text: str) -> str:
    return f"``{text.strip()}``\\ " if text.strip() else ""


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", text)


def _process(app: Any, what: str, name: str, member: Any, options: Any, lines: list[str]) -> None:
    lines[:] = to_rest(lines)


def _skip(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Fields of named tuples stand in the signature; what has no docstring of its own is pydantic's or Python's."""
    text = getattr(member, "__doc__", None) or ""
    return True if text.startswith(_FIELD_OF_TUPLE) else None


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True}
