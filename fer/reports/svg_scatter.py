"""Named points with intervals as inline SVG, by the rules of `svg_charts`: what models give against what they cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fer.reports.svg_charts import coordinate, short, ticks

_WIDTH, _HEIGHT = 340, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 12, 18, 36
_LINE = 12  # units between names that would lie on each other
_CHARACTER = 6.2  # units, about
_MOST_CHARACTERS = 24


@dataclass(frozen=True)
class Point:
    """A model: `x` > 0 what it costs, `y` what it gives, with its interval."""

    name: str
    x: float
    y: float
    interval: tuple[float, float]


def scatter(points: Sequence[Point], *, x: str, y: str, title: str) -> Markup:
    """The points over a logarithmic axis of costs; each has its numbers in a tooltip, and its name beside it."""
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
    for value in ticks(x_low, x_high, log=True):
        ground += Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            coordinate(min(max(across(value), _LEFT + 4), right - 8)), bottom + 14, short(value)
        )
    ground += Markup('<text x="{}" y="{}" text-anchor="middle">{}</text><text x="0" y="{}">{}</text>').format(
        coordinate((_LEFT + right) / 2), _HEIGHT - 6, x, _TOP - 8, y
    )
    drawn = Markup("")
    taken: list[tuple[float, float, float]] = []  # of names: left end, right end, height
    for point in sorted(points, key=lambda point: (-point.y, point.x, point.name)):
        at, height = across(point.x), up(point.y)
        low, high = point.interval
        drawn += Markup(
            '<line class="whisker" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
            '<circle class="dot first" cx="{0}" cy="{3}" r="4"><title>{4}</title></circle>'
        ).format(
            coordinate(at),
            coordinate(up(low)),
            coordinate(up(high)),
            coordinate(height),
            f"{point.name}: {y} {point.y:.3f} ({low:.3f} to {high:.3f}), {x} {short(point.x)}",
        )
        name = point.name if len(point.name) <= _MOST_CHARACTERS else f"{point.name[:_MOST_CHARACTERS]}…"
        drawn += _named(name, at, height, right, taken)
    return Markup('<svg class="lines" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
        _WIDTH, _HEIGHT, title, ground, drawn
    )


def _named(name: str, at: float, height: float, right: float, taken: list[tuple[float, float, float]]) -> Markup:
    """A name beside its point, on the side with room, below names that it would lie on."""
    width = _CHARACTER * len(name)
    is_right = at + 8 + width <= right
    left = at + 8 if is_right else at - 8 - width
    line = height + 4
    while any(left < end and begin < left + width and abs(line - other) < _LINE for begin, end, other in taken):
        line += _LINE
    taken.append((left, left + width, line))
    return Markup('<text class="name" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        coordinate(at + 8 if is_right else at - 8), coordinate(line), "start" if is_right else "end", name
    )
