"""Documents of runs' reports (`report.json`), as a run makes them, of answers that are drawn."""

import functools
import json
import tempfile
from pathlib import Path

import numpy as np

from fer.evaluation import by_class, metrics, predictions
from fer.evaluation.calibration import calibrate, scores
from fer.evaluation.calibration.config import CalibrationConfig
from fer.evaluation.config import GateConfig
from fer.evaluation.explanations import figures as explanation_figures
from fer.evaluation.gates.beforehand import ComparedImages
from fer.evaluation.gates.comparison import Comparison
from fer.evaluation.refs import Check, Measure
from fer.evaluation.robustness import answers as model_answers
from fer.evaluation.robustness import comparison as robustness_comparison
from fer.evaluation.robustness import figures
from fer.evaluation.robustness.config import RobustnessConfig
from fer.evaluation.slices import figures as slice_figures
from fer.evaluation.slices.columns import Column
from fer.training.seeds import SeedScore, SeedSpread

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
N = 600
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


def drawn(classes=CLASSES, seed=0):
    """Candidate's metrics and its comparison with a champion, as JSON holds them."""
    of_candidate, changes, _ = _drawn(classes, seed)
    return json.loads(of_candidate), json.loads(changes)


@functools.cache
def _drawn(classes, seed=0):
    """The same as text, and the candidate's predictions."""
    with tempfile.TemporaryDirectory() as folder:
        return _draw(Path(folder), classes, seed)


def _draw(folder, classes, seed):
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, len(classes), N).astype(np.int32)
    ids = [f"{at:04}" for at in range(N)]
    answers = []
    for name, share in (("champion", 0.6), ("candidate", 0.75)):
        answers_of = draw.random((N, len(classes))).astype(np.float32)
        answers_of[np.arange(N), truth] += draw.random(N) < share
        path = folder / f"{name}.parquet"
        shares = (answers_of / answers_of.sum(axis=1, keepdims=True)).astype(np.float32)
        predictions.write(path, ids, truth, shares, draw.random(N) < 0.9, classes)
        answers.append(path)
    champion, candidate = map(predictions.read, answers)
    compared = Comparison(
        candidate, champion, ComparedImages(ids, truth, None), "champion (version 2)", GateConfig(samples=200)
    )
    of_candidate = metrics.from_predictions(answers[1])
    of_candidate = json.loads(of_candidate.with_flip_tta(of_candidate).model_dump_json())
    of_candidate["calibration"] = calibrated(candidate)
    of_candidate["split"] = "test"
    of_candidate["row_shares"] = [[count / max(sum(row), 1) for count in row] for row in of_candidate["confusion"]]
    return json.dumps(of_candidate), by_class.changes(compared).model_dump_json(), candidate


def calibrated(rows):
    """What calibration is worth, as JSON holds it, of these predictions, by which it is fitted too."""
    with tempfile.TemporaryDirectory() as folder:
        for name in (predictions.FILE, scores.FILE):
            clean = np.ones(len(rows.image_ids), bool)
            path = Path(folder) / name
            predictions.write(path, rows.image_ids, rows.class_indexes, rows.probabilities, clean, rows.classes)
        fitted = calibrate.fit(rows.class_indexes, rows.probabilities, rows.classes, CalibrationConfig())
        return scores.measure(Path(folder), fitted).model_dump(mode="json")


def made(*, status="released", text="", classes=CLASSES, with_champion=True):
    """A document; `text` stands wherever text comes from outside."""
    metrics_, changes = drawn(classes)
    counts = {name: 10 + 7 * at for at, name in enumerate(classes)}
    measure = Measure(
        quantity="accuracy", value=0.75, interval=(0.71, 0.79), confidence=0.95, demand="at least", bound=0.6,
        n_images=N, setting="gate.min_accuracy",
    )  # fmt: skip
    checks = [
        Check(name=f"accuracy at least 0.6{text}", passed=True, detail=f"accuracy 0.7500{text}", measure=measure),
        Check(name="no worse", passed=status != "refused", detail="accuracy −0.0123", reason=f"as good{text}"),
    ]
    epochs = range(1, 13)
    return {
        "release": {
            "name": "demo",
            "version": 3,
            "status": status,
            "uri": "s3://models/demo/3",
            "created_utc": "2026-11-30T09:04:11+00:00",
            "made_by": f"run demo{text} (0c4c0b9e-3f5d-4a53-9d5e-0a8f6f0f7c11)",
            "champion_version": 3,
            "files": {
                name: {"uri": f"s3://models/demo/files/{name}", "sha256": "7a" * 32, "size_bytes": 1234}
                for name in ("model.keras", "trained_on.parquet", "predictions.parquet")
            },
        },
        "verdict": {
            "headline": f"demo version 3 is {status}",
            "why": [f"better than the champion: 60 images better{text}"],
            "checks": [check.model_dump(mode="json") for check in checks],
            "decided_by": [checks[1].model_dump(mode="json")],
            "estimate_of": "",
            "power": {"n_images": N, "sentence": f"the margin of 0.03 passes 94% of equals{text}"},
            "champion_version": 2 if with_champion else None,
            "anchor_version": None,
            "changes": [f"the data has changed{text}"],
            "waivers_used": [],
        },
        "made_of": {
            "sources": [f"folder:/data/{text}"],
            "recipe": "demo",
            "seed": 7,
            "model": "sequential-cnn",
            "started_from": f"weights{text}",
            "model_digest": "ab" * 32,
            "inputs": {"source": f"demo{text}", "index": "cd" * 32},
            "code_fingerprint": "ef" * 32,
            "test_set": "5e" * 32,
            "environment": {"python": "3.11.7", "processor": f"x{text}"},
            "settings": {"name": "demo", "train": {"seed": 7}},
        },
        "comparison": {"version": 2} | changes if with_champion else None,
        "metrics": metrics_,
        "learning": {
            "history": {
                name: [start + step * epoch for epoch in epochs]
                for name, start, step in (
                    ("accuracy", 0.3, 0.03), ("validation_accuracy", 0.35, 0.04), ("loss", 2.0, -0.1),
                    ("validation_loss", 1.9, -0.12),
                )
            },
            "best_epoch": 12,
            "epochs_run": 12,
            "validation_accuracy": 0.83,
        },
        "seeds": _seeds(),
        "robustness": json.loads(_robustness(with_champion)),
        "slices": json.loads(_slices(classes, text)),
        "explanations": _explanations(_drawn(classes)[2], text),
        "data": {
            "verdict": "warn",
            "warnings": [f"1 file is a web page{text}"],
            "found": 2643,
            "accepted": 2640,
            "refused": 3,
            "splits": {"train": 1308, "validation": 236, "test": N},
            "origin": "drawn",
            "classes": list(classes),
            "by_class": dict.fromkeys(("train", "validation", "test"), counts),
            "trained_on": counts,
            "image_size": [48, 48],
            "duplicate_groups": 54,
            "redundant_copies": 17,
            "leaked_before": 5,
            "leaked_after": 0,
            "labels_in_conflict": 10,
            "labels_in_doubt": {"train": 40, "test": 27},
            "new": None,
            "gone": None,
            "relabelled": None,
            "issues": {"exact_duplicate": 12, f"dark{text}": 2},
        },
        "contracts": {
            "shards": {"rules": 9, "held": 9, "broken": []},
            "predictions": {"rules": 8, "held": 7, "broken": [f"a row is twice there: 2 of 600{text}"]},
        },
        "costs": {
            "size_bytes": 1_184_312, "n_parameters": 277_975, "latency": None, "train_minutes": 1.14,
            "peak_memory_mb": 888.9, "energy_kwh": 0.0123, "size_megabytes": 1.184312, "estimated_memory_mb": 888.7,
            "micro_batch": 32,
        },
        "not_evaluated": {} if with_champion else {"comparison": "no other model was champion before it"},
        "links": {"data quality": "quality.html", "as JSON": "report.json"},
    }  # fmt: skip


def _seeds():
    seeds = tuple(
        SeedScore(
            seed=seed,
            validation_accuracy=0.8 + seed / 100,
            validation_loss=0.5 - seed / 10,
            best_epoch=10 + seed,
            epochs_run=16,
            train_seconds=60.5,
            model_digest=f"{seed:02}" * 32,
        )
        for seed in range(3)
    )
    spread = SeedSpread(chosen=2, minimum=0.8, mean=0.81, sd=0.01, maximum=0.82, seeds=seeds)
    return spread.model_dump(mode="json")


@functools.cache
def _robustness(with_champion):
    config = RobustnessConfig()
    draw = np.random.default_rng(2)
    truth = draw.integers(0, 7, 200)

    def answers(share):
        names = [condition.name for condition in model_answers.conditions(config)]
        return {name: np.where(draw.random(200) < share, truth, (truth + 1) % 7) for name in names}

    ids = [f"{at:04}" for at in range(200)]
    own, other = (model_answers.Answers(ids, truth, answers(share)) for share in (0.7, 0.6))
    found = figures.robustness(own, config, "test", N).model_dump(mode="json")
    compared = robustness_comparison.of_answers(own, other, set(ids), config, 2).model_dump(mode="json")
    return json.dumps(found | {"comparison": compared if with_champion else None})


@functools.cache
def _slices(classes, text):
    rows = _drawn(classes)[2]
    answers, draw = np.arange(N), np.random.default_rng(3)
    dark = np.where((rows.predicted != rows.class_indexes) | (draw.random(N) < 0.1), "dark", "not dark")
    columns = [
        Column("dark", "property", dark.astype(object), ("dark",)),
        Column(
            f"camera{text}",
            "group",
            np.array([f"{text}{('a', 'b', None, 'small')[3 if at < 5 else at % 3]}" for at in answers], object),
            (f"{text}a", f"{text}b", f"{text}small"),
        ),
    ]
    missing = [f"the data names no group{text}"]
    return slice_figures.measure(rows, columns, 20, missing).model_dump_json()


def _explanations(rows, text):
    classes, found = rows.classes, explanation_figures.mistakes(rows, 12).model_dump(mode="json")
    named = [{"name": name, "n_images": 31, "picture_uri": PIXEL, "why_not": ""} for name in classes[1:]]
    none = {"name": classes[0], "n_images": 3, "picture_uri": None, "why_not": f"fewer than 20 images{text}"}
    return {"split": "test", "layer": f"conv{text}", "classes": [none, *named], "mistakes": found}
