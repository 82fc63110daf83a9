from fer.reports import plots

CLASSES = ["angry", "disgust", "happy"]


def confusion():
    return plots.confusion([[900, 50, 50], [1, 0, 2], [0, 0, 0]], CLASSES, title="model\naccuracy 0.9")


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


def test_the_same_numbers_give_the_same_bytes():
    first = plots.png(confusion())
    assert first.startswith(b"\x89PNG")
    assert first == plots.png(confusion())
    assert b"Software" not in first


def test_nothing_is_clipped():
    figure = confusion()
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
