"""The commands that train several models to compare them: `fer sweep` and `fer compare`."""

from typing import Annotated

import typer
from rich.console import Console

from flows import running

out = Console()


def sweep(
    source: running.Sources = None,
    recipe: running.RecipeName = "demo",
    search: Annotated[
        list[str] | None,
        typer.Option(
            help="What to try, in place of the recipe's space: train.learning_rate='1e-4..1e-2 log', "
            "train.batch_size='32|64'. May be repeated.",
            metavar="SETTING=DIMENSION",
        ),
    ] = None,
    trials: Annotated[
        int, typer.Option(min=1, help="How many, those of an earlier run of this sweep among them.")
    ] = 20,
    concurrency: Annotated[int, typer.Option(min=1, max=running.MOST_TRIALS_AT_ONCE, help="How many at a time.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the proposals.")] = 0,
    set_: running.Settings = None,
    kaggle_secret: running.KaggleSecret = None,
    verbose: running.Verbose = False,
) -> None:
    """Search a recipe's settings for the best validation accuracy; the test split is not looked at.

    The same command again goes on where it stopped; with more --trials it goes further.
    """
    from fer.training import search as search_module

    sources = source or ["demo"]
    parameters = running.parameters(sources, recipe, set_, kaggle_secret)
    space = search_module.parse_space(search or []) or None
    running.quiet_prefect(verbose)
    running.say_begin(out, "sweeping", sources, recipe)

    from flows import sweep as sweep_module
    from flows import terminal
    from tasks import events

    running.start_prefect()
    with terminal.Terminal(out) as listener, events.heard_by(listener):
        outcome = sweep_module.sweep(**parameters, search=space, trials=trials, concurrency=concurrency, seed=seed)
    terminal.show_sweep(out, outcome)


def compare(
    candidate: Annotated[
        list[str],
        typer.Option(
            help="A name of yours and its settings: 'vgg: train.model.name=vgg train.epochs=20'. Repeated for each.",
            metavar="'NAME: SETTING=VALUE …'",
        ),
    ],
    source: running.Sources = None,
    recipe: running.RecipeName = "demo",
    set_: running.Settings = None,
    kaggle_secret: running.KaggleSecret = None,
    verbose: running.Verbose = False,
) -> None:
    """Train several variants of a recipe on the same data, and compare them on the same test images.

    Nothing is registered. What was trained before is not trained again.
    """
    from fer import recipes
    from fer.recipes import candidates as candidate_recipes

    sources = source or ["demo"]
    parameters = running.parameters(sources, recipe, set_, kaggle_secret)
    candidates = candidate_recipes.parse(candidate)
    candidate_recipes.recipes(recipes.load(recipe).with_settings(parameters["settings"]), candidates)
    running.quiet_prefect(verbose)
    running.say_begin(out, "comparing", sources, recipe)

    from flows import compare as compare_module
    from flows import terminal
    from tasks import events

    running.start_prefect()
    with terminal.Terminal(out) as listener, events.heard_by(listener):
        outcome = compare_module.compare(**parameters, candidates=candidates)
    terminal.show_comparison(out, outcome)
