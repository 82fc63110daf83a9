"""Pictures of a run. Figures are made without pyplot, whose state is global; the same numbers give the same bytes."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.models import saved_model
from fer.training.refs import ModelRef

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#1f5fa8", "#d9730d", "#b8bec6"


def png(figure: "Figure") -> bytes:
    """The figure as PNG; without the metadata that would change it from version to version."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120, metadata={"Software": None})
    return content.getvalue()


def confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str], *, title: str) -> "Figure":
    """A confusion matrix: shares of each row (the truth) in percent, and counts below them."""
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(5.5, 1.6 + 0.85 * len(classes))
    figure, axes = _figure(side, side, title)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(classes)):
        for column in range(len(classes)):
            axes.text(
                column,
                row,
                f"{shares[row, column]:.0%}\n{counts[row, column]:,}",
                ha="center",
                va="center",
                fontsize=9,
                color="white" if shares[row, column] > 0.6 else "black",
            )
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("truth")
    axes.set_xticks(np.arange(1, len(classes)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(classes)) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return figure


def learning_curves(folder: Path, model: ModelRef) -> bytes:
    """The learning curves of the model in `folder` as PNG, from its `history.json`."""
    history = json.loads((folder / saved_model.HISTORY).read_bytes())
    title = f"{model.model}: validation accuracy {model.validation_accuracy:.3f} at epoch {model.best_epoch}"
    return png(curves(history, best_epoch=model.best_epoch, title=title))


def curves_so_far(history: Mapping[str, Sequence[float]], model: str) -> bytes:
    """The learning curves of a model that is being trained, as PNG."""
    scores = list(zip(history["validation_accuracy"], (-loss for loss in history["validation_loss"]), strict=True))
    best_epoch = scores.index(max(scores)) + 1
    title = f"{model}, epoch {len(scores)}: best validation accuracy so far {max(scores)[0]:.3f}"
    return png(curves(history, best_epoch=best_epoch, title=title))


def curves(history: Mapping[str, Sequence[float]], *, best_epoch: int, title: str) -> "Figure":
    """Accuracy and loss by epoch, train and validation; the best epoch is marked."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 4), layout="constrained")
    figure.suptitle(title, fontsize=11)
    epochs = range(1, len(history["loss"]) + 1)
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        axes.plot(epochs, history[name], color=ORANGE, marker=".", label="train (augmented)")
        axes.plot(epochs, history[f"validation_{name}"], color=BLUE, marker=".", label="validation")
        axes.axvline(best_epoch, color=GREY, linestyle="--", zorder=0, label=f"best epoch ({best_epoch})")
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        plain(axes)
    axes.legend(frameon=False, fontsize=9)
    return figure


def class_balance(before: Mapping[str, int], after: Mapping[str, int], *, title: str) -> "Figure":
    """Images per class before and after balancing, as bars with their counts. Classes are those of `after`."""
    classes = list(after)
    figure, axes = _figure(7.5, 1.4 + 0.62 * len(classes), title)
    places = np.arange(len(classes))
    for offset, counts, colour, label in ((-0.2, before, GREY, "before"), (0.2, after, BLUE, "after")):
        values = [counts.get(name, 0) for name in classes]
        bars = axes.barh(places + offset, values, height=0.38, color=colour, label=label)
        axes.bar_label(bars, [f"{value:,}" for value in values], padding=3, fontsize=9)
    axes.set_yticks(places, classes)
    axes.invert_yaxis()
    axes.set_xlabel("train images")
    axes.margins(x=0.12)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    plain(axes)
    return figure


def _figure(width: float, height: float, title: str) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=11)
    return figure, figure.add_subplot()


def plain(axes: Any) -> None:
    """A light grid, and no frame above and on the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
