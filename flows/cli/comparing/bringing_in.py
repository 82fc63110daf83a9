"""Data that a command needs to compare with: brought in and checked, but not accepted."""

from typing import TYPE_CHECKING, Any

from flows.cli import console, options

if TYPE_CHECKING:
    from tasks.runs.results import IngestResult


def bring_in(parameters: dict[str, Any], recipe: str, *, quiet: bool) -> "IngestResult":
    """Run the flow `ingest` with these parameters; `quiet`: its progress is no part of standard output."""
    screen = console.err if quiet else console.out
    options.announce(screen, "checking", parameters["sources"], recipe)
    with options.starting(screen):
        from flows import ingest
    with options.shown(screen):
        return ingest.ingest(**parameters, accept=False)
