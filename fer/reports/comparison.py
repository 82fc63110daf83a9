"""A comparison of several models as a table, for the terminal and as Markdown."""

from collections.abc import Sequence

from markupsafe import Markup

from fer import plain_text
from fer.evaluation.comparing import candidates
from fer.evaluation.comparing.candidates import Row
from fer.evaluation.comparing.differences import Differences
from fer.evaluation.refs import Scores
from fer.reports import markdown_tables, svg_scatter, version_differences
from fer.reports.svg_scatter import Point


def table(rows: Sequence[Row]) -> list[dict[str, str | int | float]]:
    """The rows as they are shown: column -> value."""
    best = candidates.best_of(rows).candidate
    return [
        {
            "candidate": f"{row.candidate} (best on validation)" if row.candidate == best else row.candidate,
            "model": row.model.model,
            "parameters": row.model.n_parameters,
            "epochs": f"{row.model.best_epoch} of {row.model.epochs_run}",
            "minutes": f"{row.model.train_seconds / 60:.1f}",
            "validation accuracy": f"{row.model.validation_accuracy:.3f}",
            "test accuracy": _with_interval(row.evaluation.accuracy, row.evaluation.accuracy_interval),
            "test macro-F1": _with_interval(row.evaluation.macro_f1, row.evaluation.macro_f1_interval),
            "de-duplicated": _accuracy(row.evaluation.deduplicated),
            "flip TTA": _accuracy(row.evaluation.flip_tta),
            "against the first": "" if row.differences is None else _against(row.differences),
            "changed answers": "" if row.differences is None else _changed(row.differences),
            "MB": f"{row.costs.size_bytes / 1e6:.2f}",
            "ms an image": _timed(row),
            "peak MB": version_differences.NOT_MEASURED
            if row.costs.peak_memory_mb is None
            else f"{row.costs.peak_memory_mb:,.0f}",
            "kWh": version_differences.NOT_MEASURED if row.costs.energy_kwh is None else f"{row.costs.energy_kwh:.4f}",
        }
        for row in rows
    ]


def markdown(rows: Sequence[Row]) -> str:
    """The table as Markdown."""
    note = (
        "Intervals are at 95 %; against the first: accuracy, with McNemar's exact test, and macro-F1. Changed answers: "
        "right where the first is wrong, and wrong where it is right. Time for an image is this machine's, the models "
        "taking turns; memory and energy are those of the training. The best is that of the highest validation "
        "accuracy; the test split does not choose."
    )
    return f"{markdown_tables.table(table(rows))}\n{note}\n"


def by_class(rows: Sequence[Row]) -> str:
    """Each candidate beside the first, figure by figure, as Markdown; empty with one candidate."""
    first = plain_text.in_markdown(rows[0].candidate)
    return "\n".join(
        f"## {plain_text.in_markdown(row.candidate)} (B) beside {first} (A)\n\n"
        f"{markdown_tables.table(version_differences.answers(row.differences))}"
        for row in rows
        if row.differences is not None
    )


def pictures(rows: Sequence[Row]) -> Markup:
    """Accuracy, with its interval, against the size of the models and against the time for an image."""
    charts = {
        "accuracy and size": _scatter(rows, "megabytes", [row.costs.size_bytes / 1e6 for row in rows]),
    }
    if all(row.costs.latency is not None for row in rows):
        times = [row.costs.latency.image_ms for row in rows if row.costs.latency is not None]
        charts["accuracy and latency"] = _scatter(rows, "milliseconds for an image", times)
    names = ", ".join(f"{number} {plain_text.visible(row.candidate)}" for number, row in enumerate(rows, start=1))
    figures = Markup("").join(
        Markup("<figure><h3>{}</h3>{}<figcaption>{}; intervals at 95 %</figcaption></figure>").format(
            title, chart, names
        )
        for title, chart in charts.items()
    )
    return Markup('<div class="charts">{}</div>').format(figures)


def _scatter(rows: Sequence[Row], unit: str, costs: Sequence[float]) -> Markup:
    points = [
        Point(row.candidate, cost, row.evaluation.accuracy, row.evaluation.accuracy_interval)
        for row, cost in zip(rows, costs, strict=True)
    ]
    return svg_scatter.scatter(points, x=unit, y="test accuracy", title=f"Test accuracy of each model by {unit}")


def _against(found: Differences) -> str:
    p_value = version_differences.chance(found.p_value)
    return f"{version_differences.signed(found.accuracy)}, {p_value}; F1 {version_differences.signed(found.macro_f1)}"


def _changed(found: Differences) -> str:
    return f"{found.n_gained:,} better, {found.n_lost:,} worse"


def _timed(row: Row) -> str:
    latency = row.costs.latency
    return version_differences.NOT_MEASURED if latency is None else f"{latency.image_ms:.2f}"


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _accuracy(scores: Scores | None) -> str:
    return "" if scores is None else f"{scores.accuracy:.3f}"
