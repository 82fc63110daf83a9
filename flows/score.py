"""Score pictures without labels by a release: a folder, an archive, Parquet or a bucket to Parquet."""

from prefect import flow, runtime

import tasks.ingest
import tasks.registry
import tasks.scoring
from fer import plain_text
from fer.engine import dask_runner
from fer.ingest import sources as sources_module
from fer.ingest.demo.archive import DemoConfig
from fer.scoring import destination
from flows import missed_runs, run_options
from tasks import block_names
from tasks.runs import outcomes
from tasks.runs.results import ScoreResult


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    return plain_text.visible(f"{parameters['source']} by {parameters['model']}")


@flow(name="score", flow_run_name=_run_name, **run_options.OPTIONS)
@outcomes.as_final_state
def score(
    source: str,
    model: str,
    output: str,
    whole: bool = False,
    kaggle_secret: block_names.Name | None = None,
    runner: dask_runner.Name = "processes",
) -> ScoreResult:
    """Score pictures by a release; write a row for each face, and tell of drift and of the accuracy to expect.

    Args:
        source: `folder:PATH`, `archive:PATH.zip`, `s3://BUCKET/PREFIX`, `kaggle:owner/slug[/versions/N]` or `demo`:
            image files, or tables of images as Parquet or CSV. Labels are not looked at.
        model: `NAME@VERSION` or `NAME@ALIAS` of the registry.
        output: A folder, a file that ends in `.parquet`, or `s3://BUCKET/PREFIX`.
        whole: Take each picture for a face, and look for none in it.
        kaggle_secret: The Prefect Secret block with the Kaggle key; without it the environment or `kaggle.json`.
        runner: Who scores: `processes` of this machine, `dask` workers on it, or those of a Dask cluster,
            `dask:tcp://HOST:PORT`.
    """
    if (end_state := missed_runs.superseded()) is not None:
        return end_state
    stage_runner = dask_runner.chosen(runner)
    destination.parse(output)
    sources_module.parse(source)
    with tasks.registry.store_in_reach():
        scorer = tasks.scoring.fetch(model, whole)
        resolved = tasks.ingest.resolve(source, DemoConfig(), kaggle_secret)
        dataset = tasks.ingest.download(resolved)
        released = scorer.released
        scores = tasks.scoring.score(dataset, released.model, released.calibration, scorer.config, stage_runner)
        return tasks.scoring.publish([source], scorer, scores, output)
