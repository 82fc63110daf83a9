"""The quality report as one HTML page, made of what `quality.json` holds.

All text comes from outside – paths, labels, reasons – and is escaped; characters that can't be seen, or that turn the
direction of what follows, are spelt out.
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from data_contracts.curation import KINDS
from data_contracts.files import SPLITS
from data_contracts.split import EXCLUDED
from fer import plain_text
from fer.reports import pages, svg_charts
from fer.reports.svg_charts import Part

_LONGEST_PATH = 110
_DIGEST = re.compile("(sha256:[0-9a-f]{8})[0-9a-f]{56}")
_VERDICTS = {
    "pass": "✓ Fit for training",
    "warn": "! Fit for training, with warnings",
    "stop": "✗ Not fit for training",
}
_MOST_KINDS = 20  # of ignored files
_OUTLINES = {"then": "accepted before", "new": "the new ones alone"}
_DRIFT_SCOPES = {"all": "all images", "new": "the new ones"}
_THRESHOLDS = {
    "dark": "99th percentile of grey below {}",
    "bright": "5th percentile of grey above {}",
    "blurry": "sharpness below {}",
    "low_information": "entropy below {} bits",
    "no_face": "face score below {}",
}


@dataclass(frozen=True)
class Picture:
    """A face, as a data URI, with its label and its path."""

    uri: str
    label: str
    path: str


@dataclass(frozen=True)
class Example:
    """One picture, or some that are to be compared."""

    pictures: tuple[Picture, ...]
    caption: str = ""


@dataclass(frozen=True)
class Gallery:
    """Examples of one issue, of `n_all`."""

    title: str
    note: str
    examples: tuple[Example, ...]
    n_all: int


@functools.cache
def _environment() -> jinja2.Environment:
    """Kept with its templates: to compile them takes as long as to render ten pages."""
    environment = pages.environment()
    environment.filters |= {
        "equation": equation,
        "chance": _chance,
        "counted": _counted,
        "kinds": _kinds,
        "n": lambda count: f"{count:,}",
        "path": _elided,
        "plain": lambda name: name.replace("_", " "),
        "pretty": lambda value: Markup.escape(json.dumps(value, indent=1)),  # ASCII, and its lines are to be seen
        "share": svg_charts.share,
        "short": svg_charts.short,
        "threshold": _threshold,
    }
    return environment


def render(report: Mapping[str, Any], galleries: Sequence[Gallery] | None) -> str:
    """The page. Without `galleries` it holds no image, and says how to see some."""
    balance = report["balance"]
    columns = [name for name in ("accepted", *SPLITS) if name in balance]
    column_sums = {name: sum(balance[name].values()) for name in columns}
    page = (
        _environment()
        .get_template("quality.html.j2")
        .render(
            report,
            title=f"Data quality: {', '.join(report['given_sources'])}",
            charts=svg_charts,
            columns=columns,
            column_sums=column_sums,
            galleries=galleries,
            drift=_drift(report["changes"].get("tests", [])),
            drift_scopes={scope: name for scope, name in _DRIFT_SCOPES.items() if _tested(report["changes"], scope)},
            group_sizes=_group_sizes(report["duplicates"].get("groups_by_size", {})),
            has_thresholds=any(prop["thresholds"] for prop in report["properties"]),
            histogram=_histogram,
            kinds_of_duplicates=KINDS,
            levels=_flow(report),
            outlines={
                key: name for key, name in _OUTLINES.items() if any(key in prop for prop in report["properties"])
            },
            property_names={prop["property"]: prop["title"].lower() for prop in report["properties"]},
            relabelled=_relabelled(report["changes"].get("relabelled", {})),
            shades_of=_shades,
            tiles=_tiles(report),
            verdicts=_VERDICTS,
            widest=max((n / (column_sums[name] or 1) for name in columns for n in balance[name].values()), default=1),
        )
    )
    return plain_text.visible(page, keep="\n")  # what came by way of a chart or a filter


def _elided(path: str) -> Markup:
    """A path, its middle left out where it is too long, set apart from the text around it."""
    text = plain_text.visible(path)
    if len(text) > _LONGEST_PATH:
        half = _LONGEST_PATH // 2
        text = f"{text[:half]} … {text[-half:]}"
    return Markup('<bdi class="path">{}</bdi>').format(text)


def _counted(counts: Mapping[str, int]) -> str:
    """`12 blank, 3 dark`."""
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count) or "none"


def _kinds(ignored: Mapping[str, int]) -> Markup:
    """`1,200 .txt, 3 .md, and 40 of 25 other kinds`: the commonest kinds of ignored files."""
    ranked = sorted(ignored.items(), key=lambda item: (-item[1], item[0]))
    texts = [Markup("{:,} {}").format(count, _elided(kind)) for kind, count in ranked[:_MOST_KINDS]]
    others = [count for _, count in ranked[_MOST_KINDS:]]
    if others:
        texts.append(Markup("and {:,} of {:,} other kind{}").format(sum(others), len(others), "s" * (len(others) != 1)))
    return Markup(", ").join(texts) or Markup("none")


def equation(total: Mapping[str, Any]) -> str:
    """`35,924 = 35,887 accepted + 37 refused by contract`."""
    parts = " + ".join(f"{count:,} {name}" for name, count in total["parts"].items())
    return f"{total['whole']:,} {'=' if total['holds'] else '≠'} {parts}"


def _tiles(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The numbers at the top: name, count (None: not known, as no stage came that far), a line below, a verdict."""
    totals, leaks, labels = report["reconciliation"], report["leaks"], report["labels"]
    refused = sum(totals["refused"].values())
    quarantined = sum(totals["quarantined"].values()) if "quarantined" in totals else None
    excluded = sum(totals["excluded"].values()) if "excluded" in totals else None
    clean = {name: sum(report["balance"].get(f"{name}_clean", {}).values()) for name in ("validation", "test")}
    n_sources = len(report["sources"])
    by = f"{refused:,} by contract" + ("" if quarantined is None else f", {quarantined:,} by curation")
    rows: list[tuple[str, int | None, str, str]] = [
        (
            "found",
            totals["found"],
            f"in {n_sources:,} source{'s' * (n_sources != 1)}",
            "",
        ),
        (
            "accepted",
            totals["accepted"],
            f"{svg_charts.share(totals['accepted'], totals['found'])} of found",
            "",
        ),
        ("quarantined", refused + (quarantined or 0), by, ""),
        ("excluded", excluded, f"{svg_charts.share(excluded or 0, totals['accepted'])} of accepted", ""),
    ]
    for name in SPLITS:
        count = totals["splits"][name] if "splits" in totals else None
        rows.append((name, count, f"{clean[name]:,} de-duplicated" if clean.get(name) else "", ""))
    leaked, by_subject = leaks.get("left"), leaks.get("left_subjects")
    below = f"{leaks.get('n_before', 0):,} before" + ("" if by_subject is None else f"; {by_subject:,} left by subject")
    state = "" if leaked is None else "warn" if leaked or by_subject else "pass"
    rows.append(("leaked after repair", leaked, below, state))
    doubt = labels["in_doubt"] if labels.get("looked_for_errors") else None
    rows.append(("labels in doubt", doubt, f"{svg_charts.share(doubt or 0, totals['accepted'])} of accepted", ""))
    return [
        {"name": name, "count": count, "below": below if count is not None else "not reached", "state": state}
        for name, count, below, state in rows
    ]


def _flow(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The levels of the flow from what was found to the splits, each with a bar and the key to it."""
    totals = report["reconciliation"]
    refused = Part("refused by contract", sum(totals["refused"].values()), "refused")
    first = [
        Part(_DIGEST.sub(r"\1…", source["source"]), source["found"], "found even" if number % 2 else "found")
        for number, source in enumerate(report["sources"])
    ]
    levels = [("found", first), ("accepted", [Part("accepted", totals["accepted"], "accepted"), refused])]
    if "splits" in totals:
        parts = [Part(name, totals["splits"][name], name) for name in SPLITS]
        parts.append(Part(EXCLUDED, sum(totals["excluded"].values()), "excluded"))
        parts.append(Part("quarantined by curation", sum(totals["quarantined"].values()), "quarantined"))
        levels.append(("used for", [*parts, refused]))
    return [
        {"name": name, "parts": parts, "bar": svg_charts.stacked(parts, title=name, whole=totals["found"])}
        for name, parts in levels
    ]


def _histogram(figures: Mapping[str, Any]) -> Markup:
    first, last = _span(figures)
    return svg_charts.histogram(
        figures["edges"][first : last + 1],
        figures["now"][first:last],
        title="{}: median {}, from {} to {}".format(
            figures["title"], *(svg_charts.short(figures["quantiles"][name]) for name in ("median", "least", "most"))
        ),
        outlines=[
            svg_charts.Outline(name, figures[key][first:last], key)
            for key, name in _OUTLINES.items()
            if sum(figures.get(key, ()))
        ],
        marks=[svg_charts.Mark(mark["issue"].replace("_", " "), mark["value"]) for mark in figures["thresholds"]],
        log=figures["log"],
    )


def _span(figures: Mapping[str, Any]) -> tuple[int, int]:
    """The bins to draw: all, or, where most of them are empty, those from the first to the last that is not."""
    n_bins = len(figures["now"])
    filled = [at for at in range(n_bins) if any(figures[key][at] for key in ("now", *_OUTLINES) if key in figures)]
    if len(filled) > n_bins / 2 or not filled:
        return 0, n_bins
    return max(filled[0] - 1, 0), min(filled[-1] + 2, n_bins)


def _drift(tests: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Property -> `all` or `new` -> its test, in the order of the tests."""
    tests_of: dict[str, dict[str, Mapping[str, Any]]] = {}
    for test in tests:
        tests_of.setdefault(test["what"], {})[test["of"]] = test
    return tests_of


def _tested(changes: Mapping[str, Any], scope: str) -> bool:
    return any(test["of"] == scope for test in changes.get("tests", ()))


def _relabelled(by_label: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str, int]]:
    """Label then, label now, images; the most first."""
    rows = [(then, now, count) for then, others in by_label.items() for now, count in others.items()]
    return sorted(rows, key=lambda row: (-row[2], row))


def _group_sizes(by_size: Mapping[str, int]) -> list[tuple[str, int]]:
    """Images in a group -> groups; the large ones together."""
    sizes = dict.fromkeys(("2", "3", "4", "5", "6–10", "11–20", "21 and more"), 0)
    for text, count in by_size.items():
        size = int(text)
        sizes[text if size <= 5 else "6–10" if size <= 10 else "11–20" if size <= 20 else "21 and more"] += count
    return [(name, count) for name, count in sizes.items() if count]


def _shades(rows: Sequence[Sequence[int]]) -> list[list[float]]:
    """How dark each cell of a heat map is, 0 to 0.7, by its share of the largest."""
    largest = max((max(row) for row in rows if row), default=0) or 1
    return [[round(0.7 * count / largest, 3) for count in row] for row in rows]


def _chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _threshold(issue: Mapping[str, Any]) -> str:
    """From where on it is an issue: `sharpness below 0.1`."""
    if not issue["looked_for"]:
        return "not looked for"
    if issue["threshold"] is None:
        return "–"
    return _THRESHOLDS.get(issue["issue"], "{} interquartile ranges off").format(svg_charts.short(issue["threshold"]))
