"""What a model costs: its size, how long it takes for an image, and what its training took."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_contracts import files
from fer.engine.processes import child_process
from fer.engine.records import Record
from fer.evaluation import scoring_process
from fer.evaluation.intervals import CONFIDENCE
from fer.models import latency, saved_model
from fer.progress import Progress, silent
from fer.training.refs import ModelRef

_TIMEOUT_S = 900.0
_SECONDS = 1.0  # for each model and size of batch
_BATCH = 64  # images


class Latency(Record):
    """Milliseconds for one image, the median of many rounds with its interval at 95 %, and images per second in batches
    of 64, on this machine. Models that are compared take turns in one process, so that a busy moment strikes all.
    """

    image_ms: float
    image_ms_interval: tuple[float, float]
    images_per_s: float


class Costs(Record):
    """`size_bytes` is of the model's file. Of the training, what was not measured is None: memory is that of its
    process at its peak, energy that of the machine by codecarbon.
    """

    size_bytes: int
    n_parameters: int
    latency: Latency | None = None
    train_minutes: float | None = None
    peak_memory_mb: float | None = None
    energy_kwh: float | None = None


def of(model: ModelRef, folder: Path, timed: Latency | None = None) -> Costs:
    """The costs of a model in its folder, as training or the registry leaves it."""
    about: dict[str, Any] = {}
    if (path := folder / saved_model.ABOUT).is_file():
        about = json.loads(path.read_bytes())
    return Costs(
        size_bytes=(folder / files.MODEL).stat().st_size,
        n_parameters=model.n_parameters,
        latency=timed,
        train_minutes=model.train_seconds / 60 if model.epochs_run else None,
        peak_memory_mb=about.get("peak_memory_mb"),
        energy_kwh=about.get("energy_kwh"),
    )


def latencies(folders: Sequence[Path], *, progress: Progress = silent) -> list[Latency]:
    """Measure the models of these folders side by side, in a child process. Raises IntegrityError, TrainingError."""
    arguments = {"folders": [str(folder) for folder in folders]}
    job = scoring_process.job("Timing", _TIMEOUT_S)
    return [Latency.model_validate(row) for row in child_process.run(measure, arguments, job, progress=progress)]


def measure(folders: list[str], *, progress: Progress) -> list[dict[str, Any]]:
    """The worker's side: the latencies in JSON's types."""
    models = [saved_model.load(Path(folder)) for folder in folders]

    def rounds(n_images: int) -> np.ndarray:
        inputs = [np.full((n_images, *model.input_shape[1:]), 128, np.uint8) for model in models]
        return latency.interleaved(
            [functools.partial(model.predict_on_batch, pixels) for model, pixels in zip(models, inputs, strict=True)],
            _SECONDS * len(models),
        )

    image, batch = rounds(1), rounds(_BATCH)
    progress(1, 1, "models timed")
    return [
        Latency(
            image_ms=1_000 * float(np.median(of_image)),
            image_ms_interval=latency.median_interval(1_000 * of_image, CONFIDENCE),
            images_per_s=_BATCH / float(np.median(of_batch)),
        ).model_dump(mode="json")
        for of_image, of_batch in zip(image, batch, strict=True)
    ]
