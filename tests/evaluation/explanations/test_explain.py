import cv2
import numpy as np
import pytest

from data_contracts import files
from fer.engine.local_workspace import LocalWorkspace
from fer.evaluation import predictions
from fer.evaluation.explanations import explain, figures
from fer.evaluation.explanations.config import ExplanationsConfig
from fer.evaluation.refs import EvaluationRef
from fer.shards import parquet
from fer.shards.refs import ShardsRef
from fer.training.refs import ModelRef

pytestmark = pytest.mark.slow

keras = pytest.importorskip("keras")
CLASSES = ("left", "right")
SIZE, N = 16, 60
CONFIG = ExplanationsConfig(min_images=20, images_per_class=25, listed=5)


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def images() -> tuple[list[str], np.ndarray, np.ndarray]:
    """A bright spot on the left (class 0) or on the right (class 1), and nothing else."""
    labels = (np.arange(N) % 2).astype(np.int32)
    pixels = np.full((N, SIZE, SIZE), 10, np.uint8)
    for row, label in enumerate(labels):
        left = 11 if label else 2
        pixels[row, 6:9, left : left + 3] = 150 + row
    return [f"id{row:02}" for row in range(N)], labels, pixels


def shards_of(workspace) -> ShardsRef:
    def produce(out):
        ids, labels, pixels = images()
        parquet.write(out / parquet.name("test", 0), ids, labels, pixels, CLASSES)
        return ShardsRef(classes=CLASSES, height=SIZE, width=SIZE, counts={}, mean=20.0, std=40.0)

    return workspace.run("preprocess", "x", ShardsRef, produce, resumable=False)


def model_of(workspace, classes=CLASSES, convolves=True) -> ModelRef:
    """A model that sums what is bright on either side, as a pool and a dense layer of given weights do."""

    def produce(out):
        given = keras.Input((SIZE, SIZE, 1), name="pixels")
        x = keras.layers.Rescaling(1 / 40, offset=-0.5)(given)
        if convolves:
            x = keras.layers.Conv2D(1, 1, activation="relu", name="maps")(x)
        x = keras.layers.Flatten(name="flatten")(keras.layers.AveragePooling2D((SIZE, SIZE // 2))(x))
        model = keras.Model(given, keras.layers.Dense(2, activation="softmax", name="probabilities")(x))
        weights = [np.eye(2)[[CLASSES.index(name) for name in classes]].T * 3, np.zeros(2)]
        model.layers[-1].set_weights(weights)
        if convolves:
            model.get_layer("maps").set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
        model.save(out / files.MODEL)
        return ModelRef(
            digest="-".join(classes), model="spots", classes=classes, n_parameters=1, epochs_run=1, best_epoch=1,
            validation_accuracy=0.5, train_seconds=1,
        )  # fmt: skip

    return workspace.run("train", f"{classes[0]}-{convolves}", ModelRef, produce, resumable=False)


def evaluation_of(workspace, n_right: int = N) -> EvaluationRef:
    """Of the first `n_right` images the model is said to be right, and of none of the others."""

    def produce(out):
        ids, labels, _ = images()
        said = np.where(np.arange(N) < n_right, labels, 1 - labels)
        probabilities = np.eye(2, dtype=np.float32)[said] * 0.98 + 0.01
        predictions.write(out / predictions.FILE, ids, labels, probabilities, np.ones(N, bool), CLASSES)
        return EvaluationRef(
            split="test", n_images=N, accuracy=n_right / N, accuracy_interval=(0, 1), macro_f1=1,
            macro_f1_interval=(0, 1),
        )  # fmt: skip

    return workspace.run("evaluate", str(n_right), EvaluationRef, produce, resumable=False)


def explained(workspace, model, evaluation, show_faces=False):
    ref = explain.explanations(model, shards_of(workspace), evaluation, CONFIG, show_faces, workspace=workspace)
    folder = workspace.folder(ref)
    return ref, folder, figures.Explanations.model_validate_json((folder / explain.FILE).read_bytes())


def test_the_heat_is_where_the_model_sees_the_class(workspace, in_this_process):
    ref, folder, found = explained(workspace, model_of(workspace), evaluation_of(workspace))
    assert (found.layer, ref.n_classes_explained, found.mistakes.n) == ("maps", 2, 0)
    for one, columns in zip(found.classes, (slice(2, 5), slice(11, 14)), strict=True):
        heat = np.array(one.heat)
        assert one.n_images == 25
        assert heat[6:9, columns].min() > 0.99
        assert heat.sum() == pytest.approx(9, abs=0.1)
        picture = cv2.imread(str(folder / one.picture))
        assert picture.shape == (96, 200, 3)
        grey = picture[:, :96]
        np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
    assert not (folder / explain.FACES).exists()


def test_classes_in_another_order_are_explained_by_their_names(workspace, in_this_process):
    _, _, straight = explained(workspace, model_of(workspace), evaluation_of(workspace))
    _, _, turned = explained(workspace, model_of(workspace, CLASSES[::-1]), evaluation_of(workspace))
    assert turned.classes == straight.classes


def test_a_class_with_few_images_that_are_right_shows_no_average_face(workspace, in_this_process):
    ref, folder, found = explained(workspace, model_of(workspace), evaluation_of(workspace, n_right=39))
    left, right = found.classes
    assert (left.n_images, right.n_images, right.heat, right.picture) == (20, 0, None, None)
    assert "fewer than 20" in right.why_not
    assert [path.name for path in folder.glob("*.png")] == [left.picture]
    assert ref.n_classes_explained == 1
    assert (found.mistakes.n, len(found.mistakes.most_confident)) == (21, 5)


def test_a_model_without_a_convolution_says_so(workspace, in_this_process):
    model = model_of(workspace, convolves=False)
    ref, folder, found = explained(workspace, model, evaluation_of(workspace), show_faces=True)
    assert (ref.layer, found.layer) == (None, None)
    assert all("no convolution" in one.why_not for one in found.classes)
    assert not list(folder.rglob("*.png"))


def test_single_faces_are_shown_on_request_alone(workspace, in_this_process):
    _, folder, found = explained(workspace, model_of(workspace), evaluation_of(workspace, n_right=50), show_faces=True)
    listed = explain.Faces.model_validate_json((folder / explain.FACES_LIST).read_bytes()).faces
    assert {face.why for face in listed} >= {"right", "confident mistake"}
    wrong = {face.image_id for face in listed if face.why == "confident mistake"}
    assert wrong == {one.image_id for one in found.mistakes.most_confident}
    assert {face.file for face in listed} == {f"faces/{path.name}" for path in (folder / "faces").iterdir()}
