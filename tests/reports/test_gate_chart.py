"""The picture of the gates: differences around zero, shares from 0 to 1, each beside its bound."""

import re
from xml.etree import ElementTree

import pytest

from fer.evaluation.refs import Check, Measure
from fer.reports import gate_chart

_SVG = "{http://www.w3.org/2000/svg}"


def check(quantity="accuracy", value=0.6, *, name="accuracy at least 0.5", **given) -> Check:
    fields = {"demand": "at least", "bound": 0.5, "setting": "gate.min_accuracy", **given}
    measure = Measure(quantity=quantity, value=value, **fields)
    return Check(name=name, passed=measure.holds, detail="", measure=measure)


def difference(value: float, low: float, **given) -> Check:
    return check("difference in accuracy", value, interval=(low, None), judged="lower end", bound=-0.01, **given)


def drawn(*checks: Check) -> ElementTree.Element:
    return ElementTree.fromstring(gate_chart.of(checks).decode())  # noqa: S314 - the SVG was drawn by this process, not received


def texts(picture: ElementTree.Element) -> list[str]:
    return [text.text for text in picture.iter(f"{_SVG}text")]


def marks(picture: ElementTree.Element) -> list[tuple[float, float]]:
    """Of each row where its value is, and where its bound."""
    bounds = [float(line.get("x1")) for line in picture.iter(f"{_SVG}line") if line.get("stroke")]
    return list(zip([float(dot.get("cx")) for dot in picture.iter(f"{_SVG}circle")], bounds, strict=True))


def test_a_difference_is_right_of_its_margin_if_it_holds_and_its_interval_is_open_to_the_right():
    picture = drawn(difference(0.004, -0.003, name="no worse than the champion"), difference(-0.02, -0.03))
    (held, margin), (lost, same_margin) = marks(picture)
    assert lost < margin == same_margin < held
    assert [text for text in texts(picture) if "✓" in text] == ["✓ no worse than the champion"]
    assert "✗ accuracy at least 0.5" in texts(picture)
    ranges = [bar for bar in picture.iter(f"{_SVG}rect") if bar.get("height") == "8"]
    assert [float(bar.get("x")) + float(bar.get("width")) for bar in ranges] == [552, 552]
    assert "0" in texts(picture)


def test_shares_stand_below_the_differences_on_an_axis_of_their_own():
    picture = drawn(check(), difference(0.004, -0.003), check("churn", 0.2, demand="at most", bound=0.1))
    assert [text for text in texts(picture) if text in ("shares", "difference to the model compared with")] == [
        "difference to the model compared with",
        "shares",
    ]
    _, (accuracy, floor), (churn, most) = marks(picture)
    assert (floor, most) == (280, 62.4)
    assert accuracy > floor
    assert churn > most


def test_what_is_no_share_and_what_measured_nothing_is_left_out():
    known = [
        check(),
        check("latency", 2.0, unit="ratio"),
        check(value=float("nan")),
        Check(name="x", passed=True, detail=""),
    ]
    assert len(marks(drawn(*known))) == 1
    assert gate_chart.of(known[1:]) is None


@pytest.mark.parametrize("name", ["<b>&", 'a"b', "{0}"])
def test_a_name_from_outside_is_only_text_in_it(name):
    picture = gate_chart.of([check(name=name)])
    assert f"✓ {name}" in texts(ElementTree.fromstring(picture.decode()))  # noqa: S314 - the SVG was drawn by this process, not received
    assert not re.search(rb"<b>", picture)


def test_a_difference_of_nothing_against_no_margin_is_drawn():
    (at,) = marks(drawn(check("difference in accuracy", 0.0, bound=0.0)))
    assert at == (280, 280)
