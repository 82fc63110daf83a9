"""The `fer` command. Heavy libraries are imported by the commands that use them, so that `--help` is quick."""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from fer import errors
from flows import registry_commands, running, trials

app = typer.Typer(
    help="Retrain facial-emotion models, and look after what comes out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
recipes_app = typer.Typer(help="The recipes: what a retraining run does.", no_args_is_help=True)
data_app = typer.Typer(help="The data: checked without training.", no_args_is_help=True)
store_app = typer.Typer(help="The embedded S3 store (SeaweedFS on loopback).", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(registry_commands.app, name="models")
app.add_typer(recipes_app, name="recipes")
app.add_typer(store_app, name="store")

out = Console()
err = Console(stderr=True)
REJECTED = 10  # the exit code of `fer retrain` when the model does not become champion
UNFORESEEN = 70  # that of an error which no code here raises on purpose; EX_SOFTWARE of sysexits.h
STOPPED = 130  # that of Ctrl-C, as shells have it

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show Python's traceback when something fails.")] = False,
) -> None:
    if debug:
        os.environ["FER_DEBUG"] = "1"


def main() -> None:
    """Run the command; an error ends in one message on standard error and an exit code that is not 0."""
    try:
        app()
    except errors.FerError as error:
        _fail(str(error), error.exit_code)
    except SystemExit as ended:  # typer's answer to KeyboardInterrupt, among others
        if ended.code == STOPPED:
            _say_stopped()
        raise
    except Exception as error:  # noqa: BLE001 - nobody is left above to show it
        if _came_of_ctrl_c(error):
            _say_stopped()
            sys.exit(STOPPED)
        _fail(_unforeseen(error), UNFORESEEN)


def _say_stopped() -> None:
    err.print("stopped. Run the same command again to go on; finished stages are kept.", soft_wrap=True)


def _came_of_ctrl_c(error: BaseException | None) -> bool:
    """Whether the error came up while Ctrl-C was dealt with: Prefect trips over one before a task has begun."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _fail(message: str, code: int) -> NoReturn:
    if os.environ.get("FER_DEBUG"):
        traceback.print_exc()
    shown = running.shown(message, but="\n")
    err.print(f"[red bold]error:[/] {shown}", highlight=False, soft_wrap=True)
    sys.exit(code)


def _unforeseen(error: Exception) -> str:
    """What to say of an error that is not this project's."""
    import httpx

    more = "run it again with `fer --debug` for the traceback, or see `fer doctor`"
    if isinstance(error, httpx.TransportError) or "Failed to reach API" in str(error):
        must, received = "Prefect's API must answer.", f"{type(error).__name__}: {error}"
        todo = f"start it (make ui), or unset PREFECT_API_URL to use a temporary server; {more}"
    elif isinstance(error, OSError) and error.strerror:
        must, received = "The system must let the work be done.", error.strerror
        received += f" at {error.filename}" if error.filename else ""
        todo = f"free space or correct the permissions there, and {more}"
    else:
        return f"{type(error).__name__}: {error} Next: {more}."
    return str(errors.FerError(must, received=received.rstrip("."), todo=todo))


@app.command()
def retrain(
    source: running.Sources = None,
    recipe: running.RecipeName = "demo",
    set_: running.Settings = None,
    kaggle_secret: running.KaggleSecret = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="The model's name in the registry. Without it the recipe's, or, for another dataset than the recipe's "
            "own, SOURCE-RECIPE.",
            metavar="NAME",
        ),
    ] = None,
    runner: Annotated[
        Literal["processes", "dask"],
        typer.Option(help="Who preprocesses and balances: `processes` of this machine, or `dask` workers."),
    ] = "processes",
    dask_address: Annotated[
        str | None,
        typer.Option(help="Dask's scheduler; without it `dask` means this machine.", metavar="tcp://HOST:PORT"),
    ] = None,
    verbose: running.Verbose = False,
) -> None:
    """Retrain end to end: download, check, preprocess, balance, train, evaluate, gate, register.

    Finished stages are cached: the same command again goes on where it stopped, or does nothing.
    Exit code 0: released; 10: trained, but refused by the gates, or kept because it was rolled back or withdrawn;
    anything else: an error, named in one message.
    """
    sources = source or ["demo"]
    parameters = running.parameters(sources, recipe, set_, kaggle_secret, name) | {"model_name": name}
    parameters |= _runner(runner, dask_address)
    running.quiet_prefect(verbose)
    running.say_begin(out, "retraining", sources, recipe, running.model_name(sources, recipe, name))

    from flows import retrain as retrain_module
    from flows import terminal
    from tasks import events

    running.start_prefect()
    with terminal.Terminal(out) as listener, events.heard_by(listener):
        outcome = retrain_module.retrain(**parameters)
    terminal.show_outcome(out, outcome, set_ or [])
    if outcome.release.status != "released":
        raise typer.Exit(REJECTED)


app.command()(trials.sweep)
app.command()(trials.compare)


@data_app.command()
def check(
    source: Annotated[list[str], typer.Argument(help=f"{running.SOURCE}. Several are merged.", metavar="SOURCE…")],
    recipe: running.RecipeName = "fer2013-cnn",
    set_: running.Settings = None,
    kaggle_secret: running.KaggleSecret = None,
    show_faces: Annotated[
        bool, typer.Option("--show-faces", help="Write a second report, which shows faces, on this machine.")
    ] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Remember the data as accepted: the next check compares with it.")
    ] = False,
    as_json: AsJson = False,
    verbose: running.Verbose = False,
) -> None:
    """Check data by a recipe's contracts and policies, without training, and write the quality report.

    Nothing is changed; the data is compared with what was accepted last by `fer retrain`, `--accept` or the flow
    `ingest`. Exit code 0: fit for training; 8: not; anything else: an error, named in one message.
    """
    parameters = running.parameters(source, recipe, set_, kaggle_secret) | {"accept": accept, "show_faces": show_faces}
    running.quiet_prefect(verbose)
    console = err if as_json else out
    running.say_begin(console, "checking", source, recipe)

    from flows import ingest, terminal
    from tasks import events

    running.start_prefect()
    try:
        with terminal.Terminal(console) as listener, events.heard_by(listener):
            intake = ingest.ingest(**parameters)
    except errors.UnfitData as unfit:
        if as_json:
            typer.echo(Path(unfit.reports["as JSON"]).read_text())
        raise
    if as_json:
        typer.echo(Path(intake.reports["as JSON"]).read_text())
    else:
        terminal.show_intake(out, intake, source)


def _runner(runner: Literal["processes", "dask"], dask_address: str | None) -> dict[str, str | None]:
    """The parameters of a flow that choose the runner, found valid likewise."""
    from fer.engine import dask_runner

    dask_runner.chosen(runner, dask_address)
    return {"runner": runner, "dask_address": dask_address}


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files.", metavar="IMAGE…")],
    model: Annotated[
        str | None, typer.Option(help="NAME@champion or NAME@VERSION; needless while there is one name.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Take all of each image for the face, whatever is in it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Predict the emotion of each face in images by a released model.

    Faces are looked for and cut out as the model's training images were; an image that is such a crop already is taken
    whole. Exit code 3: an image could not be read, or shows no face; the others are predicted.
    """
    from fer import settings

    settings.Settings.load().require_home()
    _require_files(images)
    from fer.evaluation import predict as predict_module
    from fer.registry import releases

    with releases.local_copy(model) as (manifest, folder):
        withdrawn = releases.withdrawn(manifest)
        predictions = predict_module.predict(folder, images, whole=whole)
    if withdrawn:
        err.print(f"[yellow]![/] {running.shown(withdrawn)}", highlight=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps([each.model_dump(mode="json") for each in predictions], indent=1))
    else:
        above = _shared_folder(images)
        table = Table(title=f"by {manifest.name}@{manifest.version}")
        table.add_column("image", overflow="fold")
        table.add_column("emotion", overflow="fold")
        table.add_column("next", overflow="fold")
        table.add_column("taken", overflow="fold")
        for each in predictions:
            name = running.shown(str(each.path if above is None else each.path.relative_to(above)))
            ranked = [f"{kind} {value:.2f}" for kind, value in sorted(each.probabilities.items(), key=lambda n: -n[1])]
            if each.error is not None:
                table.add_row(name, f"[red]{running.shown(each.error)}[/]", "", "")
            else:
                table.add_row(name, ranked[0], ", ".join(ranked[1:3]), each.note)
        out.print(table)
        if above is not None:
            out.print(f"images in {running.shown(str(above))}", highlight=False, soft_wrap=True)
    if any(each.error is not None for each in predictions):
        raise typer.Exit(errors.SourceError.exit_code)


def _require_files(paths: list[Path]) -> None:
    """Raise SourceError unless each is a file: before anything is loaded that takes seconds."""
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise errors.SourceError(
            "Each image must be a file.",
            received=f"no file {', '.join(missing)}",
            todo="correct the names; nothing was predicted",
        )


def _shared_folder(paths: list[Path]) -> Path | None:
    """The folder below which all of several paths lie, if that says something: their names then need it no more."""
    if len(paths) < 2 or len({path.is_absolute() for path in paths}) > 1:
        return None
    above = Path(os.path.commonpath([path.parent for path in paths]))
    return above if above.parts else None


@app.command()
def doctor() -> None:
    """Show what is configured, what is reachable, what is missing, and the fix."""
    from flows import doctor as doctor_module

    marks = {"ok": "[green]✓[/]", "warn": "[yellow]![/]", "fail": "[red]✗[/]"}
    findings = doctor_module.examine()
    for each in findings:
        out.print(f"{marks[each.level]} {each.what:<14} {running.shown(each.found)}", highlight=False, soft_wrap=True)
        if each.fix:
            out.print(f"  {'':<14} → {running.shown(each.fix)}", highlight=False, soft_wrap=True)
    if any(each.level == "fail" for each in findings):
        raise typer.Exit(1)


@app.command()
def ui(port: Annotated[int, typer.Option(help="Port on loopback.")] = 4200) -> None:
    """Serve the Prefect UI, with all runs so far, on loopback until Ctrl-C."""
    out.print(f"http://127.0.0.1:{port} - stop with Ctrl-C", highlight=False)
    os.environ["PREFECT_SERVER_UI_API_URL"] = f"http://127.0.0.1:{port}/api"  # else the page asks port 4200
    os.environ["PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT"] = "false"
    prefect = Path(sys.executable).with_name("prefect")
    arguments = [str(prefect), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    os.execv(prefect, arguments)  # noqa: S606 - the server takes this process's place, without a shell


@recipes_app.command("list")
def list_recipes() -> None:
    """List the recipes."""
    from fer import recipes

    table = Table("recipe", "what it does")
    for name in recipes.NAMES:
        table.add_row(name, escape(recipes.about(name).splitlines()[0]))
    out.print(table)


@recipes_app.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(autocompletion=running.complete_recipes, metavar="NAME")],
    set_: running.Settings = None,
    as_json: AsJson = False,
) -> None:
    """Show a recipe: its command, duration and expected result, and every setting, as --set takes it."""
    from fer import recipes
    from fer.recipes import schema as recipe_module

    plan = recipes.load(name).with_settings(recipe_module.parse_settings(set_ or []))
    if as_json:
        typer.echo(plan.model_dump_json(indent=1))
        return
    out.print(escape(recipes.about(name)), highlight=False)
    for each in recipe_module.described(plan):
        value = " (empty)" if each.value is None else f"={each.value}"
        out.print(f"\n[bold]{escape(each.path + value)}[/]", highlight=False, soft_wrap=True)
        out.print(Padding(escape(each.meaning), (0, 0, 0, 4)), highlight=False)
    of_others = ""
    if plan.made_for:
        of_others = f" from {', '.join(plan.made_for)}, as SOURCE-{plan.model_name} from other sources"
    out.print(f"\nregistered as {plan.model_name}{of_others} (--name for another)", highlight=False)
    for path, dimension in plan.search.items():
        out.print(f"fer sweep tries {escape(f'{path}={dimension}')}", highlight=False, soft_wrap=True)


@store_app.command("up")
def store_up() -> None:
    """Start the embedded store and leave it running."""
    from fer import settings
    from fer.engine import seaweedfs

    server = seaweedfs.up(settings.Settings.load().home)
    out.print(f"running at {server.endpoint} (process {server.pid}); stop it with: fer store down", highlight=False)


@store_app.command("down")
def store_down() -> None:
    """Stop the embedded store, or let the run that still uses it stop it."""
    from fer import settings
    from fer.engine import seaweedfs

    stopped = seaweedfs.down(settings.Settings.load().home)
    out.print("stopped" if stopped else "in use by a run; it stops when that run ends")


@store_app.command("status")
def store_status() -> None:
    """Say whether the embedded store runs. Exit code 1 if not."""
    from fer import settings
    from fer.engine import seaweedfs

    configured = settings.Settings.load()
    configured.require_home()
    server = seaweedfs.status(configured.home)
    if server is None:
        out.print("not running; runs start it when they need it, or: fer store up")
        raise typer.Exit(1)
    out.print(f"running at {server.endpoint} (process {server.pid}, since {server.started:%Y-%m-%d %H:%M} UTC)")
