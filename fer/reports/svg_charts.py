"""Small charts as inline SVG: readable without a script, in print, and in a dark page.

Colours are CSS classes of the page that they stand in (`templates/style.css`), text takes its colour and font from
there, and every mark has its number in a tooltip. All text is escaped. The same numbers give the same bytes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

_WIDTH, _HEIGHT = 340, 158  # of a histogram, in units that are pixels on a phone: text keeps its size there
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 8, 20, 24


@dataclass(frozen=True)
class Part:
    """A part of a whole: `kind` is its CSS class."""

    name: str
    count: int
    kind: str


@dataclass(frozen=True)
class Mark:
    """A threshold on a histogram's axis, in its unit."""

    name: str
    value: float


@dataclass(frozen=True)
class Outline:
    """Another histogram over the same bins, drawn as a line; `kind` is its CSS class."""

    name: str
    counts: Sequence[float]
    kind: str


def stacked(parts: Sequence[Part], *, title: str, whole: int | None = None) -> Markup:
    """One horizontal bar of all parts, as wide as the page lets it; `whole` (the parts' sum) is its full length.

    A part that is there at all is seen: it is two thousandths of the bar at least.
    """
    length = max(whole or sum(part.count for part in parts), 1)
    least = 2.0
    rects, left = Markup(""), 0.0
    shown = [part for part in parts if part.count]
    widths = [max(1000 * part.count / length, least) for part in shown]
    excess = sum(widths) - 1000 * sum(part.count for part in shown) / length
    if widths:  # what the small ones were given comes from the largest
        widths[widths.index(max(widths))] -= excess
    for part, width in zip(shown, widths, strict=True):
        rects += Markup('<rect class="{}" x="{}" y="0" width="{}" height="20"><title>{}</title></rect>').format(
            part.kind, coordinate(left), coordinate(width), f"{part.name}: {part.count:,} ({share(part.count, length)})"
        )
        left += width
    return Markup(
        '<svg class="bar" viewBox="0 0 1000 20" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(_label(title, parts), rects)


def gauge(value: float, largest: float, *, title: str, kind: str = "train", limit: float | None = None) -> Markup:
    """A bar as long as `value` of `largest`, for a table's cell, with a tick at `limit`."""
    length = 100 * min(max(value / largest, 0), 1) if largest > 0 else 0
    tick = Markup("")
    if limit is not None and largest > 0:
        at = coordinate(100 * min(limit / largest, 1))
        tick = Markup('<line class="mark" x1="{0}" x2="{0}" y1="0" y2="10"/>').format(at)
    return Markup(
        '<svg class="gauge" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{0}">'
        '<title>{0}</title><rect class="ground" width="100" height="10"/>'
        '<rect class="{1}" width="{2}" height="10"/>{3}</svg>'
    ).format(title, kind, coordinate(length), tick)


def histogram(
    edges: Sequence[float],
    counts: Sequence[float],
    *,
    title: str,
    outlines: Sequence[Outline] = (),
    marks: Sequence[Mark] = (),
    log: bool = False,
) -> Markup:
    """A histogram of n counts over n + 1 rising edges; bars and `outlines` are each shares of their own sum.

    `marks` outside the edges are not drawn. `log`: the axis is logarithmic; the edges must be positive then.
    """
    shares = _shares(counts)
    other_shares = [(outline, _shares(outline.counts)) for outline in outlines]
    highest = max([*shares, *(value for _, values in other_shares for value in values), 1e-9])
    low, high = _scaled(edges[0], log), _scaled(edges[-1], log)
    span = (high - low) or 1
    bottom = _HEIGHT - _BOTTOM

    def x(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (_scaled(value, log) - low) / span

    def y(value: float) -> float:
        return bottom - (bottom - _TOP) * value / highest

    bars = Markup("")
    for number, value in enumerate(shares):
        left, right = x(edges[number]), x(edges[number + 1])
        tooltip = f"{short(edges[number])} – {short(edges[number + 1])}: {counts[number]:,} ({value:.1%})"
        tooltip += "".join(f"; {outline.name} {values[number]:.1%}" for outline, values in other_shares)
        if value or any(values[number] for _, values in other_shares):
            bars += Markup('<rect class="fill" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
                coordinate(left),
                coordinate(y(value)),
                coordinate(max(right - left - 0.6, 0.4)),
                coordinate(bottom - y(value)),
                tooltip,
            )
    lines = Markup("")
    for outline, values in other_shares:
        steps = " ".join(
            f"{coordinate(x(edge))},{coordinate(y(value))}"
            for number, value in enumerate(values)
            for edge in edges[number : number + 2]
        )
        lines += Markup('<polyline class="outline {}" points="{}"/>').format(outline.kind, steps)
    thresholds = Markup("")
    for mark in marks:
        if edges[0] <= mark.value <= edges[-1]:
            at = x(mark.value)
            anchor, shift = ("end", -3) if at > _WIDTH * 0.6 else ("start", 3)
            thresholds += Markup(
                '<line class="mark" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
                '<text class="mark" x="{3}" y="{4}" text-anchor="{5}">{6}</text>'
            ).format(coordinate(at), _TOP - 14, bottom, coordinate(at + shift), _TOP - 6, anchor, mark.name)
    axis = Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(_LEFT, _WIDTH - _RIGHT, bottom, bottom)
    for value in ticks(edges[0], edges[-1], log=log):
        at = min(max(x(value), 12), _WIDTH - 12)
        axis += Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            coordinate(at), _HEIGHT - 8, short(value)
        )
    return Markup('<svg class="histogram" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}{}</svg>').format(
        _WIDTH, _HEIGHT, title, bars, lines, axis, thresholds
    )


def ticks(low: float, high: float, *, log: bool = False, about: int = 5) -> list[float]:
    """Round values from `low` to `high`, about so many."""
    if log:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = (1,) if len(decades) > 4 else (1, 3) if len(decades) > 3 else (1, 2, 5)
        round_ones = [value for power in decades for step in steps if low <= (value := step * 10.0**power) <= high]
        return round_ones or [low, high]
    if high <= low:
        return [low]
    rough = (high - low) / about
    step = min((digit * 10 ** math.floor(math.log10(rough)) for digit in (1, 2, 5, 10)), key=lambda s: abs(s - rough))
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A number for an axis or a caption: three digits that count, thousands apart."""
    if value and abs(value) < 100 and value != round(value):
        return f"{value:.3g}"
    return f"{value:,.0f}"


def share(count: float, whole: float) -> str:
    """`count` of `whole` in percent; what is not nothing is never shown as 0 %, nor what is not all as 100 %."""
    if not whole or not count:
        return "0\u00a0%"
    percent = 100 * count / whole
    if percent < 0.1:
        return "<\u00a00.1\u00a0%"
    return ">\u00a099.9\u00a0%" if 99.9 < percent < 100 else f"{percent:.1f}\u00a0%" if percent < 100 else "100\u00a0%"


def _label(title: str, parts: Sequence[Part]) -> str:
    return f"{title}: " + ", ".join(f"{part.name} {part.count:,}" for part in parts)


def _shares(counts: Sequence[float]) -> list[float]:
    total = sum(counts) or 1
    return [count / total for count in counts]


def _scaled(value: float, log: bool) -> float:
    return math.log10(value) if log else value


def coordinate(value: float) -> str:
    """A coordinate: two decimals, none that say nothing."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
