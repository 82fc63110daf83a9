"""The command `fer retrain`."""

from typing import Annotated

import typer

from flows.cli import console, options

REFUSED = 10  # the exit code when the gates refuse the model

Name = Annotated[
    str | None,
    typer.Option(
        help="The model's name in the registry. Without it the recipe's, or, for another dataset than the recipe's "
        "own, SOURCE-RECIPE.",
        metavar="NAME",
    ),
]
Runner = Annotated[
    str,
    typer.Option(
        help="Who preprocesses and balances: processes of this machine, Dask workers on it, or those of a cluster.",
        metavar=options.RUNNERS,
    ),
]
ShowFaces = Annotated[
    bool,
    typer.Option("--show-faces", help="Write a page of single images with where the model looks, on this machine."),
]
Again = Annotated[
    list[str] | None,
    typer.Option(
        help="A stage that runs although its output is there, to see that it comes out the same. May be repeated.",
        metavar="STAGE",
    ),
]


@options.with_run_options()
def retrain(
    run: options.RunOptions,
    name: Name = None,
    runner: Runner = "processes",
    show_faces: ShowFaces = False,
    again: Again = None,
) -> None:
    """Retrain end to end: download, check, preprocess, balance, train, evaluate, gate, register.

    Finished stages are cached: the same command again goes on where it stopped, or does nothing.
    Exit code 0: released, or kept: it passed the gates, but nothing speaks for replacing the champion, or it was rolled
    back or withdrawn; 10: trained, but refused by the gates; anything else: an error, named in one message.
    """
    from fer.engine import dask_runner

    parameters = run.parameters(name) | {"model_name": name, "runner": runner}
    dask_runner.chosen(runner)  # valid likewise
    options.prepare_prefect(run.verbose)
    model_name = options.registered_name(run.sources, run.recipe, name)
    options.announce(console.out, "retraining", run.sources, run.recipe, model_name)

    with options.starting(console.out):
        from flows import retrain as retrain_module
        from flows.cli import terminal
    with options.shown(console.out):
        extra = retrain_module.ExtraWork(show_faces=show_faces, again=tuple(again or ()))
        result = retrain_module.retrain(**parameters, extra=extra)
    terminal.show_retrain(console.out, result, run.settings)
    if result.is_refused:
        raise typer.Exit(REFUSED)
