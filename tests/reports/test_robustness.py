import numpy as np

from fer.evaluation.robustness import answers, comparison, figures, measure
from fer.evaluation.robustness.config import RobustnessConfig
from fer.reports import robustness

CONFIG = RobustnessConfig(corruptions=("motion_blur",), severities=(1, 5))


def answers_of(share: float, n: int = 40) -> answers.Answers:
    predicted = {one.name: (np.arange(n) < share * n).astype(np.int32) for one in answers.conditions(CONFIG)}
    return answers.Answers([f"{row:02}" for row in range(n)], np.ones(n, np.int32), predicted)


def test_every_figure_on_the_page_is_one_of_the_record(tmp_path):
    scores = figures.robustness(answers_of(0.75), CONFIG, "test", 400)
    (tmp_path / measure.FILE).write_text(scores.model_dump_json())
    text = robustness.markdown(tmp_path, "cnn")
    assert "| motion blur | 0.750 | 0.750 | 0.750 |" in text
    assert "| shift left | 0.750 | 100.0% |" in text
    assert "40 test images as they are, of 400" in text


def test_a_comparison_without_enough_images_says_so_and_one_with_them_has_a_row_a_kind(tmp_path):
    ids = {f"{row:02}" for row in range(40)}
    for unseen, expected in ((ids, "| motion blur | 0.500 | 0.250 | 2.000 | – |"), (set(), "too few to compare on")):
        result = comparison.of_answers(answers_of(0.5), answers_of(0.75), unseen, CONFIG, 7)
        (tmp_path / comparison.FILE).write_text(result.model_dump_json())
        text = robustness.comparison_markdown(tmp_path)
        assert expected in text
        assert "version 7" in text
