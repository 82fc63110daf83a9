"""What the gates measured, as a picture: each value with its interval beside the bound that it is held against."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from fer.evaluation.refs import Check, Measure
from fer.reports import pictures
from fer.reports.svg_charts import coordinate, ticks

LEGEND = (
    "blue: the interval, open where the gate asks for its lower end alone; dot: as measured; red: the bound, and what "
    "lies beyond it"
)
_WIDTH, _LEFT, _RIGHT = 560, 8, 552
_HEAD, _ROW, _AXIS = 26, 42, 34  # pixels high
_PADDING = 0.08  # of what is drawn, on either side of it
_INK, _RANGE, _DOT, _BOUND = "#1b1f24", "#9cc7ea", "#1f6fb5", "#be2427"


class _Scale(NamedTuple):
    low: float
    high: float

    def x(self, value: float) -> float:
        """Where a value is drawn; what lies outside is drawn at the edge."""
        share = (value - self.low) / (self.high - self.low)
        return _LEFT + (_RIGHT - _LEFT) * min(max(share, 0.0), 1.0)


def of(checks: Sequence[Check]) -> bytes | None:
    """The checks of differences to released models, and below those of shares, as SVG; None where there is neither."""
    measured = [
        (check, check.measure)
        for check in checks
        if check.measure is not None and check.measure.value is not None and check.measure.unit == "share"
    ]
    differences = [pair for pair in measured if pair[1].quantity.startswith("difference")]
    shares = [pair for pair in measured if pair not in differences]
    drawn, height = Markup(""), 0.0
    for title, pairs, scale in (
        ("difference to the model compared with", differences, _around_zero([measure for _, measure in differences])),
        ("shares", shares, _Scale(0.0, 1.0)),
    ):
        if pairs:
            drawn += _block(title, pairs, scale, height)
            height += _HEAD + _ROW * len(pairs) + _AXIS
    if not drawn:
        return None
    return pictures.on_ground(Markup('<svg viewBox="0 0 {} {}">{}</svg>').format(_WIDTH, int(height), drawn))


def _around_zero(measures: Sequence[Measure]) -> _Scale:
    """From the least to the largest of all that is drawn of these differences, 0 among it."""
    ends = [end for measure in measures for end in measure.interval or () if end is not None]
    drawn = [0.0, *ends, *(measure.bound for measure in measures), *(measure.value or 0.0 for measure in measures)]
    padding = _PADDING * (max(drawn) - min(drawn)) or 0.01
    return _Scale(min(drawn) - padding, max(drawn) + padding)


def _block(title: str, pairs: Sequence[tuple[Check, Measure]], scale: _Scale, top: float) -> Markup:
    drawn = Markup('<text x="{}" y="{}" style="fill:{};font-weight:600">{}</text>').format(_LEFT, top + 16, _INK, title)
    bottom = top + _HEAD + _ROW * len(pairs)
    for value in ticks(scale.low, scale.high):
        at = coordinate(scale.x(value))
        text = f"{value:+g}".replace("-", "\u2212") if scale.low < 0 and value else f"{value:g}"
        drawn += Markup(
            '<line class="axis" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
            '<text x="{0}" y="{3}" text-anchor="middle">{4}</text>'
        ).format(at, top + _HEAD, bottom, bottom + 15, text)
    for place, (check, measure) in enumerate(pairs):
        drawn += _row(check, measure, scale, top + _HEAD + _ROW * place)
    return drawn


def _row(check: Check, measure: Measure, scale: _Scale, top: float) -> Markup:
    colour = _INK if check.passed else _BOUND
    drawn = Markup('<text x="{}" y="{}" style="fill:{}">{} {}</text>').format(
        _LEFT, top + 14, colour, check.mark, check.name
    )
    bound = scale.x(measure.bound)
    start, end = (_LEFT, bound) if measure.demand == "at least" else (bound, _RIGHT)
    drawn += _bar(start, end, top + 20, 18, f"{_BOUND}1f")
    if measure.interval is not None:
        low, high = measure.interval
        start, end = _LEFT if low is None else scale.x(low), _RIGHT if high is None else scale.x(high)
        drawn += _bar(start, end, top + 25, 8, _RANGE)
    drawn += Markup(
        '<line x1="{0}" x2="{0}" y1="{1}" y2="{2}" stroke="{3}" stroke-width="2"/>'
        '<circle cx="{4}" cy="{5}" r="4.5" fill="{6}"/>'
    ).format(coordinate(bound), top + 20, top + 38, _BOUND, coordinate(scale.x(measure.value or 0.0)), top + 29, _DOT)
    return drawn


def _bar(start: float, end: float, top: float, height: float, colour: str) -> Markup:
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" fill="{}"/>').format(
        coordinate(start), top, coordinate(max(end - start, 1.0)), height, colour
    )
