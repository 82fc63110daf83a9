import numpy as np
import pytest

from fer.evaluation.explanations import figures
from fer.evaluation.predictions import Predictions

CLASSES = ("angry", "happy", "sad")


def predictions(n: int = 90, seed: int = 0) -> Predictions:
    """A model that is sure and right, except for image 0 (wrong and sure), 1 (wrong, unsure) and 2 (right, unsure)."""
    labels = (np.arange(n) % 3).astype(np.int32)
    probabilities = np.full((n, 3), 0.02, np.float32)
    probabilities[np.arange(n), labels] = 0.96
    probabilities[0] = (0.01, 0.98, 0.01)  # an angry one
    probabilities[1] = (0.40, 0.35, 0.25)  # a happy one
    probabilities[2] = (0.30, 0.30, 0.40)  # a sad one
    return Predictions(
        [f"id{row:02}" for row in range(n)], labels, probabilities.argmax(axis=1).astype(np.int32), probabilities,
        np.arange(n) != 3, CLASSES,
    )  # fmt: skip


def test_the_mistakes_are_listed_the_most_confident_first():
    found = figures.mistakes(predictions(), 50)
    assert found.n == 2
    assert [one.image_id for one in found.most_confident] == ["id00", "id01"]
    first = found.most_confident[0]
    assert (first.label, first.predicted) == ("angry", "happy")
    assert (first.label_probability, first.predicted_probability) == (pytest.approx(0.01), pytest.approx(0.98))


def test_a_label_that_a_sure_model_contradicts_is_in_doubt_and_one_it_is_unsure_of_is_not():
    found = figures.mistakes(predictions(), 50)
    assert [one.image_id for one in found.labels_in_doubt] == ["id00"]
    assert found.n_labels_in_doubt == 1


def test_no_more_are_listed_than_asked_for_and_all_are_counted():
    found = figures.mistakes(predictions(), 1)
    assert (found.n, len(found.most_confident)) == (2, 1)
    assert figures.mistakes(predictions(), 0).most_confident == ()


def test_mistakes_have_no_order_of_their_rows():
    rows = predictions()
    turned = Predictions(
        rows.image_ids[::-1], rows.class_indexes[::-1], rows.predicted[::-1], rows.probabilities[::-1],
        rows.is_clean[::-1], CLASSES,
    )  # fmt: skip
    assert figures.mistakes(turned, 50) == figures.mistakes(rows, 50)


def test_classes_without_an_image_and_a_split_of_one_class_are_no_errors():
    rows = predictions()
    two = rows.class_indexes != 2
    doubted = figures.labels_in_doubt(rows.class_indexes[two], rows.probabilities[two])
    assert np.flatnonzero(doubted).tolist() == [0]
    one = rows.class_indexes == 1
    assert not figures.labels_in_doubt(rows.class_indexes[one], rows.probabilities[one]).any()


def test_an_average_face_is_of_images_that_are_right_and_no_duplicates():
    angry, happy, sad = figures.right_by_class(predictions())
    assert "id00" not in angry  # wrong
    assert "id03" not in angry  # a duplicate
    assert (len(angry), len(happy), len(sad)) == (28, 29, 30)


def test_the_record_is_read_from_its_json():
    record = figures.Explanations(
        split="test",
        layer="conv",
        classes=(
            figures.ClassExplanation(name="a", n_images=30, heat=((0.0, 0.5),), picture="grad_cam_000.png"),
            figures.ClassExplanation(name="b", n_images=0, why_not="too few"),
        ),
        mistakes=figures.mistakes(predictions(), 3),
    )
    assert figures.Explanations.model_validate_json(record.model_dump_json()) == record
