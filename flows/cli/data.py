"""The commands `fer data …`: the data, checked, compared and forgotten without training."""

from pathlib import Path
from typing import Annotated

import typer

from fer import errors
from flows.cli import console, options
from flows.cli.comparing import data_diff
from flows.cli.provenance import forget

app = typer.Typer(help="The data: checked, compared and forgotten, without training.", no_args_is_help=True)


@app.command()
def check(
    source: Annotated[list[str], typer.Argument(help=f"{options.SOURCE}. Several are merged.", metavar="SOURCE…")],
    recipe: options.RecipeName = "fer2013-cnn",
    set_: options.Settings = None,
    kaggle_secret: options.KaggleSecret = None,
    show_faces: Annotated[
        bool, typer.Option("--show-faces", help="Write a second report, which shows faces, on this machine.")
    ] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Remember the data as accepted: the next check compares with it.")
    ] = False,
    as_json: console.AsJson = False,
    verbose: options.Verbose = False,
) -> None:
    """Check data by a recipe's contracts and policies, without training, and write the quality report.

    Nothing is changed; the data is compared with what was accepted last by `fer retrain`, `--accept` or the flow
    `ingest`. Exit code 0: fit for training; 8: not; anything else: an error, named in one message.
    """
    parameters = options.flow_parameters(source, recipe, set_ or [], kaggle_secret)
    options.prepare_prefect(verbose)
    screen = console.err if as_json else console.out
    options.announce(screen, "checking", source, recipe)

    with options.starting(screen):
        from flows import ingest
        from flows.cli import terminal
    try:
        with options.shown(screen):
            result = ingest.ingest(**parameters, accept=accept, show_faces=show_faces)
    except errors.UnfitData as unfit:
        if as_json:
            typer.echo(Path(unfit.reports["as JSON"]).read_text())
        raise
    if as_json:
        typer.echo(Path(result.reports["as JSON"]).read_text())
    else:
        terminal.show_ingest(console.out, result, source)


app.command("diff")(data_diff.diff)
app.command("forget")(forget.forget)
