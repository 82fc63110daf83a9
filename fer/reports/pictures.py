"""Charts as files of their own, where no page gives them colours: SVG on a light ground, drawn without Matplotlib.

The same numbers give the same bytes; all text is escaped.
"""

import re
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from fer.reports import svg_lines
from fer.reports.svg_charts import Mark, coordinate
from fer.reports.svg_lines import Axes, Line

LEGEND = "solid: validation; dashed: train (augmented)"  # of the curves
_INK, _MUTED = "#1b1f24", "#59636e"
_COLOURS = ("#b8bec6", "#1f6fb5", "#63b0e3", "#12876b")
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#59636e}.axis{stroke:#d5dae0}.series{fill:none;stroke-width:2}"
    ".series.first{stroke:#1f6fb5}.dot.first{fill:#1f6fb5}.series.second{stroke:#c4451c;stroke-dasharray:6 3}"
    ".dot.second{fill:#c4451c}line.mark{stroke:#be2427;stroke-dasharray:4 3}text.mark{fill:#be2427}"
)
_WIDTH, _ROW, _BAR = 560, 34, 13  # pixels
_VIEW_BOX = re.compile(r'^<svg [^>]*viewBox="0 0 (\d+) (\d+)"[^>]*>')


def learning(history: Mapping[str, Sequence[float]], best_epoch: int) -> dict[str, bytes]:
    """Accuracy and loss by epoch, of train and validation, each an SVG."""
    return {name: on_ground(chart) for name, chart in learning_charts(history, best_epoch).items()}


def best_epoch_of(history: Mapping[str, Sequence[float]]) -> int:
    """The first epoch with the highest accuracy on validation, and among those the lowest loss."""
    scores = list(zip(history["validation_accuracy"], (-loss for loss in history["validation_loss"]), strict=True))
    return scores.index(max(scores)) + 1


def learning_charts(history: Mapping[str, Sequence[float]], best_epoch: int) -> dict[str, Markup]:
    """The same as parts of a page, by their titles."""
    n_epochs = len(history["loss"])
    epochs = range(1, n_epochs + 1)
    charts = {}
    for name, highest in (("accuracy", 1.0), ("loss", None)):
        kinds = {"train (augmented)": (history[name], "second"), "validation": (history[f"validation_{name}"], "first")}
        top = highest or max(max(values) for values, _ in kinds.values())
        charts[name.capitalize()] = svg_lines.chart(
            [Line(label, list(zip(epochs, values, strict=True)), kind) for label, (values, kind) in kinds.items()],
            Axes("epoch", name, (1, n_epochs), (0, top)),
            title=f"{name} by epoch, of train and validation; the best epoch is {best_epoch}",
            marks=[Mark(f"best epoch ({best_epoch})", best_epoch)],
        )
    return charts


def class_bars(series: Mapping[str, Mapping[str, int]], *, title: str) -> bytes:
    """Images by class, a bar of each series with its count, as SVG. Classes are those of the last series."""
    classes = list(list(series.values())[-1])
    longest = max((len(name) for name in classes), default=0)
    left, top = 16 + 7 * longest, 52
    row = max(_ROW, 8 + (_BAR + 2) * len(series))
    most = max((count for counts in series.values() for count in counts.values()), default=0) or 1
    drawn = Markup('<text x="8" y="18" style="fill:{};font-weight:600">{}</text>').format(_INK, title)
    at = 8.0
    for colour, name in zip(_COLOURS, series, strict=False):
        drawn += Markup('<rect x="{}" y="30" width="10" height="10" fill="{}"/><text x="{}" y="39">{}</text>').format(
            coordinate(at), colour, coordinate(at + 15), name
        )
        at += 31 + 7 * len(name)
    for place, label in enumerate(classes):
        y = top + row * place
        drawn += Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(left - 8, y + row // 2, label)
        for nth, (colour, counts) in enumerate(zip(_COLOURS, series.values(), strict=False)):
            count = counts.get(label, 0)
            width = (_WIDTH - left - 70) * count / most
            drawn += Markup(
                '<rect x="{}" y="{}" width="{}" height="{}" fill="{}"/><text x="{}" y="{}" style="fill:{}">{}</text>'
            ).format(
                left,
                y + 2 + nth * (_BAR + 2),
                coordinate(width),
                _BAR,
                colour,
                coordinate(left + width + 6),
                y + 13 + nth * (_BAR + 2),
                _MUTED,
                f"{count:,}",
            )
    height = top + row * len(classes) + 8
    return on_ground(Markup('<svg viewBox="0 0 {} {}">{}</svg>').format(_WIDTH, height, drawn))


def on_ground(chart: Markup) -> bytes:
    """A chart of a page as a file of its own."""
    opening = _VIEW_BOX.match(chart)
    if opening is None:
        raise ValueError("A chart must be an svg element with a viewBox.")
    width, height = int(opening[1]), int(opening[2])
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 -8 {width + 16} {height + 16}" width="{width + 16}" '
        f'height="{height + 16}"><style>{_STYLE}</style>'
        f'<rect x="-8" y="-8" width="{width + 16}" height="{height + 16}" fill="#fff"/>'
    )
    return (head + str(chart)[opening.end() :]).encode()
