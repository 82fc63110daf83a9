"""Where the commands print, and how text from outside is printed: as letters, never as markup or control characters."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from fer import plain_text, redaction

out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def plain(text: str, keep: str = "") -> str:
    """Text from outside, free of keys, of rich's markup, and of control characters except those in `keep`."""
    return escape(plain_text.visible(redaction.redacted(text), keep))


def show_error(message: str) -> None:
    """Print the one message that a failed command ends with, on standard error."""
    err.print(f"[red bold]error:[/] {plain(message, keep=chr(10))}", highlight=False, soft_wrap=True)
