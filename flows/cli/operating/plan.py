"""The command `fer plan`: what `fer retrain` would do."""

import json

import typer

from flows.cli import console, options, retrain


@options.with_run_options()
def plan(
    run: options.RunOptions,
    name: retrain.Name = None,
    runner: retrain.Runner = "processes",
    show_faces: retrain.ShowFaces = False,
    again: retrain.Again = None,
    as_json: console.AsJson = False,
) -> None:
    """Say what `fer retrain` with the same options would run, what is cached, and what it takes: time, disk, memory.

    Nothing is done and nothing written; no Prefect server is needed. What follows a stage that is yet to run is unknown
    until it has: if its output comes out as it was, they are cached. Time is that of earlier runs of the same stages.
    """
    from fer.engine import dask_runner

    parameters = run.parameters(name) | {"model_name": name, "runner": runner}
    dask_runner.chosen(runner)  # valid likewise
    options.quiet_prefect(run.verbose)
    if not as_json:
        model_name = options.registered_name(run.sources, run.recipe, name)
        options.announce(console.out, "plan", run.sources, run.recipe, model_name)

    from flows import retrain as retrain_module
    from flows.cli import terminal

    extra = retrain_module.ExtraWork(show_faces=show_faces, again=tuple(again or ()))
    made = retrain_module.plan(**parameters, extra=extra)
    if as_json:
        typer.echo(json.dumps(made.model_dump(mode="json"), indent=1, ensure_ascii=False))
    else:
        terminal.show_plan(console.out, made)
