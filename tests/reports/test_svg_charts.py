import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer.reports import svg_charts
from fer.reports.svg_charts import Mark, Outline, Part

counts = st.lists(st.integers(0, 10**7), min_size=1, max_size=8)


def svg(markup):
    """The chart as a tree; a chart that is no XML fails here."""
    return ElementTree.fromstring(str(markup))  # noqa: S314 - the project's own output


def tooltips(markup):
    return [title.text for title in svg(markup).iter("title")]


def bar(numbers, whole=None):
    parts = [Part(f"part {at}", number, "train") for at, number in enumerate(numbers)]
    return svg(svg_charts.stacked(parts, title="whole", whole=whole))


@given(counts.filter(any))
def test_the_parts_of_a_bar_fill_it_in_their_order_without_overlap(numbers):
    rects = list(bar(numbers).iter("rect"))
    assert len(rects) == sum(number > 0 for number in numbers)
    at = 0.0
    for rect in rects:
        assert float(rect.get("x")) == pytest.approx(at, abs=0.1)
        assert float(rect.get("width")) > 0
        at += float(rect.get("width"))
    assert at == pytest.approx(1000, abs=0.1)


def test_a_part_of_one_in_a_million_can_be_seen():
    widths = [float(rect.get("width")) for rect in bar([1_000_000, 1]).iter("rect")]
    assert widths[1] >= 2


def test_a_bar_is_as_long_as_its_share_of_the_whole():
    (rect,) = bar([25], whole=100).iter("rect")
    assert float(rect.get("width")) == 250


def test_a_bar_says_all_its_numbers_to_those_who_do_not_see_it():
    assert bar([3, 0, 1200]).get("aria-label") == "whole: part 0 3, part 1 0, part 2 1,200"


def test_a_bar_of_nothing_is_empty():
    assert not list(bar([0, 0]).iter("rect"))


def test_a_histogram_tells_each_bin_and_what_it_was_last_time():
    chart = svg_charts.histogram([0, 1, 2], [3, 1], title="x", outlines=[Outline("last time", [1, 1], "then")])
    assert tooltips(chart) == ["0 – 1: 3 (75.0%); last time 50.0%", "1 – 2: 1 (25.0%); last time 50.0%"]


def test_bars_and_outlines_are_shares_so_that_data_sets_of_different_sizes_compare():
    chart = svg(svg_charts.histogram([0, 1, 2], [300, 100], title="x", outlines=[Outline("then", [3, 1], "then")]))
    tops = {rect.get("y") for rect in chart.iter("rect")}
    points = chart.find("polyline").get("points").split()
    assert tops == {point.split(",")[1] for point in points}


def test_only_thresholds_on_the_axis_are_drawn():
    chart = str(svg_charts.histogram([0, 10], [1], title="x", marks=[Mark("dark", 3), Mark("bright", 11)]))
    assert "dark" in chart
    assert "bright" not in chart


def test_bins_of_a_logarithmic_axis_are_of_one_width():
    rects = list(svg(svg_charts.histogram([8, 16, 32, 64], [1, 1, 1], title="x", log=True)).iter("rect"))
    assert len({rect.get("width")[:4] for rect in rects}) == 1


def test_an_empty_histogram_is_drawn_without_bars():
    chart = svg(svg_charts.histogram([0, 1, 2], [0, 0], title="x"))
    assert not list(chart.iter("rect"))


def test_text_from_outside_is_escaped_everywhere():
    hostile = "\"><script>alert('x')</script>"
    charts = [
        svg_charts.stacked([Part(hostile, 1, hostile)], title=hostile),
        svg_charts.gauge(1, 2, title=hostile, kind=hostile),
        svg_charts.histogram(
            [0, 2], [1], title=hostile, outlines=[Outline(hostile, [1], hostile)], marks=[Mark(hostile, 1)]
        ),
    ]
    for chart in charts:
        assert "<script" not in chart
        assert not list(svg(chart).iter("script"))


def test_a_gauge_never_leaves_its_cell():
    for value in (-1, 0, 0.5, 7):
        chart = svg(svg_charts.gauge(value, 1, title="x", limit=3))
        assert all(0 <= float(rect.get("width")) <= 100 for rect in chart.iter("rect"))
        assert float(chart.find("line").get("x1")) == 100


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_rise_within_the_axis(low, span):
    ticks = svg_charts.ticks(low, low + span)
    assert 1 <= len(ticks) <= 13
    assert ticks == sorted(set(ticks))
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in ticks)


def test_ticks_of_a_logarithmic_axis_are_round():
    assert svg_charts.ticks(8, 90, log=True) == [10, 20, 50]
    assert svg_charts.ticks(8, 300, log=True) == [10, 30, 100, 300]
    assert svg_charts.ticks(0.5, 60_000, log=True) == [1, 10, 100, 1000, 10_000]


def test_a_short_logarithmic_axis_has_its_ends_for_ticks():
    assert svg_charts.ticks(32, 38, log=True) == [32, 38]


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_a_share_is_written_as_nothing_or_all_only_if_it_is(part, whole):
    part, whole = sorted((part, whole))
    text = svg_charts.share(part, whole)
    assert (text == "100\u00a0%") == (part == whole)
    assert re.fullmatch(r"[<>]?\u00a0?\d+(\.\d)?\u00a0%", text)
    assert text != "0.0\u00a0%"
    assert svg_charts.share(0, whole) == "0\u00a0%"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (0.75312, "0.753"), (48, "48"), (129.6, "130"), (8192, "8,192")]
)
def test_numbers_are_written_in_three_digits_that_count(number, text):
    assert svg_charts.short(number) == text
