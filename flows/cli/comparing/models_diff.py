"""The command `fer models diff`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import console, options
from flows.cli.comparing import bringing_in

if TYPE_CHECKING:
    from fer.registry.version_differences import Release, Scored


Source = Annotated[
    list[str] | None,
    typer.Option(
        help=f"{options.SOURCE}: score both on its test images that neither was trained on, in place of those that "
        "both were judged by. May be repeated.",
        metavar="SOURCE",
    ),
]


@options.with_run_options(recipe="fer2013-cnn", sources=Source, default_source=None)
def diff(
    run: options.RunOptions,
    a: Annotated[str, typer.Argument(metavar="NAME@VERSION")],
    b: Annotated[str, typer.Argument(metavar="NAME@VERSION")],
    latency: Annotated[bool, typer.Option("--latency/--no-latency", help="Measure how long an image takes.")] = True,
    as_json: console.AsJson = False,
) -> None:
    """Compare two versions: their answers to the test images of both, what they cost, what they were made of.

    Each is NAME@VERSION, NAME@ALIAS, or NAME for its champion. Differences are B minus A. The recipe is for --source.
    """
    from fer import settings
    from fer.registry import releases, version_differences
    from fer.reports import version_differences as shown

    parameters = None
    if run.sources:
        parameters = run.parameters()
        options.prepare_prefect(run.verbose)
    settings.Settings.load().require_home()
    with releases.local_copy(a) as first, releases.local_copy(b) as second:
        old, new = version_differences.Release(*first), version_differences.Release(*second)
        scored = None if parameters is None else _scored(old, new, parameters, run.recipe, quiet=as_json)
        found = version_differences.between(old, new, scored, time_them=latency)
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    from flows.cli import terminal

    terminal.print_rows(console.out, f"A: {found.a}, B: {found.b}", shown.figures(found))
    console.out.print(console.plain(shown.sentence(found)), highlight=False, soft_wrap=True)
    if rows := shown.changes(found):
        terminal.print_rows(console.out, "what differs", rows)


def _scored(a: "Release", b: "Release", parameters: dict[str, Any], recipe: str, *, quiet: bool) -> "Scored":
    from fer import settings
    from fer.engine import connect
    from fer.registry import version_differences
    from fer.registry.opponents import rescoring

    data = bringing_in.bring_in(parameters, recipe, quiet=quiet)
    with connect.workspace(settings.Settings.load()) as workspace:
        of_a, of_b = (rescoring.answers(release.manifest, data.manifest, data.split, workspace) for release in (a, b))
    return version_differences.Scored(tuple(parameters["sources"]), of_a, of_b)
