"""The command `fer data forget`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fer import errors
from flows.cli import console

if TYPE_CHECKING:
    from fer.housekeeping.erasure.erase import Asked, Erasure

_DIGEST = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}")
_SHOWN = 12  # things


def forget(
    subject: Annotated[
        str | None, typer.Option(help="All pictures of one whom the index knows by this name.", metavar="SUBJECT")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="The picture in this file.", metavar="FILE")] = None,
    digest: Annotated[
        str | None,
        typer.Option(help="The picture with this SHA-256 of its pixels or file, or image ID.", metavar="DIGEST"),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, e.g. the number of the request; it is kept.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this it is only shown.")] = False,
    as_json: console.AsJson = False,
) -> None:
    """Have pictures forgotten, and their near-twins: no later run takes them in. Says which releases knew them.

    With --yes a tombstone is written, which knows them again without a picture; what holds their pixels in the
    workspace is removed, and a report is written. What was left half done is finished by the same command.
    Exit code 6: a run is at work, or something was in use.
    """
    from fer import settings
    from fer.housekeeping.erasure import erase, report
    from fer.registry import releases

    configured = settings.Settings.load()
    configured.require_home()
    asked = _asked(subject, file, digest, reason)
    with releases.open_registry(unsigned=True) as models:
        found = erase.forget(asked, configured, models, apply=yes)
    written = report.write(found, erase.folder_of(configured.home, found)) if found.did_something else {}
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        _show(found, written)
    if found.in_use:
        raise typer.Exit(errors.WorkspaceError.exit_code)


def _asked(subject: str | None, file: Path | None, digest: str | None, reason: str) -> "Asked":
    from fer.housekeeping.erasure import erase

    given: list[tuple[Literal["subject", "file", "digest"], str]] = []
    if subject is not None:
        given.append(("subject", subject))
    if file is not None:
        given.append(("file", str(file)))
    if digest is not None:
        given.append(("digest", digest.lower()))
    if len(given) != 1 or not given[0][1]:
        raise errors.ConfigError(
            "What is to be forgotten must be named in one way.",
            received=", ".join(f"--{kind}" for kind, _ in given) or "none of --subject, --file and --digest",
            todo="give one of --subject, --file and --digest; run it again for another",
        )
    if digest is not None and not _DIGEST.fullmatch(given[0][1]):
        raise errors.ConfigError(
            "A digest must be a SHA-256, 64 hexadecimal digits, or an image ID, 32 of them.",
            received=digest,
            todo="copy it from a report, or give the picture by --file",
        )
    return erase.Asked(*given[0], reason)


def _show(found: "Erasure", written: dict[str, Path]) -> None:
    from fer.engine.code import key_parts
    from flows.cli import terminal

    rows = [
        {
            "release": known.release,
            "status": "champion" if known.is_champion else known.status,
            "trained on": known.n_train,
            "chosen by": known.n_validation,
            "tested on": known.n_test,
            "": "must be retrained" if known.must_be_retrained else "",
        }
        for known in found.releases
    ]
    if rows:
        terminal.print_rows(console.out, "releases that knew them", rows)
    for thing in found.things[:_SHOWN]:
        name = console.plain(key_parts.short(thing.name))
        _say(f"{thing.fate}: {name}, {console.plain(thing.what)}, {thing.size_bytes / 1e6:,.1f} MB")
    if len(found.things) > _SHOWN:
        _say(f"… and {len(found.things) - _SHOWN:,} more")
    if not found.n_asked_for:
        _say(
            f"[yellow]![/] no picture of this {found.asked_by} is known here (any more); "
            f"{found.n_earlier_tombstones:,} earlier tombstones stand"
        )
    elif found.is_done:
        known = "" if found.tombstone else " already"
        _say(f"[green]✓[/] to be forgotten{known}: {found.pictures()}; no later run takes them in")
    else:
        _say(f"would be forgotten: {found.pictures()}; nothing was changed")
    terminal.print_places(console.out, [(title, str(path)) for title, path in written.items()])
    if found.silent_releases:
        _say(f"[yellow]![/] not known what these were trained on: {console.plain(', '.join(found.silent_releases))}")
    if found.in_use:
        _say(f"[yellow]![/] in use: {console.plain(', '.join(found.in_use))}. Next: the same command again")
    if not found.is_done and (found.n_asked_for or found.things):
        _say("next:  the same command with --yes")
    elif found.retrained:
        spec = console.plain(found.retrained[0])
        _say(
            f"next:  fer retrain …, fer models promote NAME@VERSION of it, fer models withdraw {spec} --reason ERASURE"
        )


def _say(text: str) -> None:
    console.out.print(text, highlight=False, soft_wrap=True)
