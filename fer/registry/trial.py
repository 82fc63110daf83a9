"""A packed release, tried in a fresh process: it must load and answer as was recorded; and how long it takes.

To the bit, where what computes is what computed then; elsewhere within `TOLERANCE`, as other instructions round
otherwise. Times are this machine's at this moment, so that they are part of no key and of no cached verdict.
"""

from pathlib import Path
from typing import Any

import numpy as np

from fer import errors
from fer.engine.processes import child_process
from fer.engine.records import Record
from fer.evaluation import predictions, recording, scoring_process
from fer.evaluation.calibration import calibrator
from fer.evaluation.calibration import scores as calibration_scores
from fer.evaluation.config import GateConfig
from fer.evaluation.refs import Check, Measure
from fer.models import latency, saved_model
from fer.progress import Progress, silent
from fer.registry.manifest import Latency, Trial
from fer.shards import parquet, preprocessing

TOLERANCE = 1e-4  # of a probability, on another kind of machine
_TIMEOUT_S = 900.0
_BATCH = 32  # images, for the latency
_SECONDS = 1.5  # for each of the two
_CONFIDENCE = 0.99
_SMOKE, _LOADS = "answers as recorded", "loads"
_REASON = "what is served must be what was judged"
_SLOW = "whoever waits for an answer, or pays for the machine, has planned with the champion's"


class Material(Record):
    """What a release is tried on and beside: the folders of its shards, whose test images it was evaluated on, and of
    the champion. Without any of it, as where other models of its recipe were evaluated, only the drawn inputs are
    tried, and nothing is timed.
    """

    shards: Path | None = None
    champion: Path | None = None
    champion_version: int | None = None
    is_timed: bool = False


def run(release: Path, material: Material, config: GateConfig, *, progress: Progress = silent) -> Trial:
    """Try the release in the folder `release`, in a child process. Raises TrainingError if that crashes, OutOfMemory.

    A release that can't be loaded, or answers otherwise, has a failed check; so has one that is slower than the recipe
    allows beyond doubt.
    """
    arguments = {"release": str(release.resolve()), "material": material.model_dump(mode="json")}
    found = child_process.run(try_out, arguments, _job(), progress=progress)
    machine = (
        f"{found['environment']['device']}; {found['environment']['processor']}, {found['environment']['cores']} cores"
    )
    if found["fault"]:
        return Trial(checks=(_unloadable(found["fault"]),), machine=machine)
    timed = None if found["latency"] is None else Latency.model_validate(found["latency"])
    checks = _answers(release, found)
    if timed is not None and material.champion_version is not None and config.max_latency_ratio:
        checks += _latency(timed, material.champion_version, config.max_latency_ratio)
    return Trial(checks=tuple(checks), latency=timed, machine=machine)


def load_ahead() -> None:
    """Begin to load Keras for the trial that will come, in the background."""
    child_process.load_ahead(fresh=_job())


def _job() -> child_process.Job:
    return scoring_process.job("The release's trial", _TIMEOUT_S, in_fresh_interpreter=True)


def try_out(release: str, material: dict[str, Any], *, progress: Progress) -> dict[str, Any]:
    """The worker's side: the largest differences from what was recorded, and times, in JSON's types."""
    folder, given = Path(release), Material.model_validate(material)
    found: dict[str, Any] = {"fault": "", "drawn": None, "test": None, "n_test": 0, "latency": None}
    found["environment"] = recording.environment()
    try:
        classes = preprocessing.load_record(folder).classes
        model = saved_model.load(folder)
        if (recorded := recording.read(folder)) is not None:
            found["drawn"] = _largest(recording.answers(model), np.array(recorded.probabilities, np.float32))
        progress(1, 3, "tried on drawn inputs")
        if given.shards is not None:
            found["test"], found["n_test"] = _on_test_images(model, classes, folder, given.shards)
        progress(2, 3, "tried on test images")
    except errors.IntegrityError as error:
        return found | {"fault": str(error)}
    if given.is_timed:
        champion = None if given.champion is None else saved_model.load(given.champion)
        found["latency"] = measured([model, *([] if champion is None else [champion])]).model_dump(mode="json")
    progress(3, 3, "timed")
    return found


def _largest(now: np.ndarray, then: np.ndarray) -> float | None:
    """The largest difference of two arrays; None if they are not of one shape."""
    return None if now.shape != then.shape else float(np.abs(now.astype(np.float64) - then).max(initial=0))


def _on_test_images(model: Any, classes: tuple[str, ...], folder: Path, shards: Path) -> tuple[float | None, int]:
    """The largest difference on the first batch of test images, which is then the one of the evaluation; and that of
    what the calibration makes of the model's recorded answers.
    """
    recorded, calibration = predictions.read(folder / predictions.FILE), calibrator.load(folder)
    own = recorded if calibration is None else predictions.read(folder / calibration_scores.FILE)
    images = parquet.load_split(shards, "test")
    batch_size = saved_model.batch_size(images.pixels)
    pixels = images.pixels[:batch_size]
    if list(recorded.image_ids[: len(pixels)]) != images.image_ids[: len(pixels)]:
        return None, len(pixels)
    order = [classes.index(name) for name in recorded.classes]
    now = saved_model.probabilities(model, pixels, batch_size)[:, order]
    difference = _largest(now, own.probabilities[: len(pixels)])
    if calibration is not None and difference is not None:
        raw = np.ascontiguousarray(own.probabilities[:, [recorded.classes.index(name) for name in classes]])
        calibrated = calibration.probabilities(raw)[:, order]
        difference = max(difference, float(np.abs(calibrated - recorded.probabilities).max()))
    return difference, len(pixels)


def measured(models: list[Any]) -> Latency:
    """The latency of the first model, beside that of the second one, if there is one."""

    def rounds(n_images: int) -> np.ndarray:
        inputs = [np.full((n_images, *model.input_shape[1:]), 128, np.uint8) for model in models]
        calls = [
            lambda model=model, pixels=pixels: model.predict_on_batch(pixels)
            for model, pixels in zip(models, inputs, strict=True)
        ]
        return latency.interleaved(calls, _SECONDS)

    image, batch = rounds(1), rounds(_BATCH)
    fields: dict[str, Any] = {
        "image_ms": 1_000 * float(np.median(image[0])),
        "batch_ms": 1_000 * float(np.median(batch[0])),
        "n_rounds": image.shape[1],
    }
    if len(models) > 1:
        for name, taken in (("image", image), ("batch", batch)):
            ratios = taken[0] / taken[1]
            fields[f"{name}_ratio"] = float(np.median(ratios))
            fields[f"{name}_ratio_interval"] = latency.median_interval(ratios, _CONFIDENCE)
    return Latency.model_validate(fields)


def _unloadable(fault: str) -> Check:
    detail = f"the packed release can't be used: {fault}; run again, and if it stays so train it again"
    return Check(name=_LOADS, passed=False, detail=detail, reason=_REASON)


def _answers(release: Path, found: dict[str, Any]) -> list[Check]:
    """Whether it answers as was recorded, on the drawn inputs and on the test images."""
    recorded = recording.read(release)
    differing = () if recorded is None else recording.differing(recorded.environment, found["environment"])
    bound = TOLERANCE if differing else 0.0
    demanded = f"at most {bound:g}, as {', '.join(differing)} may round otherwise" if differing else "none"
    of = {"drawn": "drawn inputs", "test": f"{found['n_test']:,} test images"}
    checks = []
    for kind, words in of.items():
        if (kind == "drawn" and recorded is None) or (kind == "test" and not found["n_test"]):
            continue
        difference = found[kind]
        measure = Measure(
            quantity=f"largest difference of a probability on {words}",
            value=difference,
            demand="at most",
            bound=bound,
            unit="probability",
            setting="",
        )
        said = "other images or classes than were recorded" if difference is None else f"{difference:.3g}"
        checks.append(
            Check(
                name=f"{_SMOKE} on {words}",
                passed=measure.holds,
                detail=f"loaded in a process of its own the release answers {words} with a difference of {said} "
                f"(allowed: {demanded})"
                + ("" if measure.holds else "; it is not the model that was judged: run again, or train it again"),
                reason=_REASON,
                measure=measure,
            )
        )
    return checks


def _latency(timed: Latency, version: int, bound: float) -> list[Check]:
    """Whether it is slower than allowed beyond doubt: by the lower end of the ratio's interval."""
    checks = []
    for kind, ratio, interval in (
        ("one image", timed.image_ratio, timed.image_ratio_interval),
        (f"{_BATCH} images", timed.batch_ratio, timed.batch_ratio_interval),
    ):
        low, high = interval or (float("nan"), float("nan"))
        measure = Measure(
            quantity=f"latency of {kind}",
            value=ratio,
            interval=interval,
            confidence=_CONFIDENCE,
            judged="lower end",
            demand="at most",
            bound=bound,
            unit="ratio",
            setting="gate.max_latency_ratio",
        )
        checks.append(
            Check(
                name=f"latency of {kind} against the champion (version {version})",
                passed=measure.holds,
                detail=f"{kind}: {ratio:.2f} times as long as the champion (99 % interval {low:.2f} to {high:.2f}), of "
                f"at most {bound:g} times by gate.max_latency_ratio",
                reason=_SLOW,
                measure=measure,
            )
        )
    return checks
