"""The command `fer score`."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import console, options


def score(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="folder:PATH, archive:PATH.zip, s3://BUCKET/PREFIX, kaggle:OWNER/SLUG or demo: image files, or "
            "tables of images as Parquet or CSV. Labels are not looked at.",
        ),
    ],
    model: Annotated[str, typer.Option(help="The release that scores.", metavar="NAME@VERSION|NAME@ALIAS")],
    output: Annotated[
        str,
        typer.Option(help="Where the scores go.", metavar="FOLDER|FILE.parquet|s3://BUCKET/PREFIX"),
    ],
    whole: Annotated[
        bool, typer.Option("--whole", help="Take each picture for a face, and look for none in it.")
    ] = False,
    runner: Annotated[
        str,
        typer.Option(
            help="Who scores: processes of this machine, Dask workers on it, or those of a cluster.",
            metavar=options.RUNNERS,
        ),
    ] = "processes",
    kaggle_secret: options.KaggleSecret = None,
    as_json: console.AsJson = False,
    verbose: options.Verbose = False,
) -> None:
    """Score pictures without labels: a row for each face, the drift against training, the accuracy to expect.

    What was scored is kept: a run that was killed goes on where it stopped, and the same pictures are not scored twice.
    """
    from fer.engine import dask_runner
    from fer.ingest import sources
    from fer.registry import names
    from fer.scoring import destination
    from tasks import block_names

    sources.parse(source)
    names.parse_spec(model)
    destination.parse(output)
    dask_runner.chosen(runner)
    if kaggle_secret is not None:
        block_names.checked(kaggle_secret)
    options.prepare_prefect(verbose)
    screen = console.err if as_json else console.out
    screen.print(
        f"scoring: source [bold]{console.plain(source)}[/], model [bold]{console.plain(model)}[/]",
        highlight=False,
        soft_wrap=True,
    )
    with options.starting(screen):
        from flows import score as score_module
        from flows.cli import terminal
    with options.shown(screen):
        result = score_module.score(
            source,
            model,
            output,
            whole=whole,
            kaggle_secret=kaggle_secret,
            runner=runner,
        )
    if as_json:
        typer.echo(Path(result.reports["as JSON"]).read_text())
    else:
        terminal.show_scores(console.out, result)
