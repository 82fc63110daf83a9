"""What is to be said of scores as a whole: what was found, how it differs from training, how often it may be right."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import files
from data_contracts import scores as contract
from fer.curation import drift
from fer.curation.drift import DriftConfig
from fer.engine.records import Record
from fer.evaluation import predictions
from fer.scoring import estimate, score
from fer.scoring.estimate import AccuracyEstimate
from fer.scoring.refs import ScoresRef

_COMPARED = 20_000  # faces at most: of more, a difference that matters is found all the same


class Share(Record):
    """How often a class was predicted: of the faces scored, and of the test images of the release."""

    label: str
    n_faces: int
    share: float
    share_on_test: float | None


class Findings(Record):
    """The content of `scores.json`.

    `tests`: rows of `fer.curation.drift`, of inputs (against train images as the model was shown them) and of
    predictions (against those on the test images); none of a release that does not hold what they are compared with.
    `unsure` is the share of faces with several classes in their set, None for a release without sets;
    `unlike` that of faces unlike the release's training, None for one that can't tell.
    """

    sources: tuple[str, ...]
    release: str
    model_digest: str
    scores_digest: str
    n_pictures: int
    n_faces: int
    n_without: int
    n_unreadable: int
    errors: dict[str, int]  # why pictures can't be read -> how many, the commonest
    unsure: float | None
    unlike: float | None = None
    mean_confidence: float | None
    shares: tuple[Share, ...]
    tests: tuple[dict[str, Any], ...]
    estimate: AccuracyEstimate | None

    @property
    def drifted(self) -> list[str]:
        """What differs from training."""
        return [str(test["what"]) for test in self.tests if test["drifted"]]

    def sentence(self) -> str:
        """The findings in one line."""
        parts = [f"{self.n_faces:,} faces of {self.n_pictures:,} pictures scored by {self.release}"]
        if self.estimate is not None:
            error = f"± {100 * self.estimate.error_on_test:.1f} points on the test"
            parts.append(f"right in about {self.estimate.accuracy:.1%} by its confidence ({error})")
        if self.tests:
            parts.append(f"drift of {', '.join(self.drifted)}" if self.drifted else "no drift")
        return "; ".join(parts)


_ERRORS = 10


def of(folder: Path, ref: ScoresRef, release: Path, sources: Sequence[str], model_digest: str) -> Findings:
    """The findings on the scores in `folder` by the release in the folder `release`, some columns of which are read."""
    sampled = _sample(folder, ref.n_faces)
    labels, reasons = Counter[str](), Counter[str]()
    confidence: list[np.ndarray] = []
    flags = {"unsure": Counter[bool](), "unlike": Counter[bool]()}
    for batch in _batches(folder, ["label", "error", "confidence", *flags]):
        labels.update(batch["label"].drop_null().to_pylist())
        reasons.update(batch["error"].drop_null().to_pylist())
        confidence.append(batch["confidence"].drop_null().to_numpy())
        for name, counted in flags.items():
            counted.update(batch[name].drop_null().to_pylist())
    found = np.concatenate([np.empty(0, np.float32), *confidence])
    test = _read_test(release)
    return Findings(
        sources=tuple(sources),
        release=ref.release,
        model_digest=model_digest,
        scores_digest=ref.digest,
        n_pictures=ref.n_pictures,
        n_faces=ref.n_faces,
        n_without=ref.n_without,
        n_unreadable=ref.n_unreadable,
        errors=dict(reasons.most_common(_ERRORS)),
        unsure=_share_of(flags["unsure"]),
        unlike=_share_of(flags["unlike"]),
        mean_confidence=float(found.mean(dtype=np.float64)) if len(found) else None,
        shares=_shares(labels, test),
        tests=tuple(_tests(sampled, release, test)),
        estimate=None
        if test is None
        else estimate.estimate(test.probabilities.max(axis=1), test.predicted == test.class_indexes, found),
    )


def _share_of(counted: Counter[bool]) -> float | None:
    return counted[True] / counted.total() if counted else None


def _batches(folder: Path, columns: list[str]) -> Iterator[pa.Table]:
    for path in score.shards(folder):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=columns, use_threads=False):
                yield pa.Table.from_batches([batch])


def _sample(folder: Path, n_faces: int) -> pa.Table:
    """`label`, `confidence` and properties of the faces: of all, or of every so many-th."""
    step = max(1, math.ceil(n_faces / _COMPARED))
    n_before = 0
    taken: list[pa.Table] = []
    for rows in _batches(folder, ["label", "confidence", *contract.PROPERTIES]):
        faces = rows.filter(pc.is_valid(rows["label"]))
        taken.append(faces.take(pa.array(np.arange(-n_before % step, len(faces), step))))
        n_before += len(faces)
    return pa.concat_tables(taken)


def _read_test(release: Path) -> predictions.Predictions | None:
    path = release / predictions.FILE
    return predictions.read(path) if path.is_file() else None


def _shares(labels: Counter[str], test: predictions.Predictions | None) -> tuple[Share, ...]:
    total = sum(labels.values())
    on_test = None if test is None else np.bincount(test.predicted, minlength=len(test.classes)) / len(test.predicted)
    names = sorted(labels) if test is None else list(test.classes)
    return tuple(
        Share(
            label=name,
            n_faces=labels[name],
            share=labels[name] / total if total else 0.0,
            share_on_test=None if on_test is None else float(on_test[place]),
        )
        for place, name in enumerate(names)
    )


def _tests(sampled: pa.Table, release: Path, test: predictions.Predictions | None) -> list[dict[str, Any]]:
    config = DriftConfig()
    tests: list[dict[str, Any]] = []
    if not len(sampled):
        return tests
    if (release / files.SHOWN).is_file():
        trained = pq.read_table(release / files.SHOWN)
        if len(trained):
            tests += [
                {"of": "inputs"} | drift.property_test(name, sampled, trained, config) for name in contract.PROPERTIES
            ]
    if test is not None:
        predicted = pa.table(
            {
                "label": pa.array([test.classes[index] for index in test.predicted.tolist()]),
                "confidence": test.probabilities.max(axis=1),
            }
        )
        tests.append({"of": "predictions"} | drift.class_test(sampled, predicted, config))
        tests.append({"of": "predictions"} | drift.property_test("confidence", sampled, predicted, config))
    return drift.judged(tests, config)
