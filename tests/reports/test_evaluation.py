import numpy as np
import pytest

from fer.engine.code import fingerprint
from fer.engine.local_workspace import LocalWorkspace
from fer.evaluation import evaluate, metrics, predictions
from fer.evaluation.refs import EvaluationRef
from fer.reports import evaluation

CLASSES = ("happy", "sad", "angry")


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path / "workspace")


def scores_of(folder, truth, predicted, is_clean, classes=CLASSES) -> metrics.Metrics:
    """The metrics of these class indexes; the averages with mirror images are the same."""
    path = folder / predictions.FILE
    ids = [f"id{row}" for row in range(len(truth))]
    shares = np.eye(len(classes), dtype=np.float32)[predicted]
    predictions.write(path, ids, np.array(truth, np.int32), shares, np.array(is_clean, bool), classes)
    scores = metrics.from_predictions(path)
    return scores.with_flip_tta(scores)


def evaluation_of(workspace, scores) -> EvaluationRef:
    def produce(out):
        (out / evaluate.METRICS).write_text(scores.model_dump_json())
        return EvaluationRef(
            split="test",
            n_images=scores.n_images,
            accuracy=scores.accuracy,
            accuracy_interval=scores.accuracy_interval,
            macro_f1=scores.macro.f1,
            macro_f1_interval=scores.macro_f1_interval,
        )

    return workspace.run("evaluate", "some", EvaluationRef, produce, resumable=False)


def test_a_report_is_a_picture_and_markdown(workspace, tmp_path):
    scored = evaluation_of(workspace, scores_of(tmp_path, [0, 1, 2], [0, 1, 1], [1, 1, 1]))
    folder = workspace.folder(evaluation.draw(scored, "vgg", workspace=workspace))
    assert (folder / evaluation.CONFUSION).read_bytes().startswith(b"\x89PNG")
    report = (folder / evaluation.MARKDOWN).read_text()
    assert report.startswith("# vgg on the test split\n")
    for name in (*CLASSES, "macro average", "weighted average"):
        assert f"| {name} |" in report


def test_another_picture_of_the_same_numbers_scores_nothing_again():
    assert not {name for name in fingerprint.reached("fer.evaluation.evaluate") if name.startswith("fer.reports")}


def test_the_report_names_every_number_of_table_1(tmp_path):
    scores = scores_of(tmp_path, [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0], np.arange(6) < 4)
    report = evaluation.markdown(scores, "sequential-cnn", "test")
    assert "| happy | 0.667 | 0.667 | 0.667 | 3 |" in report
    assert "| macro average | 0.444 | 0.556 | 0.489 | 6 |" in report
    assert "| accuracy | | | 0.667 | 6 |" in report
    assert "| **angry** | 1 | 0 | 0 |" in report
    assert "De-duplicated" in report
    assert "accuracy **0.750**" in report
    assert "4 images" in report
    assert "mirror images, accuracy 0.667" in report


def test_classes_without_an_image_are_named_beside_the_number_of_images(tmp_path):
    scores = scores_of(tmp_path, [0, 1, 2], [0, 1, 2], [1, 1, 0], tuple("xyz"))
    assert "2 images (none of z, left out of macro-F1)." in evaluation.markdown(scores, "some", "test")
