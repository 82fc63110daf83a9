"""The commands that train several models to compare them: `fer sweep` and `fer compare`."""

from pathlib import Path
from typing import Annotated

import typer

from flows import limits
from flows.cli import console, options


@options.with_run_options()
def sweep(
    run: options.RunOptions,
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
    concurrency: Annotated[int, typer.Option(min=1, max=limits.MAX_CONCURRENT_TRIALS, help="How many at a time.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the proposals.")] = 0,
) -> None:
    """Search a recipe's settings for the best validation accuracy; the test split is not looked at.

    The same command again goes on where it stopped; with more --trials it goes further.
    """
    from fer.training import search as search_module

    parameters = run.parameters()
    space = search_module.parse_space(search or []) or None
    options.prepare_prefect(run.verbose)
    options.announce(console.out, "sweeping", run.sources, run.recipe)

    with options.starting(console.out):
        from flows import sweep as sweep_module
        from flows.cli import terminal
    with options.shown(console.out):
        result = sweep_module.sweep(**parameters, search=space, trials=trials, concurrency=concurrency, seed=seed)
    terminal.show_sweep(console.out, result)


@options.with_run_options()
def compare(
    run: options.RunOptions,
    candidate: Annotated[
        list[str],
        typer.Option(
            help="A name of yours and its settings: 'vgg: train.model.name=vgg train.epochs=20'. Repeated for each.",
            metavar="'NAME: SETTING=VALUE …'",
        ),
    ],
    as_json: console.AsJson = False,
) -> None:
    """Train several variants of a recipe on the same data, and compare them on the same test images.

    Nothing is registered. What was trained before is not trained again.
    """
    from fer.recipes import candidates as candidate_recipes
    from fer.recipes import catalog, overrides

    parameters = run.parameters()
    candidates = candidate_recipes.parse(candidate)
    candidate_recipes.recipes(overrides.apply(catalog.load(run.recipe), parameters["settings"]), candidates)
    options.prepare_prefect(run.verbose)
    screen = console.err if as_json else console.out
    options.announce(screen, "comparing", run.sources, run.recipe)

    with options.starting(screen):
        from flows import compare as compare_module
        from flows.cli import terminal
    with options.shown(screen):
        result = compare_module.compare(**parameters, candidates=candidates)
    if as_json:
        typer.echo(Path(result.reports["as JSON"]).read_text())
    else:
        terminal.show_comparison(console.out, result)
