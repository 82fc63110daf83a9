"""The stage `seeds`: of models that differ by their seed alone, the one that is best on the validation split.

A seed decides the first weights, the order of the images and their augmentation, and so a point of accuracy or more.
The spread over several seeds says how much of a difference between two models is such luck. The one that is best on
validation is chosen; the test split takes no part in it.
"""

import json
import statistics
from pathlib import Path
from typing import Literal

from fer.engine import disk, stage
from fer.engine.records import Record
from fer.engine.workspace import Workspace
from fer.models import saved_model
from fer.progress import Progress
from fer.training.refs import ModelRef, SeedsRef

FILE = "seeds.json"


class SeedScore(Record):
    """One seed's model, at its best epoch."""

    seed: int
    validation_accuracy: float
    validation_loss: float
    best_epoch: int
    epochs_run: int
    train_seconds: float
    model_digest: str


class SeedSpread(Record):
    """The content of `seeds.json`. Minimum, mean, maximum and sd are of `metric` over the seeds; sd by n - 1."""

    metric: Literal["validation accuracy"] = "validation accuracy"
    ties: Literal["lower validation loss, then the lower seed"] = "lower validation loss, then the lower seed"
    chosen: int  # a seed
    minimum: float
    mean: float
    sd: float
    maximum: float
    seeds: tuple[SeedScore, ...]


@stage.stage("seeds")
def choose(
    out: Path, models: tuple[ModelRef, ...], seeds: tuple[int, ...], *, workspace: Workspace, progress: Progress
) -> SeedsRef:
    """Choose among two models or more, `models[i]` by `seeds[i]`, and write `seeds.json`, a SeedSpread.

    The highest validation accuracy is best, then the lowest validation loss, then the lowest seed.
    """
    scores = tuple(_score(seed, model, workspace) for seed, model in zip(seeds, models, strict=True))
    best = min(scores, key=lambda score: (-score.validation_accuracy, score.validation_loss, score.seed))
    accuracies = [score.validation_accuracy for score in scores]
    spread = SeedSpread(
        chosen=best.seed,
        minimum=min(accuracies),
        mean=statistics.fmean(accuracies),
        sd=statistics.stdev(accuracies),
        maximum=max(accuracies),
        seeds=scores,
    )
    disk.write(out / FILE, spread.model_dump_json(indent=1).encode())
    progress(len(scores), len(scores), "seeds compared")
    return SeedsRef(
        seeds=seeds,
        accuracies=tuple(accuracies),
        chosen=best.seed,
        minimum=spread.minimum,
        mean=spread.mean,
        sd=spread.sd,
        maximum=spread.maximum,
    )


def _score(seed: int, model: ModelRef, workspace: Workspace) -> SeedScore:
    history = json.loads((workspace.folder(model) / saved_model.HISTORY).read_bytes())
    return SeedScore(
        seed=seed,
        validation_accuracy=model.validation_accuracy,
        validation_loss=history["validation_loss"][model.best_epoch - 1],
        best_epoch=model.best_epoch,
        epochs_run=model.epochs_run,
        train_seconds=model.train_seconds,
        model_digest=model.digest,
    )
