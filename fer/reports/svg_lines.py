"""Lines and intervals as inline SVG, by the rules of `svg_charts`."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fer.reports.svg_charts import Mark, coordinate, short, ticks

_WIDTH, _HEIGHT = 340, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 10, 16, 36
_MOST_DOTS = 40  # of a line; with more it is drawn without them


@dataclass(frozen=True)
class Line:
    """Points (x, y) in the order of x; `kind` is its CSS class, and `name` what its tooltips begin with."""

    name: str
    points: Sequence[tuple[float, float]]
    kind: str


@dataclass(frozen=True)
class Axes:
    """What is drawn along x and y, and from where to where."""

    x: str
    y: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]


def chart(lines: Sequence[Line], axes: Axes, *, title: str, marks: Sequence[Mark] = (), dots: bool = True) -> Markup:
    """Lines in one pair of axes; `marks` are upright lines at an x. Points outside of the axes are drawn at their edge.

    With `dots`, each point has its numbers in a tooltip.
    """
    (x_low, x_high), (y_low, y_high) = axes.x_range, axes.y_range
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT

    def x(value: float) -> float:
        return _LEFT + (right - _LEFT) * _share(value, x_low, x_high)

    def y(value: float) -> float:
        return bottom - (bottom - _TOP) * _share(value, y_low, y_high)

    ground = Markup("")
    for value in ticks(y_low, y_high, about=4):
        ground += Markup(
            '<line class="axis" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/><text x="{3}" y="{4}" text-anchor="end">{5}</text>'
        ).format(_LEFT, right, coordinate(y(value)), _LEFT - 5, coordinate(y(value) + 4), short(value))
    for value in ticks(x_low, x_high):
        at = min(max(x(value), _LEFT + 4), right - 4)
        ground += Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            coordinate(at), bottom + 14, short(value)
        )
    ground += Markup('<text x="{}" y="{}" text-anchor="middle">{}</text><text x="0" y="{}">{}</text>').format(
        coordinate((_LEFT + right) / 2), _HEIGHT - 6, axes.x, _TOP - 6, axes.y
    )
    for mark in marks:
        at = x(mark.value)
        anchor, shift = ("end", -4) if at > _WIDTH / 2 else ("start", 4)
        ground += Markup(
            '<line class="mark" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
            '<text class="mark" x="{3}" y="{4}" text-anchor="{5}">{6}</text>'
        ).format(coordinate(at), _TOP, bottom, coordinate(at + shift), bottom - 6, anchor, mark.name)
    drawn = Markup("")
    for line in lines:
        points = " ".join(f"{coordinate(x(at))},{coordinate(y(value))}" for at, value in line.points)
        drawn += Markup('<polyline class="series {}" points="{}"/>').format(line.kind, points)
        for at, value in line.points if dots and len(line.points) <= _MOST_DOTS else ():
            drawn += Markup('<circle class="dot {}" cx="{}" cy="{}" r="2.6"><title>{}</title></circle>').format(
                line.kind, coordinate(x(at)), coordinate(y(value)), f"{line.name}, {axes.x} {short(at)}: {short(value)}"
            )
    return Markup('<svg class="lines" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
        _WIDTH, _HEIGHT, title, ground, drawn
    )


def interval(value: float, ends: tuple[float, float], reach: float, *, title: str, kind: str = "") -> Markup:
    """A value with its interval on an axis from -`reach` to `reach`, with a line at 0, for a table's cell."""
    low, high, at = (100 * _share(end, -reach, reach) for end in (*ends, value))
    return Markup(
        '<svg class="interval {0}" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{1}">'
        '<title>{1}</title><line class="axis" x1="50" x2="50" y1="0" y2="10"/>'
        '<rect class="range" x="{2}" width="{3}" y="3.5" height="3"/>'
        '<rect class="value" x="{4}" width="2" y="0.5" height="9"/></svg>'
    ).format(kind, title, coordinate(low), coordinate(max(high - low, 0.5)), coordinate(min(max(at - 1, 0), 98)))


def _share(value: float, low: float, high: float) -> float:
    return min(max((value - low) / ((high - low) or 1), 0.0), 1.0)
