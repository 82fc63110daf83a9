import numpy as np
import pytest

from fer import errors
from fer.evaluation.robustness import answers
from fer.evaluation.robustness.config import RobustnessConfig


def test_answers_are_read_as_they_were_written_in_the_order_of_their_images(tmp_path):
    path = tmp_path / answers.FILE
    predicted = {"clean": np.array([0, 1, 2]), "mirror": np.array([2, 1, 0])}
    answers.write(path, answers.Answers(["c", "a", "b"], np.array([0, 1, 1]), predicted))
    again = answers.read(path)
    assert again.image_ids == ["a", "b", "c"]
    np.testing.assert_array_equal(again.class_indexes, [1, 1, 0])
    np.testing.assert_array_equal(again.predicted["clean"], [1, 2, 0])
    np.testing.assert_array_equal(again.right("mirror"), [True, False, False])
    np.testing.assert_array_equal(again.rows(["c", "a"]).predicted["mirror"], [2, 1])


@pytest.mark.parametrize("content", [b"", b"PAR1 half of it"])
def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path, content):
    (tmp_path / answers.FILE).write_bytes(content)
    with pytest.raises(errors.IntegrityError, match="run the same command again"):
        answers.read(tmp_path / answers.FILE)


def test_the_conditions_are_the_images_as_they_are_then_each_corruption_then_each_movement():
    names = [one.name for one in answers.conditions(RobustnessConfig(corruptions=("jpeg",), severities=(5, 2)))]
    assert names[:3] == ["clean", "jpeg-2", "jpeg-5"]
    assert names[3:] == ["mirror", "shift_left", "shift_right", "shift_up", "shift_down", "smaller", "larger"]
    assert len(answers.conditions(RobustnessConfig())) == 1 + 13 * 5 + 7
