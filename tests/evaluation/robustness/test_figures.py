import numpy as np
import pytest

from fer.evaluation import intervals
from fer.evaluation.robustness import answers, figures
from fer.evaluation.robustness.config import RobustnessConfig

CONFIG = RobustnessConfig(corruptions=("jpeg", "rotation"), severities=(1, 5))


def answers_of(right: dict[str, float], n: int = 40) -> answers.Answers:
    """A model that has the first images right, such a share of them under each condition; class 1 is the truth."""
    predicted = {
        condition.name: (np.arange(n) < right.get(condition.name, 1.0) * n).astype(np.int32)
        for condition in answers.conditions(CONFIG)
    }
    return answers.Answers([f"{row:03}" for row in range(n)], np.ones(n, np.int32), predicted)


def test_the_figures_are_means_over_severities_and_kinds():
    model = answers_of({"clean": 0.9, "jpeg-1": 0.8, "jpeg-5": 0.4, "rotation-1": 0.7, "rotation-5": 0.5})
    scores = figures.robustness(model, CONFIG, "test", 400)
    jpeg, rotation = scores.corruptions
    assert (jpeg.kind, jpeg.group, rotation.kind) == ("jpeg", "digital", "rotation")
    assert jpeg.accuracy == pytest.approx(0.6)
    assert jpeg.error == pytest.approx(0.4)
    assert [score.severity for score in jpeg.severities] == [1, 5]
    assert jpeg.severities[1].accuracy_interval == intervals.wilson(16, 40)
    assert scores.mean_accuracy == pytest.approx(0.6)
    assert scores.mean_error == pytest.approx(0.4)
    assert scores.accuracy == pytest.approx(0.9)
    digital, pose = scores.groups
    assert (digital.group, digital.kinds, digital.accuracies) == ("digital", ("jpeg",), (0.8, 0.4))
    assert (pose.group, pose.severities) == ("pose", (1, 5))
    assert (scores.n_images, scores.n_images_of_split) == (40, 400)
    assert scores.mean_accuracy_interval[0] < 0.6 < scores.mean_accuracy_interval[1]


def test_an_answer_that_stays_the_same_is_unchanged_whether_right_or_wrong():
    scores = figures.robustness(answers_of({"clean": 0.5, "mirror": 0.5, "larger": 0.75}), CONFIG, "test", 40)
    mirror = scores.invariances[0]
    assert (mirror.nuisance, mirror.accuracy, mirror.unchanged) == ("mirror", 0.5, 1.0)
    larger = next(one for one in scores.invariances if one.nuisance == "larger")
    assert (larger.accuracy, larger.unchanged) == (0.75, 0.75)
    assert larger.unchanged_interval == intervals.wilson(30, 40)


def test_the_interval_of_the_mean_is_by_images_and_stays_between_0_and_1():
    perfect = figures.robustness(answers_of({}), CONFIG, "test", 40)
    assert perfect.mean_accuracy_interval == (1.0, 1.0)
    nearly = figures.robustness(answers_of(dict.fromkeys(("jpeg-1", "jpeg-5"), 0.975)), CONFIG, "test", 40)
    assert nearly.mean_accuracy_interval[1] == 1.0


def test_the_record_is_read_from_its_json():
    scores = figures.robustness(answers_of({"clean": 0.9}), CONFIG, "test", 40)
    assert figures.Robustness.model_validate_json(scores.model_dump_json()) == scores
