import pytest

from fer.reports import plots, sweep_plots
from fer.training import search

SPACE = {"train.learning_rate": "1e-4..1e-2 log", "train.batch_size": "32|64|128", "train.patience": "1..4"}


def trials():
    settings = {"train.learning_rate": 1e-3, "train.batch_size": 64, "train.patience": 2}
    return [
        search.Trial(number=number, settings=settings, value=value, state="complete")
        for number, value in enumerate((0.5, 0.6, 0.55))
    ]


def test_the_picture_has_a_panel_for_the_trials_and_one_for_each_setting():
    figure = sweep_plots.trials(trials(), SPACE, title="t")
    visible = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_xlabel() for axes in visible] == ["trial", *SPACE]
    assert plots.png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("space", [{}, SPACE])
def test_the_picture_is_drawn_before_there_are_trials(space):
    assert plots.png(sweep_plots.trials([], space, title="none yet")).startswith(b"\x89PNG")
