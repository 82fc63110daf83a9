"""The report of a run as one HTML page, made of its document alone (`fer.reports.run.document`)."""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from fer import plain_text
from fer.reports import pages, pictures, svg_charts, svg_lines
from fer.reports.run import corruption_charts
from fer.reports.svg_lines import Axes, Line

STATES = {"released": ("pass", "✓ Released"), "kept": ("warn", "= Kept"), "refused": ("stop", "✗ Refused")}
_DIGEST_CHARS = 12
_MOST_SLICES, _MOST_MISTAKES = 25, 10  # rows
_MOST_SHADE = 0.6  # of a heat map's cell: text on it stays readable, in light and dark


def render(document: Mapping[str, Any]) -> str:
    """The page."""
    state, word = STATES[document["release"]["status"]]
    page = (
        _environment()
        .get_template("run.html.j2")
        .render(
            document,
            title=f"{document['release']['name']} version {document['release']['version']}",
            state=state,
            word=word,
            charts=svg_charts,
            lines=svg_lines,
            sections=_sections(document),
            learning_charts=list(
                pictures.learning_charts(document["learning"]["history"], document["learning"]["best_epoch"]).items()
            ),
            reliability=_reliability(document["metrics"]),
            severities=[one["severity"] for one in document["robustness"]["corruptions"][0]["severities"]]
            if document["robustness"]
            else [],
            corruption_charts=corruption_charts.charts(document["robustness"]),
            reach=_reach(document["comparison"]),
            slices_reach=_reach_of(one["difference_interval"] for one in (document["slices"] or {}).get("slices", ())),
            shade=_MOST_SHADE,
            most_slices=_MOST_SLICES,
            most_mistakes=_MOST_MISTAKES,
        )
    )
    return plain_text.visible(page, keep="\n")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = pages.environment()
    environment.filters |= {
        "n": lambda count: f"{count:,}",
        "dec": _decimal,
        "points": _points,
        "percent": lambda share: f"{100 * share:.0f}\u00a0%",
        "short": svg_charts.short,
        "digest": lambda text: Markup('<code title="{0}">{1}</code>').format(text, text[:_DIGEST_CHARS]),
        "pretty": lambda value: Markup.escape(json.dumps(value, indent=1)),
        "plain": lambda name: name.replace("_", " "),
        "moment": lambda text: f"{text[:16].replace('T', ' ')} UTC",
        "shown": _shown,
        "chance": lambda p: "< 0.001" if p < 0.001 else f"{p:.3f}",
    }
    environment.tests |= {"beside_zero": lambda ends: ends[0] > 0 or ends[1] < 0}
    return environment


def _sections(document: Mapping[str, Any]) -> dict[str, str]:
    """Anchor -> heading of the page's sections, in their order."""
    return {
        "gates": "Gates",
        "classes": "Class by class",
        "confusion": "Confusion matrix",
        "learning": "Learning curves",
        "seeds": "Luck of the seed",
        "calibration": "Calibration",
        "slices": "Parts of the test",
        "robustness": "Corruptions",
        "explanations": "Where it looks",
        "data": "Data",
        "costs": "Costs",
        "made-of": "How it was made",
    }


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _points(difference: float) -> str:
    """A difference with its sign, and a minus that is one."""
    return f"{difference:+.3f}".replace("-", "\u2212")


def _shown(measure: Mapping[str, Any], value: float | None) -> str:
    """A value of a gate's measure, or its bound, in its unit; a difference with its sign."""
    if value is None:
        return "not known"
    match measure["unit"]:
        case "share":
            is_difference = measure["bound"] < 0 or measure["quantity"].startswith("difference")
            return f"{value:+.4f}".replace("-", "\u2212") if is_difference else f"{value:.4f}"
        case "ratio":
            return f"{value:.2f} times"
        case unit:
            return f"{svg_charts.short(value)} {unit}"


def _reliability(metrics: Mapping[str, Any]) -> Markup | None:
    """What share is right of images of which the model is so sure; before it was calibrated too, if it was."""
    probabilities, calibration = metrics.get("probabilities"), metrics.get("calibration")
    if not probabilities:
        return None
    lines = [Line("as sure as right", [(0, 0), (1, 1)], "ideal")]
    if calibration:
        lines.append(Line("uncalibrated", _points_of(calibration["before"]["reliability"]), "second"))
    lines.append(Line("images as sure as this", _points_of(probabilities["reliability"]), "first"))
    return svg_lines.chart(
        lines,
        Axes("confidence", "share that is right", (0, 1), (0, 1)),
        title="Reliability: the share of images that are right against the model's confidence in them",
    )


def _points_of(bins: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    return [(each["confidence"], each["accuracy"]) for each in bins]


def _reach(comparison: Mapping[str, Any] | None) -> float:
    """How far from 0 the intervals of a comparison go."""
    if comparison is None:
        return 1.0
    rows: Sequence[Mapping[str, Any]] = [*comparison["classes"], comparison["macro"]]
    return _reach_of(row[score]["interval"] for row in rows for score in ("precision", "recall", "f1"))


def _reach_of(intervals: Iterable[Sequence[float]]) -> float:
    return max([*(abs(end) for ends in intervals for end in ends), 0.01])
