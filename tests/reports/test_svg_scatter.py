import xml.etree.ElementTree as ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from fer.reports import svg_scatter
from fer.reports.svg_scatter import Point

shares = st.floats(0, 1)


@st.composite
def points(draw):
    low, y, high = sorted(draw(st.tuples(shares, shares, shares)))
    return Point(draw(st.text(max_size=40)), draw(st.floats(1e-3, 1e6)), y, (low, high))


def drawn(of):
    chart = str(svg_scatter.scatter(of, x="megabytes", y="accuracy", title="Accuracy by size"))
    return ElementTree.fromstring("".join(character for character in chart if character.isprintable()))  # noqa: S314 - our own chart


@settings(max_examples=30)
@given(st.lists(points(), min_size=1, max_size=8))
def test_every_model_is_a_dot_with_its_interval_within_the_axes(of):
    chart = drawn(of)
    dots = list(chart.iter("circle"))
    assert len(dots) == len(of) == sum(line.get("class") == "whisker" for line in chart.iter("line"))
    for dot in dots:
        assert 38 <= float(dot.get("cx")) <= 328
        assert 18 <= float(dot.get("cy")) <= 184


def test_models_are_numbered_in_their_order_and_a_cheaper_one_is_further_to_the_left():
    costs = {"small": 1, "large": 10, "large as well": 10}
    chart = drawn([Point(name, cost, 0.6, (0.5, 0.7)) for name, cost in costs.items()])
    groups = {group.find("title").text.partition(":")[0]: group for group in chart.iter("g")}
    places = {name: float(group.find("circle").get("cx")) for name, group in groups.items()}
    assert places["small"] < places["large"] == places["large as well"]
    assert [group.find("text").text for group in groups.values()] == ["1", "2", "3"]
