"""What a model costs: its size, how long it takes for an image, and what its training took."""

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_contracts import files
from fer.engine import child_process
from fer.engine.records import Record
from fer.evaluation import scoring_process
from fer.models import saved_model
from fer.progress import Progress, silent
from fer.training.refs import ModelRef

_TIMEOUT_S = 900.0
_ROUNDS = 40
_BATCH = 64  # images
_BATCH_EVERY = 8  # rounds


class Latency(Record):
    """Milliseconds for one image, the median of many and their quartiles, and images per second in batches of 64, on
    this machine. Models that are compared take turns in one process, so that a busy moment strikes all of them.
    """

    image_ms: float
    quartiles_ms: tuple[float, float]
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


def of(model: ModelRef, folder: Path, latency: Latency | None = None) -> Costs:
    """The costs of a model in its folder, as training or the registry leaves it."""
    about: dict[str, Any] = {}
    if (path := folder / saved_model.ABOUT).is_file():
        about = json.loads(path.read_bytes())
    return Costs(
        size_bytes=(folder / files.MODEL).stat().st_size,
        n_parameters=model.n_parameters,
        latency=latency,
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
    import numpy as np

    models = [saved_model.load(Path(folder)) for folder in folders]
    single = [np.full((1, *model.input_shape[1:]), 128, np.uint8) for model in models]
    batches = [np.repeat(image, _BATCH, axis=0) for image in single]
    for model, image, batch in zip(models, single, batches, strict=True):
        for pixels in (image, image, batch):  # the first call compiles
            model.predict_on_batch(pixels)
    image_ms: list[list[float]] = [[] for _ in models]
    batch_ms: list[list[float]] = [[] for _ in models]
    for number in range(_ROUNDS):
        for at in range(len(models)):
            turn = (at + number) % len(models)
            image_ms[turn].append(_milliseconds(models[turn], single[turn]))
            if number % _BATCH_EVERY == 0:
                batch_ms[turn].append(_milliseconds(models[turn], batches[turn]))
        progress(number + 1, _ROUNDS, "rounds timed")
    return [
        Latency(
            image_ms=statistics.median(of_image),
            quartiles_ms=(statistics.quantiles(of_image)[0], statistics.quantiles(of_image)[2]),
            images_per_s=1_000 * _BATCH / statistics.median(of_batch),
        ).model_dump(mode="json")
        for of_image, of_batch in zip(image_ms, batch_ms, strict=True)
    ]


def _milliseconds(model: Any, pixels: Any) -> float:
    began = time.perf_counter()
    model.predict_on_batch(pixels)
    return 1_000 * (time.perf_counter() - began)
