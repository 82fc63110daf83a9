"""What the commands that run a flow share: their options, and what happens before the flow begins."""

import contextlib
import functools
import inspect
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape

from fer import errors, redaction
from flows.cli.console import plain

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting in place of the recipe's: train.epochs=5. May be repeated."),
]
KaggleSecret = Annotated[str | None, typer.Option(help="The Prefect Secret block that holds the Kaggle key.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show Prefect's log as well.")]
SOURCE = escape("kaggle:OWNER/SLUG[/versions/N], archive:PATH.zip, folder:PATH, s3://BUCKET/PREFIX, or demo")
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", help=f"{SOURCE} (the default). May be repeated: they are merged.", metavar="SOURCE"),
]


RUNNERS = "processes|dask|dask:tcp://HOST:PORT"


def complete_recipes(incomplete: str) -> list[str]:
    """The recipes' names and the .toml files that begin so, for the shell's completion."""
    from fer.recipes import catalog, files

    head, _, _ = incomplete.rpartition("/")
    paths = (path for path in Path(head or ".").glob(f"*{files.SUFFIX}"))
    own = (str(Path(head) / path.name) for path in paths if path.name != "pyproject.toml")
    return [recipe for recipe in (*catalog.NAMES, *sorted(own)) if recipe.startswith(incomplete)]


RecipeName = Annotated[
    str,
    typer.Option(
        help="A name from `fer recipes list`, or a file of your own that ends in .toml.",
        metavar="NAME|FILE.toml",
        autocompletion=complete_recipes,
    ),
]


class RunOptions(NamedTuple):
    """The options that every command which trains has."""

    sources: list[str]
    recipe: str
    settings: list[str]  # each PATH=VALUE, as --set takes it
    kaggle_secret: str | None
    verbose: bool

    def parameters(self, model_name: str | None = None) -> dict[str, Any]:
        """A flow's parameters, valid. Raises ConfigError, SourceError."""
        return flow_parameters(self.sources, self.recipe, self.settings, self.kaggle_secret, model_name)


def with_run_options(
    *, recipe: str = "demo", sources: Any = Sources, default_source: str | None = "demo"
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of RunOptions beside its own; they reach it as its first argument, in one record.

    `sources`: the annotation of --source, where it means something else than elsewhere.
    """

    def run_options(
        source: list[str] | None, recipe: str, set_: list[str] | None, kaggle_secret: str | None, verbose: bool
    ) -> RunOptions:
        default = [] if default_source is None else [default_source]
        return RunOptions(source or default, recipe, set_ or [], kaggle_secret, verbose)

    def option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)

    shared = [
        option("source", sources, None),
        option("recipe", RecipeName, recipe),
        option("set_", Settings, None),
        option("kaggle_secret", KaggleSecret, None),
    ]
    verbose = option("verbose", Verbose, False)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        _, *own = inspect.signature(command).parameters.values()

        @functools.wraps(command)
        def run(**values: Any) -> None:
            options = run_options(**{parameter.name: values.pop(parameter.name) for parameter in (*shared, verbose)})
            command(options, **values)

        named = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        parameters = [*shared, *named, verbose]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def flow_parameters(
    sources: list[str], recipe: str, settings: list[str], kaggle_secret: str | None, model_name: str | None = None
) -> dict[str, Any]:
    """A flow's parameters, found valid before anything is started: Prefect keeps and shows them, so they hold no key.

    Raises ConfigError, SourceError.
    """
    from fer.ingest import sources as sources_module
    from fer.recipes import catalog, overrides
    from tasks import block_names

    if kaggle_secret is not None:
        block_names.checked(kaggle_secret)
    for setting in settings:
        _require_no_key(setting, "--set")
    _require_no_key(model_name or "", "--name")

    for source in sources:
        sources_module.parse(source)
    parsed = overrides.parse_settings(settings)
    overrides.apply(catalog.load(recipe), parsed, model_name)
    return {"sources": sources, "recipe": recipe, "settings": parsed, "kaggle_secret": kaggle_secret}


def _require_no_key(text: str, option: str) -> None:
    if redaction.holds_key(text):
        raise errors.ConfigError(
            f"What {option} is given must hold no key or password: a run's settings are kept and shown.",
            received=text,
            todo="take it out, and replace the key, which is in the shell's history",
        )


def registered_name(sources: list[str], recipe: str, model_name: str | None) -> str:
    """The model's name in the registry, as the flow will have it; `model_name` is what the user chose."""
    from fer.recipes import catalog, schema

    return schema.model_name(catalog.load(recipe), sources, model_name)


def quiet_prefect(verbose: bool) -> None:
    """Before Prefect is imported, which reads this: its log goes to its server, and to the terminal only on demand."""
    from fer import settings
    from flows.operating import log_format

    for name, value in log_format.variables(settings.Settings.load_valid()[0].log_format).items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "INFO" if verbose else "CRITICAL")
    # Its machinery's own, which prints whole events where the server is gone.
    os.environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "ERROR" if verbose else "CRITICAL")


def prepare_prefect(verbose: bool) -> None:
    """Before Prefect is imported, which reads this: where its home is, and where its log goes.

    Raises ConfigError, WorkspaceError.
    """
    quiet_prefect(verbose)
    find_prefect_home()


def find_prefect_home() -> None:
    """See that Prefect has a home that can be written. Raises ConfigError, WorkspaceError."""
    from fer import settings
    from flows.cli import console, prefect_home

    home = settings.Settings.load().home
    reason = prefect_home.ensure(home)
    if reason is not None:
        remark = f"Prefect keeps its database in {home / 'prefect'}, as {reason}."
        console.err.print(f"[yellow]![/] {plain(remark)}", highlight=False, soft_wrap=True)


def announce(console: Console, action: str, sources: list[str], recipe: str, model: str | None = None) -> None:
    """Print what begins. `model`: the name that versions are registered under, where there will be some."""
    names = ", ".join(map(plain, sources))
    registered = "" if model is None else f", model [bold]{plain(model)}[/]"
    text = f"{action}: source [bold]{names}[/], recipe [bold]{plain(recipe)}[/]{registered}"
    console.print(text, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def starting(screen: Console) -> Iterator[None]:
    """Have a Prefect server at the block's end, which is for the import of the flow: a temporary one starts meanwhile.

    Raises ConfigError, PrefectUnavailable.
    """
    from flows.cli import console

    with console.waiting(screen, "loading Prefect"):
        from flows.cli import temporary_server

        server = temporary_server.begin()
        yield
    if server is not None:
        with console.waiting(screen, "starting Prefect's temporary server"):
            server.wait()


@contextlib.contextmanager
def shown(screen: Console) -> Iterator[None]:
    """Show the flow that runs within the block, and end it should Prefect's server fall silent."""
    from flows.cli import prefect_watch, terminal
    from tasks.runs import events, heartbeats

    with (
        prefect_watch.watched(),
        heartbeats.in_place_of_prefects(),
        terminal.Terminal(screen) as listener,
        events.heard_by(listener),
    ):
        yield
