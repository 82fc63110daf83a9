"""The command `fer models log`."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.padding import Padding

from flows.cli import console
from flows.cli.registry import opening

if TYPE_CHECKING:
    from fer.registry.log import Entry


def show_log(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    limit: Annotated[int, typer.Option(min=0, help="At most so many entries, the last ones; 0: all.")] = 0,
    as_json: console.AsJson = False,
) -> None:
    """List what was done with a model: who, when, from which champion to which, upon what verdict, why."""
    with opening.opened(unsigned=True) as models:
        log = models.log(name)
    entries = log.entries[-limit:] if limit else log.entries
    if as_json:
        documents = [entry.model_dump(mode="json") | {"digest": entry.digest} for entry in entries]
        typer.echo(json.dumps(documents, indent=1))
        return
    if not log.entries:
        console.out.print(f"Nothing is in the log of {console.plain(name)}. See: fer models list", soft_wrap=True)
        return
    for entry in entries:
        _print_entry(entry)
    console.out.print("The digest of the last entry, which covers all of them:", highlight=False)
    console.out.print(f"      {log.entries[-1].digest}", highlight=False)


def or_none(version: int | None) -> str:
    """The number of a version, or `none`."""
    return "none" if version is None else str(version)


def _print_entry(entry: "Entry") -> None:
    """A line for what was done, and below it by whom and why, which may be long."""
    action = f"{entry.action} {entry.status or ''}".strip()
    action += " against the gates" if entry.override else " for a reason" if entry.waiver else ""
    version = "" if entry.version is None else f" version {entry.version}"
    champion = ""
    if entry.moves:
        champion = f"; champion {or_none(entry.from_version)} → {or_none(entry.to_version)}"
    head = f"[bold]{entry.number:>4}[/]  {entry.at_utc:%Y-%m-%d %H:%M} UTC  {action}{version}{champion}"
    console.out.print(head, highlight=False, soft_wrap=True)
    signed = "" if entry.signature is None else f"; signed by the key {entry.signature.key}"
    for text in (f"by {entry.by}{signed}", entry.reason or "; ".join(entry.verdict)):
        if text:
            console.out.print(Padding(console.plain(text), (0, 0, 0, 6), expand=False), highlight=False)
