"""Released versions on this machine, without a registry."""

import json

import numpy as np

from fer.evaluation import predictions
from fer.registry import version_differences
from fer.registry.manifest import Manifest
from fer.registry.opponents import champion
from fer.training.refs import ModelRef

CLASSES = ("happy", "sad")
TRUTH = np.array([0, 1] * 20, np.int32)


def release(folder, version, n_right, *, first=0, **changed):
    """A version that has the first `n_right` of 40 test images right; they are numbered from `first`."""
    folder.mkdir()
    predicted = np.where(np.arange(40) < n_right, TRUTH, 1 - TRUTH)
    image_ids = [f"id{first + row:03}" for row in range(40)]
    predictions.write(folder / predictions.FILE, image_ids, TRUTH, np.eye(2)[predicted], np.ones(40, bool), CLASSES)
    model = ModelRef(
        model="cnn", classes=CLASSES, n_parameters=100 * version, epochs_run=1, best_epoch=1, validation_accuracy=0.5,
        train_seconds=60.0,
    )  # fmt: skip
    (folder / champion.MODEL).write_text(model.model_dump_json())
    (folder / "model.keras").write_bytes(b"x" * version)
    (folder / "training.json").write_text(json.dumps({"peak_memory_mb": 900.0}))
    files = {"key": "models/demo/files/0", "sha256": "0" * 64, "size_bytes": 1}
    document = {
        "status": "released", "reasons": [], "registration_key": "k", "model_digest": "d", "metrics": {},
        "recipe": {"train": {"epochs": 3, "model": {"name": "cnn"}}, "search": {}},
        "inputs": {"index": "aa", "train": str(version)}, "code_fingerprint": "ef", "environment": {"keras": "3.15"},
        "champion_at_registration": None, "name": "demo", "version": version, "created_utc": "2026-01-01T00:00:00Z",
        "files": {predictions.FILE: files},
    }  # fmt: skip
    return version_differences.Release(Manifest.model_validate(document | changed), folder)
