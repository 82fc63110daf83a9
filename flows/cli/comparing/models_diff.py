"""The command `fer models diff`."""

from typing import Annotated

import typer

from flows.cli import console


def diff(
    a: Annotated[str, typer.Argument(metavar="NAME@VERSION")],
    b: Annotated[str, typer.Argument(metavar="NAME@VERSION")],
    latency: Annotated[bool, typer.Option("--latency/--no-latency", help="Measure how long an image takes.")] = True,
    as_json: console.AsJson = False,
) -> None:
    """Compare two versions: their answers to the test images of both, what they cost, what they were made of.

    Each is NAME@VERSION, NAME@ALIAS, or NAME for its champion. Differences are B minus A.
    """
    from fer import settings
    from fer.registry import releases, version_differences
    from fer.reports import version_differences as shown

    settings.Settings.load().require_home()
    with releases.local_copy(a) as first, releases.local_copy(b) as second:
        found = version_differences.between(
            version_differences.Release(*first), version_differences.Release(*second), time_them=latency
        )
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    from flows.cli import terminal

    terminal.print_rows(console.out, f"A: {found.a}, B: {found.b}", shown.figures(found))
    console.out.print(console.plain(shown.sentence(found)), highlight=False, soft_wrap=True)
    if rows := shown.changes(found):
        terminal.print_rows(console.out, "what differs", rows)
