"""Scoring's tasks: the release brought here, the pictures scored, and what was found as a page and a document."""

from collections.abc import Sequence
from typing import NamedTuple

from data_contracts import files
from fer import plain_text, settings
from fer.engine import disk, runners
from fer.evaluation.refs import CalibrationRef, Champion
from fer.exports import serving
from fer.ingest.refs import DatasetRef
from fer.registry import names, releases
from fer.registry.opponents import champion as champion_stage
from fer.reports import pages
from fer.scoring import destination, findings, page
from fer.scoring import score as score_stage
from fer.scoring.refs import ScoreConfig, ScoresRef
from fer.shards import preprocessing
from fer.training.refs import ModelRef
from tasks import caching, stages
from tasks.runs.results import ScoreResult
from tasks.shown import artifacts

_ID_CHARS = 12  # of digests in a folder's name


class Scorer(NamedTuple):
    """A release that is to score: its model and calibration in the workspace, and which of its files answers."""

    released: Champion
    config: ScoreConfig


@caching.uncached("fetch model")
def fetch(spec: str, whole: bool) -> Scorer:
    """Bring a release into the workspace. Raises ConfigError, StoreError, IntegrityError."""
    workspace = caching.workspace()
    with releases.open_registry() as models:
        manifest = models.get(*names.parse_spec(spec))
        released = champion_stage.released(manifest, workspace)
    preprocessing.load_record(workspace.folder(released.model)).require_kept()
    model_file = serving.ONNX if serving.ONNX in manifest.files else files.MODEL
    release = f"{manifest.name}@{manifest.version}"
    sha256 = manifest.files[model_file].sha256
    return Scorer(released, ScoreConfig(release=release, model_file=model_file, model_sha256=sha256, whole=whole))


@stages.task(score_stage.score)
def score(
    dataset: DatasetRef,
    model: ModelRef,
    calibration: CalibrationRef | None,
    config: ScoreConfig,
    runner: runners.Runner,
) -> ScoresRef:
    """Score every picture, part by part."""
    return stages.run(score_stage.score, dataset, model, calibration, config, runner=runner)


@caching.uncached("publish scores")
def publish(sources: Sequence[str], scorer: Scorer, scores: ScoresRef, output: str) -> ScoreResult:
    """Put the scores where they are wanted, and what was found of them on a page and into a document."""
    workspace = caching.workspace()
    folder, model = workspace.folder(scores), scorer.released.model
    found = findings.of(folder, scores, workspace.folder(model), sources, model.digest)
    place = settings.Settings.load().home / "reports" / "scores" / scores.digest[:_ID_CHARS]
    place.mkdir(parents=True, exist_ok=True)
    goal = destination.parse(output)
    text = page.markdown(found, (f"written to {output}",))
    title = f"Scores by {found.release}"
    documents = {
        page.HTML: pages.from_markdown(title, text).encode(),
        page.JSON: found.model_dump_json(indent=1).encode(),
    }
    for name, data in documents.items():
        disk.write(place / name, data)
    outputs = destination.write(goal, score_stage.shards(folder), documents)
    sentence = plain_text.visible(found.sentence())
    artifacts.markdown("scores", text, sentence)
    return ScoreResult(
        sources=tuple(sources),
        model=found.release,
        scores=scores,
        drifted=tuple(found.drifted),
        sentence=found.sentence(),
        rows=tuple(page.counts(found)),
        outputs=tuple(outputs),
        reports={"report": str(place / page.HTML), "as JSON": str(place / page.JSON)},
    )
