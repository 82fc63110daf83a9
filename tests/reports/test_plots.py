import pytest

from fer.reports import plots

CLASSES = ["angry", "disgust", "happy"]
HISTORY = {
    "loss": [1.9, 1.5],
    "accuracy": [0.3, 0.5],
    "validation_loss": [1.8, 1.6],
    "validation_accuracy": [0.35, 0.45],
}


def confusion():
    return plots.confusion([[900, 50, 50], [1, 0, 2], [0, 0, 0]], CLASSES, title="model\naccuracy 0.9")


def curves():
    return plots.curves(HISTORY, best_epoch=2, title="curves")


def balance():
    return plots.class_balance({"angry": 5, "happy": 9}, {"angry": 9, "disgust": 9, "happy": 9}, title="balance")


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("draw", [confusion, curves, balance])
def test_the_same_numbers_give_the_same_bytes(draw):
    first = plots.png(draw())
    assert first.startswith(b"\x89PNG")
    assert first == plots.png(draw())
    assert b"Software" not in first


@pytest.mark.parametrize("draw", [confusion, curves, balance])
def test_nothing_is_clipped(draw):
    figure = draw()
    plots.png(figure)  # this lays it out
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 >= 0
    assert drawn.y0 >= 0
    assert drawn.x1 <= width
    assert drawn.y1 <= height


def test_a_cell_has_its_share_of_the_row_and_its_count_on_a_contrasting_ground():
    axes = confusion().axes[0]
    assert texts_of(axes)[:2] == ["90%\n900", "5%\n50"]
    assert axes.texts[0].get_color() == "white"
    assert axes.texts[1].get_color() == "black"


def test_a_class_without_images_is_drawn_as_zeros():
    assert texts_of(confusion().axes[0])[6:] == ["0%\n0"] * 3


def test_the_curves_of_a_training_at_work_name_the_best_epoch_so_far(monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "png", drawn.append)
    history = {name: [*values, values[0]] for name, values in HISTORY.items()}
    plots.curves_so_far(history, "vgg")
    plots.curves_so_far({name: values[:1] for name, values in HISTORY.items()}, "vgg")
    titles = [figure.get_suptitle() for figure in drawn]
    assert titles == [
        "vgg, epoch 3: best validation accuracy so far 0.450",
        "vgg, epoch 1: best validation accuracy so far 0.350",
    ]
    best = [figure.axes[1].get_legend().get_texts()[2].get_text() for figure in drawn]
    assert best == ["best epoch (2)", "best epoch (1)"]


def test_the_curves_name_the_best_epoch():
    labels = [text.get_text() for text in curves().axes[1].get_legend().get_texts()]
    assert "best epoch (2)" in labels


def test_the_bars_say_how_many_images_each_class_had_and_has():
    assert texts_of(balance().axes[0]) == ["5", "0", "9", "9", "9", "9"]
