"""The command `fer gc`: remove what nothing needs any more."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fer import errors
from flows.cli import console

if TYPE_CHECKING:
    from fer.housekeeping.collect import Collection, Proof, Removed
    from fer.housekeeping.liveness import Policy

_SHOWN = 5  # faults
ReleasesOlderThan = Annotated[
    float | None,
    typer.Option(
        "--releases-older-than",
        metavar="DAYS",
        min=0,
        help="Days after which the files of a release go that nothing needs; without it those of withdrawn ones alone.",
    ),
]


def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this it is only shown.")] = False,
    older_than: Annotated[
        float, typer.Option(metavar="DAYS", min=0, help="Days since its last use after which a thing goes.")
    ] = 30,
    keep_last: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of each stage and model those used last, which stay.")
    ] = 3,
    max_gb: Annotated[
        float | None, typer.Option(min=0, help="GB that all may take; what was used longest ago goes for the rest.")
    ] = None,
    grace: Annotated[
        float, typer.Option(metavar="HOURS", min=0, help="Hours since its last use in which nothing goes.")
    ] = 24,
    releases_older_than: ReleasesOlderThan = None,
    as_json: console.AsJson = False,
) -> None:
    """Show what nothing needs any more, and with --yes remove it, then prove that all that is needed is whole.

    On this machine, and in the store: there abandoned uploads, and the files of withdrawn releases and, if it is asked
    for, of old ones; their manifests and logs stay.

    Never what a champion, its anchor, an alias, one of the last N champions, a pinned version or the accepted data
    needs, nor what a run at work has used. Exit code 7: something that is needed is not whole.
    """
    from fer.housekeeping import liveness

    policy = liveness.Policy(
        older_than_days=older_than,
        keep_last=keep_last,
        max_bytes=None if max_gb is None else int(max_gb * 1e9),
        releases_older_than_days=releases_older_than,
        grace_hours=grace,
    )
    _collect(policy, yes=yes, as_json=as_json)


def gc_of_models(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this it is only shown.")] = False,
    older_than: Annotated[
        float,
        typer.Option(metavar="DAYS", min=0, help="Days after its withdrawal after which the files of a release go."),
    ] = 30,
    keep_last: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of each model the last champions, which stay.")
    ] = 3,
    grace: Annotated[
        float, typer.Option(metavar="HOURS", min=0, help="Hours since its last use on this machine in which none goes.")
    ] = 24,
    releases_older_than: ReleasesOlderThan = None,
    as_json: console.AsJson = False,
) -> None:
    """Show what of the store nothing needs any more, and with --yes remove it: what `fer gc` does, there alone.

    The files of withdrawn releases, abandoned uploads, and, if it is asked for, the files of old releases. Their
    manifests, logs and signatures stay. Exit code 7: something that is needed is not whole.
    """
    from fer.housekeeping import liveness

    policy = liveness.Policy(
        older_than_days=older_than,
        keep_last=keep_last,
        releases_older_than_days=releases_older_than,
        grace_hours=grace,
    )
    _collect(policy, yes=yes, as_json=as_json, only_store=True)


def _collect(policy: "Policy", *, yes: bool, as_json: bool, only_store: bool = False) -> None:
    from fer import settings
    from fer.housekeeping import collect
    from fer.registry import releases

    configured = settings.Settings.load()
    configured.require_home()
    with releases.open_registry() as models:
        collection = collect.Collection(configured, policy, models, only_store=only_store)
        removed = collection.remove() if yes else None
        proof = collection.prove() if yes else None
    if as_json:
        typer.echo(json.dumps(_document(collection, removed, proof), indent=1))
    else:
        _print(collection, removed, proof)
    if proof is not None and proof.faults:
        raise typer.Exit(errors.IntegrityError.exit_code)


def _print(collection: "Collection", removed: "Removed | None", proof: "Proof | None") -> None:
    from fer.housekeeping.collect import room

    table = Table("kind", "goes", "", "stays", "")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in collection.by_kind():
        cells = (f"{row.n_goes:,}", room(row.goes_bytes), f"{row.n_stays:,}", room(row.stays_bytes))
        table.add_row(console.plain(row.kind), *cells)
    console.out.print(table)
    if removed is None or proof is None:
        _say(f"{collection.preview()}.")
        if any(row.n_goes for row in collection.by_kind()):
            _say("next:  the same command with --yes")
        return
    _say(f"{removed.sentence()}.")
    _say(f"{'[red]✗[/]' if proof.faults else '[green]✓[/]'} {proof.sentence()}")
    for fault in proof.faults[:_SHOWN]:
        _say(f"  {console.plain(fault)}")
    if proof.faults:
        _say("next:  fer models repair NAME, or restore it from a backup; outputs are made again by the next run")


def _document(collection: "Collection", removed: "Removed | None", proof: "Proof | None") -> dict[str, object]:
    gone = {item.name for item in removed.gone} if removed is not None else set()
    return {
        "things": [
            {
                "place": judged.title,
                "name": fate.item.name,
                "kind": fate.item.kind,
                "size_bytes": fate.item.size_bytes,
                "last_used": fate.item.last_used,
                "stays": fate.stays or None,
                "removed": fate.item.name in gone,
            }
            for judged in collection.judged
            for fate in judged.fates
        ],
        "roots": {name: root.why for name, root in collection.roots.items()},
        "proof": None if proof is None else proof._asdict(),
    }


def _say(text: str) -> None:
    console.out.print(text, highlight=False, soft_wrap=True)
