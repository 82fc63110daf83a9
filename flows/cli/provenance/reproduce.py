"""The command `fer models reproduce`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import console, options

if TYPE_CHECKING:
    from fer.recipes.reproduction import Reproduction

DIFFERS = 13  # the exit code when a release did not come out the same
_DIGITS = 12  # of a digest


def reproduce(
    spec: Annotated[str, typer.Argument(metavar="NAME@champion|NAME@VERSION")],
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            help="Where its data is now, if that was an archive or a folder: the manifest has its digest alone. May be "
            "repeated.",
            metavar="archive:PATH.zip|folder:PATH",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Where the file of weights is now that its training started from, if it is not where it was.",
            metavar="PATH.h5",
        ),
    ] = None,
    kaggle_secret: options.KaggleSecret = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the attempt's workspace in FER_HOME.")] = False,
    as_json: console.AsJson = False,
    verbose: options.Verbose = False,
) -> None:
    """Make a release again from its manifest alone, and say whether its bits come out the same.

    In a workspace of its own: no output of an earlier run is used, nothing is registered, no alias moves. It takes as
    long as the retraining took. Exit code 0: the same bits; 13: they differ, and it says in which stage first, and why.
    """
    from fer import settings
    from fer.ingest import sources
    from fer.registry import names

    names.parse_spec(spec)
    for given in source or []:
        sources.parse(given)
    settings.Settings.load().require_home()
    options.prepare_prefect(verbose)
    screen = console.err if as_json else console.out
    screen.print(f"making again: [bold]{console.plain(spec)}[/]", highlight=False, soft_wrap=True)
    with options.starting(screen):
        from flows import reproduce as reproduce_module
    with options.shown(screen):
        found = reproduce_module.reproduce(
            spec, source or [], kaggle_secret, keep, None if weights is None else str(weights)
        )
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        _show(found)
    if not found.is_same:
        raise typer.Exit(DIFFERS)


def _show(found: "Reproduction") -> None:
    from flows.cli import terminal

    rows = [
        {
            "stage": stage.stage,
            "": "not made again" if not stage.after else "differs" if stage.differs else "the same",
            "in the release": ", ".join(digest[:_DIGITS] for digest in stage.before),
            "made again": ", ".join(digest[:_DIGITS] for digest in stage.after),
        }
        for stage in found.stages
    ]
    terminal.print_rows(console.out, found.release, rows)
    for remark in found.remarks:
        console.out.print(f"[yellow]![/] {console.plain(remark)}", highlight=False, soft_wrap=True)
    mark = "[green]✓[/]" if found.is_same else "[red]✗[/]"
    console.out.print(f"{mark} {console.plain(found.sentence())}", highlight=False, soft_wrap=True)
