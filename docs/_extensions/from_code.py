"""What the directives share whose text is made from the code: their base, and the parts of a Markdown table."""

import abc
from collections.abc import Iterator

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class Directive(SphinxDirective, abc.ABC):
    """A directive without options; its subclass says what Markdown stands in its place."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes that stand where the directive stood."""
        self.env.note_reread()
        return self.parse_text_to_nodes("\n".join(self.lines()), allow_section_headings=True)

    @abc.abstractmethod
    def lines(self) -> Iterator[str]:
        """The Markdown (or, on a page of reST, reST)."""


def table(*columns: str) -> str:
    """The head of a table."""
    return f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}"


def row(*cells: str) -> str:
    """A row of a table, in one line whatever the cells hold."""
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"


def code(text: str) -> str:
    """`text` as code; nothing for nothing."""
    return f"`{text}`" if text else ""
