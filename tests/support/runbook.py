"""The blocks of code on the pages of the runbook, each of which is run, or says in its first line why not."""

import re
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

FOLDER = Path(__file__).parents[2] / "docs" / "runbook"
_NOT_RUN = re.compile(r"# not run here: (\S.*)")


class Block(NamedTuple):
    """Commands of a shell; `not_run`: why they are not run, empty where they are."""

    commands: str
    not_run: str


def pages() -> list[Path]:
    """In the order in which the index has them, and in which they are run."""
    (names,) = re.findall(r"```\{toctree\}\n(?::.*\n)*\n(.*?)```", (FOLDER / "index.md").read_text(), flags=re.DOTALL)
    return [FOLDER / f"{name}.md" for name in names.split()]


def blocks(page: Path) -> list[Block]:
    """Those without a language, which are for a shell; others are files."""
    fences = [token for token in MarkdownIt().parse(page.read_text()) if token.type == "fence" and not token.info]
    reasons = [_NOT_RUN.match(fence.content) for fence in fences]
    return [Block(fence.content, reason[1] if reason else "") for fence, reason in zip(fences, reasons, strict=True)]


def script(page: Path) -> str:
    """What of the page is run, as one script of bash that names each block before it begins."""
    parts = ["set -euo pipefail"]
    for number, block in enumerate(blocks(page), 1):
        if not block.not_run:
            parts += [f"echo '--- block {number} of {page.name}' >&2", block.commands]
    return "\n".join(parts)
