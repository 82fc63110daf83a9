"""Charts for the UI are drawn once for their data."""

import json

from fer.engine.local_workspace import LocalWorkspace
from fer.models import saved_model
from fer.reports import pictures, plots
from fer.shards.refs import ShardsRef
from fer.training.refs import ModelRef

PNG = b"\x89PNG\r\n\x1a\n"


def drawn(workspace, ref):
    return (workspace.folder(ref) / pictures.PICTURE).read_bytes()


def test_learning_curves_are_drawn_once_for_a_model(tmp_path, monkeypatch):
    workspace = LocalWorkspace(tmp_path)

    def produce(out):
        names = ("loss", "accuracy", "validation_loss", "validation_accuracy")
        (out / saved_model.HISTORY).write_text(json.dumps({name: [0.5, 0.6] for name in names}))
        return ModelRef(
            model="cnn",
            classes=("a", "b"),
            n_parameters=1,
            epochs_run=2,
            best_epoch=2,
            validation_accuracy=0.6,
            train_seconds=1.0,
        )

    model = workspace.run("train", "key", ModelRef, produce, resumable=False)
    first = drawn(workspace, pictures.learning_curves(model, workspace=workspace))
    assert first.startswith(PNG)
    monkeypatch.setattr(plots, "learning_curves", lambda *_: b"drawn again")
    assert drawn(workspace, pictures.learning_curves(model, workspace=workspace)) == first


def test_class_balance_is_drawn_once_for_what_was_balanced(tmp_path, monkeypatch):
    workspace = LocalWorkspace(tmp_path)
    source, balanced = (
        ShardsRef(digest=digest, height=8, width=8, classes=("a", "b"), counts={"train": counts}, mean=1.0, std=1.0)
        for digest, counts in (("before", {"a": 1, "b": 5}), ("after", {"a": 5, "b": 5}))
    )
    first = drawn(workspace, pictures.class_balance(source, balanced, "Images", workspace=workspace))
    assert first.startswith(PNG)
    monkeypatch.setattr(plots, "png", lambda figure: b"drawn again")
    assert drawn(workspace, pictures.class_balance(source, balanced, "Images", workspace=workspace)) == first
    other = balanced.model_copy(update={"digest": "other"})
    assert drawn(workspace, pictures.class_balance(source, other, "Images", workspace=workspace)) == b"drawn again"
