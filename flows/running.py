"""What the commands that run a flow share: their options, and what happens before the flow begins."""

import os
import signal
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from fer import plain_text

MOST_TRIALS_AT_ONCE = 64
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting in place of the recipe's: train.epochs=5. May be repeated."),
]
KaggleSecret = Annotated[str | None, typer.Option(help="The Prefect Secret block that holds the Kaggle key.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show Prefect's log as well.")]
SOURCE = escape("kaggle:OWNER/SLUG[/versions/N], archive:PATH.zip, folder:PATH, or demo")
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", help=f"{SOURCE} (the default). May be repeated: they are merged.", metavar="SOURCE"),
]


def complete_recipes() -> list[str]:
    from fer import recipes

    return list(recipes.NAMES)


RecipeName = Annotated[str, typer.Option(help="A name from `fer recipes list`.", autocompletion=complete_recipes)]


def parameters(
    sources: list[str], recipe: str, set_: list[str] | None, kaggle_secret: str | None, name: str | None = None
) -> dict[str, Any]:
    """A flow's parameters, found valid before anything is started."""
    from fer import recipes
    from fer.ingest import sources as sources_module
    from fer.recipes import schema as recipe_module

    for each in sources:
        sources_module.parse(each)
    settings = recipe_module.parse_settings(set_ or [])
    recipes.load(recipe).with_settings(settings, name)
    return {"sources": sources, "recipe": recipe, "settings": settings, "kaggle_secret": kaggle_secret}


def model_name(sources: list[str], recipe: str, given: str | None) -> str:
    """The name in the registry, as the flow will have it."""
    from fer import recipes
    from fer.recipes import schema as recipe_module

    return recipe_module.model_name(recipes.load(recipe), sources, given)


def quiet_prefect(verbose: bool) -> None:
    """Before Prefect is imported, which reads this: its log goes to its server, and to the terminal only on demand."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "INFO" if verbose else "CRITICAL")


def say_begin(console: Console, what: str, sources: list[str], recipe: str, model: str | None = None) -> None:
    """`model`: the name that versions are filed under, where there will be some."""
    names = ", ".join(map(shown, sources))
    filed = "" if model is None else f", model [bold]{shown(model)}[/]"
    console.print(f"{what}: source [bold]{names}[/], recipe [bold]{shown(recipe)}[/]{filed}", highlight=False)


def start_prefect() -> None:
    """Start Prefect's temporary server, unless one is configured, deaf to Ctrl-C.

    A terminal sends Ctrl-C to every process of the run. Were the server gone before the run, Prefect would try for
    minutes to tell it that the run has ended. At exit Prefect stops it by SIGTERM.
    """
    from prefect.client.orchestration import get_client

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the new process inherits this
    try:
        get_client(sync_client=True)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def shown(text: str, but: str = "") -> str:
    """Text from outside, in which nothing is markup or steers the terminal."""
    return escape(plain_text.visible(text, but))
