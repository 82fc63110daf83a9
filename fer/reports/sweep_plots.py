"""The picture of a search: the trials in their order, and each setting against what it gave."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from fer.reports import plots
from fer.training import search

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 3
_STYLES = {  # state -> marker, colour, what it is called
    "complete": ("o", plots.BLUE, "complete"),
    "pruned": ("x", plots.ORANGE, "stopped early"),
}


def trials(trials_run: Sequence[search.Trial], space: Mapping[str, str], *, title: str) -> "Figure":
    """Validation accuracy by trial, with the best so far, and by each setting of the space."""
    from matplotlib.figure import Figure

    n_rows = -(-(len(space) + 1) // _COLUMNS)
    figure = Figure(figsize=(4.2 * _COLUMNS, 3.2 * n_rows), layout="constrained")
    figure.suptitle(title, fontsize=11)
    panels = figure.subplots(n_rows, _COLUMNS, squeeze=False, sharey=True).ravel()
    judged = sorted((trial for trial in trials_run if trial.value is not None), key=lambda trial: trial.number)
    _dots(panels[0], judged, [trial.number for trial in judged])
    complete = [trial for trial in judged if trial.state == "complete"]
    best = list(accumulate((trial.value or 0 for trial in complete), max))
    numbers = [trial.number for trial in complete]
    panels[0].step(numbers, best, where="post", color=plots.GREY, label="best so far")
    panels[0].set_xlabel("trial")
    panels[0].legend(frameon=False, fontsize=8)
    for axes, (path, text) in zip(panels[1:], space.items(), strict=False):
        dimension = search.parse(text)
        axes.set_xlabel(path)
        if isinstance(dimension, search.Choice):
            places = [dimension.values.index(trial.settings[path]) for trial in judged]
            axes.set_xticks(range(len(dimension.values)), [str(value) for value in dimension.values])
            axes.set_xlim(-0.5, len(dimension.values) - 0.5)
            _dots(axes, judged, places)
        else:
            _dots(axes, judged, [trial.settings[path] for trial in judged])
            if dimension.log and judged:  # an empty axis has no logarithms
                axes.set_xscale("log")
    for row in range(n_rows):
        panels[row * _COLUMNS].set_ylabel("validation accuracy")
    for axes in panels[: len(space) + 1]:
        plots.plain(axes)
    for axes in panels[len(space) + 1 :]:
        axes.set_visible(False)
    return figure


def _dots(axes: Any, judged: Sequence[search.Trial], places: Sequence[Any]) -> None:
    for state, (marker, colour, label) in _STYLES.items():
        indexes = [index for index, trial in enumerate(judged) if trial.state == state]
        values = [judged[index].value for index in indexes]
        axes.scatter([places[index] for index in indexes], values, marker=marker, color=colour, s=28, label=label)
