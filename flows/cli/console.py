"""Where the commands print, and how text from outside is printed: as letters, never as markup or control characters."""

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from fer import plain_text, redaction

UNBOUNDED = 100_000  # columns, where no one has to see all of a line at once


def _console(*, stderr: bool = False) -> Console:
    """A console as wide as its terminal; a file, a pipe or a CI's log is given whole lines, which can be searched."""
    console = Console(stderr=stderr, emoji=False)  # a colon in a path or an address is no emoji
    return console if console.file.isatty() else Console(stderr=stderr, width=UNBOUNDED, emoji=False)


out = _console()
err = _console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def plain(text: str, keep: str = "") -> str:
    """Text from outside, free of keys, of rich's markup, and of control characters except those in `keep`."""
    return escape(plain_text.visible(redaction.redacted(text), keep))


@contextlib.contextmanager
def waiting(screen: Console, what: str) -> Iterator[None]:
    """Show `what` is waited for within the block: beside a spinner in a terminal, as one line elsewhere."""
    if screen.is_terminal:
        with screen.status(f"[dim]{plain(what)}[/]"):
            yield
    else:
        screen.print(f"  {plain(what)}", highlight=False, soft_wrap=True)
        yield


def escape_what_cannot_be_shown() -> None:
    """From now on, a letter that the terminal's encoding does not have is printed as `\\u2713` is."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show_error(message: str) -> None:
    """Print the one message that a failed command ends with, on standard error."""
    err.print(f"[red bold]error:[/] {plain(message, keep=chr(10))}", highlight=False, soft_wrap=True)
