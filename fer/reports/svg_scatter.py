"""Numbered points with intervals as inline SVG, by the rules of `svg_charts`: what models give and what they cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fer.reports.svg_charts import coordinate, short, ticks

_WIDTH, _HEIGHT = 340, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 12, 18, 36
_RADIUS = 7
_LEAST_TICKS = 3  # of powers of ten, their doubles and fives


@dataclass(frozen=True)
class Point:
    """A model: `x` > 0 what it costs, `y` what it gives, with its interval."""

    name: str
    x: float
    y: float
    interval: tuple[float, float]


def scatter(points: Sequence[Point], *, x: str, y: str, title: str) -> Markup:
    """The points over a logarithmic axis of costs, numbered from 1 on; names and figures are in tooltips."""
    x_low, x_high = min(point.x for point in points) / 1.5, max(point.x for point in points) * 1.5
    y_low, y_high = min(point.interval[0] for point in points), max(point.interval[1] for point in points)
    margin = max((y_high - y_low) * 0.08, 0.005)
    y_low, y_high = max(y_low - margin, 0), min(y_high + margin, 1)
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT

    def across(value: float) -> float:
        return _LEFT + (right - _LEFT) * math.log(value / x_low) / math.log(x_high / x_low)

    def up(value: float) -> float:
        return bottom - (bottom - _TOP) * (value - y_low) / (y_high - y_low)

    ground = Markup("")
    for value in ticks(y_low, y_high, about=4):
        ground += Markup(
            '<line class="axis" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/><text x="{3}" y="{4}" text-anchor="end">{5}</text>'
        ).format(_LEFT, right, coordinate(up(value)), _LEFT - 5, coordinate(up(value) + 4), short(value))
    costs = ticks(x_low, x_high, log=True)
    for value in costs if len(costs) >= _LEAST_TICKS else ticks(x_low, x_high):
        ground += Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            coordinate(min(max(across(value), _LEFT + 4), right - 8)), bottom + 14, short(value)
        )
    ground += Markup('<text x="{}" y="{}" text-anchor="middle">{}</text><text x="0" y="{}">{}</text>').format(
        coordinate((_LEFT + right) / 2), _HEIGHT - 6, x, _TOP - 8, y
    )
    drawn = Markup("")
    for number, point in enumerate(points, start=1):
        at, height = across(point.x), up(point.y)
        low, high = point.interval
        drawn += Markup(
            '<line class="whisker" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
            '<g><title>{3}</title><circle class="dot first" cx="{0}" cy="{4}" r="{5}"/>'
            '<text class="number" x="{0}" y="{6}" text-anchor="middle">{7}</text></g>'
        ).format(
            coordinate(at),
            coordinate(up(low)),
            coordinate(up(high)),
            f"{point.name}: {y} {point.y:.3f} ({low:.3f} to {high:.3f}), {x} {short(point.x)}",
            coordinate(height),
            _RADIUS,
            coordinate(height + 3.6),
            number,
        )
    return Markup('<svg class="lines" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
        _WIDTH, _HEIGHT, title, ground, drawn
    )
