import io

import numpy as np
import pytest
from indexed import CONFIG, by_path, picture, reasons, run

from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest import index
from fer.ingest.layouts import detect

BY_NUMBER = index.IndexConfig(classes=CONFIG.classes, synonyms={"0": "angry", "1": "happy", "2": "surprise"})
X = np.stack([picture(n, 8, 8) for n in range(3)])


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "files",
    [
        {"X_train.npy": npy(X), "y_train.npy": npy(np.array([0, 1, 2]))},
        {"f/images.npy": npy(X[..., None]), "f/labels.npy": npy(np.eye(3))},
        {"faces.npy": npy(X.reshape(3, 64).astype(np.float32)), "emotions.npy": npy(np.array(["anger", "joy", "2"]))},
        {"fer.npz": npz(x=X, y=np.array([0, 1, 2]), notes=np.array(["a", "b"]))},
        {"fer.npz": npz(x_train=np.stack([X] * 3, -1), y_train=np.array([[0], [1], [2]], np.uint8))},
    ],
)
def test_arrays_of_images_are_read_with_those_of_their_labels(tmp_path, files):
    workspace = LocalWorkspace(tmp_path)
    manifest = run(workspace, files, BY_NUMBER)
    rows = by_path(workspace, manifest)
    assert (manifest.layouts, manifest.n_quarantined, manifest.ignored) == ((detect.TABLE_OF_IMAGES,), 0, {})
    assert [row["label"] for row in rows.values()] == ["angry", "happy", "surprise"]
    assert [row["mean"] for row in rows.values()] == pytest.approx(X.mean(axis=(1, 2)), abs=0.5)


def test_arrays_of_several_splits_are_told_apart_by_their_names(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    files = {
        f"{name}_{part}.npy": npy(X if name == "X" else np.array([0, 1, 2]))
        for name in "Xy"
        for part in ("train", "test")
    }
    rows = by_path(workspace, run(workspace, files, BY_NUMBER))
    assert [row["raw_split"] for row in rows.values()] == ["test"] * 3 + ["train"] * 3


def test_pixels_between_0_and_1_are_in_quarantine_and_objects_are_never_unpickled(tmp_path):
    workspace = LocalWorkspace(tmp_path / "a")
    scaled = np.concatenate([X[:2].astype(np.float64), X[2:] / 256])
    found = reasons(workspace, run(workspace, {"x.npy": npy(scaled), "y.npy": npy(np.array([0, 1, 2]))}, BY_NUMBER))
    assert list(found.values()) == [None, None, "the pixels are not all numbers within 0-255"]
    objects = {"x.npy": npy(X), "y.npy": npy(np.array([{}, [], None], object))}
    with pytest.raises(errors.SourceError, match="none an image"):
        run(LocalWorkspace(tmp_path / "b"), objects, BY_NUMBER)


@pytest.mark.parametrize("name", ["x.npy", "y.npy", "f.npz"])
def test_arrays_that_are_cut_short_are_one_source_error(tmp_path, name):
    files = {"x.npy": npy(X), "y.npy": npy(np.array([0, 1, 2])), "f.npz": npz(x=X, y=np.array([0, 1, 2]))}
    files = {"f.npz": files["f.npz"]} if name == "f.npz" else {"x.npy": files["x.npy"], "y.npy": files["y.npy"]}
    files[name] = files[name][:-9]
    with pytest.raises(errors.SourceError):
        run(LocalWorkspace(tmp_path), files, BY_NUMBER)
