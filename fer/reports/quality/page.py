"""The quality report as one HTML page, made of what `quality.json` holds.

All text comes from outside – paths, labels, reasons – and is escaped; characters that can't be seen, or that turn the
direction of what follows, are spelt out.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
_MOST_KINDS = 20  # of files left aside
_OUTLINES = {"then": "accepted before", "new": "the new ones alone"}
_DRIFT_SIDES = {"all": "all images", "new": "the new ones"}
_BEGINS = {
    "dark": "99th percentile of grey below {}",
    "bright": "5th percentile of grey above {}",
    "blurry": "sharpness below {}",
    "low_information": "entropy below {} bits",
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
    says: str = ""


@dataclass(frozen=True)
class Gallery:
    """Examples of one issue, of `n_all`."""

    title: str
    note: str
    examples: tuple[Example, ...]
    n_all: int


def render(report: Mapping[str, Any], galleries: Sequence[Gallery] | None) -> str:
    """The page. Without `galleries` it holds no image, and says how to see some."""
    environment = pages.environment()
    environment.filters |= {
        "adding": adding,
        "begins": _begins,
        "chance": _chance,
        "counted": _counted,
        "kinds": _kinds,
        "n": lambda count: f"{count:,}",
        "path": _elided,
        "plain": lambda name: name.replace("_", " "),
        "pretty": lambda value: Markup.escape(json.dumps(value, indent=1)),  # ASCII, and its lines are to be seen
        "share": svg_charts.share,
        "short": svg_charts.short,
    }
    balance = report["balance"]
    sides = [name for name in ("accepted", *SPLITS) if name in balance]
    side_sums = {name: sum(balance[name].values()) for name in sides}
    page = environment.get_template("quality.html.j2").render(
        report,
        title=f"Data quality: {', '.join(report['named'])}",
        charts=svg_charts,
        galleries=galleries,
        drift=_drift(report["changes"].get("tests", [])),
        drift_sides={side: name for side, name in _DRIFT_SIDES.items() if _tested(report["changes"], side)},
        group_sizes=_group_sizes(report["duplicates"].get("groups_by_size", {})),
        has_thresholds=any(each["thresholds"] for each in report["properties"]),
        histogram=_histogram,
        kinds_of_duplicates=KINDS,
        levels=_flow(report),
        outlines={key: name for key, name in _OUTLINES.items() if any(key in each for each in report["properties"])},
        property_names={each["property"]: each["title"].lower() for each in report["properties"]},
        relabelled=_relabelled(report["changes"].get("relabelled", {})),
        shades_of=_shades,
        side_sums=side_sums,
        sides=sides,
        tiles=_tiles(report),
        verdicts=_VERDICTS,
        widest=max((n / (side_sums[name] or 1) for name in sides for n in balance[name].values()), default=1),
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
    """`1,200 .txt, 3 .md, and 40 of 25 other kinds`: the commonest kinds of files left aside."""
    ranked = sorted(ignored.items(), key=lambda each: (-each[1], each[0]))
    told = [Markup("{:,} {}").format(count, _elided(kind)) for kind, count in ranked[:_MOST_KINDS]]
    others = [count for _, count in ranked[_MOST_KINDS:]]
    if others:
        told.append(Markup("and {:,} of {:,} other kind{}").format(sum(others), len(others), "s" * (len(others) != 1)))
    return Markup(", ").join(told) or Markup("none")


def adding(total: Mapping[str, Any]) -> str:
    """`35,924 = 35,887 accepted + 37 refused by contract`."""
    parts = " + ".join(f"{count:,} {name}" for name, count in total["parts"].items())
    return f"{total['whole']:,} {'=' if total['holds'] else '≠'} {parts}"


def _tiles(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The numbers at the top: name, count (None: not known, as no stage came that far), a line below, a verdict."""
    account, leaks, labels = report["account"], report["leaks"], report["labels"]
    refused = sum(account["refused"].values())
    apart = sum(account["quarantined"].values()) if "quarantined" in account else None
    out = sum(account["excluded"].values()) if "excluded" in account else None
    clean = {name: sum(report["balance"].get(f"{name}_clean", {}).values()) for name in ("validation", "test")}
    by = f"{refused:,} by contract" + ("" if apart is None else f", {apart:,} by curation")
    rows: list[tuple[str, int | None, str, str]] = [
        ("found", account["found"], f"in {len(report['sources']):,} source{'s' * (len(report['sources']) != 1)}", ""),
        ("accepted", account["accepted"], f"{svg_charts.share(account['accepted'], account['found'])} of found", ""),
        ("quarantined", refused + (apart or 0), by, ""),
        ("excluded", out, f"{svg_charts.share(out or 0, account['accepted'])} of accepted", ""),
    ]
    for name in SPLITS:
        its = account["splits"][name] if "splits" in account else None
        rows.append((name, its, f"{clean[name]:,} de-duplicated" if clean.get(name) else "", ""))
    leaked, by_subject = leaks.get("left"), leaks.get("left_subjects")
    below = f"{leaks.get('n_before', 0):,} before" + ("" if by_subject is None else f"; {by_subject:,} left by subject")
    state = "" if leaked is None else "warn" if leaked or by_subject else "pass"
    rows.append(("leaked after repair", leaked, below, state))
    doubt = labels["in_doubt"] if labels.get("looked_for_errors") else None
    rows.append(("labels in doubt", doubt, f"{svg_charts.share(doubt or 0, account['accepted'])} of accepted", ""))
    return [
        {"name": name, "count": count, "below": below if count is not None else "not reached", "state": state}
        for name, count, below, state in rows
    ]


def _flow(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The levels of the flow from what was found to the splits, each with a bar and the key to it."""
    account = report["account"]
    refused = Part("refused by contract", sum(account["refused"].values()), "refused")
    first = [
        Part(_DIGEST.sub(r"\1…", each["source"]), each["found"], "found even" if number % 2 else "found")
        for number, each in enumerate(report["sources"])
    ]
    levels = [("found", first), ("accepted", [Part("accepted", account["accepted"], "accepted"), refused])]
    if "splits" in account:
        parts = [Part(name, account["splits"][name], name) for name in SPLITS]
        parts.append(Part(EXCLUDED, sum(account["excluded"].values()), "excluded"))
        parts.append(Part("quarantined by curation", sum(account["quarantined"].values()), "quarantined"))
        levels.append(("used for", [*parts, refused]))
    return [
        {"name": name, "parts": parts, "bar": svg_charts.stacked(parts, title=name, whole=account["found"])}
        for name, parts in levels
    ]


def _histogram(found: Mapping[str, Any]) -> Markup:
    first, last = _span(found)
    return svg_charts.histogram(
        found["edges"][first : last + 1],
        found["now"][first:last],
        title="{}: median {}, from {} to {}".format(
            found["title"], *(svg_charts.short(found["quantiles"][name]) for name in ("median", "least", "most"))
        ),
        outlines=[
            svg_charts.Outline(name, found[key][first:last], key)
            for key, name in _OUTLINES.items()
            if sum(found.get(key, ()))
        ],
        marks=[svg_charts.Mark(each["issue"].replace("_", " "), each["value"]) for each in found["thresholds"]],
        log=found["log"],
    )


def _span(found: Mapping[str, Any]) -> tuple[int, int]:
    """The bins to draw: all, or, where most of them are empty, those from the first to the last that is not."""
    n_bins = len(found["now"])
    held = [at for at in range(n_bins) if any(found[key][at] for key in ("now", *_OUTLINES) if key in found)]
    if len(held) > n_bins / 2 or not held:
        return 0, n_bins
    return max(held[0] - 1, 0), min(held[-1] + 2, n_bins)


def _drift(tests: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Property -> `all` or `new` -> its test, in the order of the tests."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for test in tests:
        found.setdefault(test["what"], {})[test["of"]] = test
    return found


def _tested(changes: Mapping[str, Any], side: str) -> bool:
    return any(test["of"] == side for test in changes.get("tests", ()))


def _relabelled(by_label: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str, int]]:
    """Label then, label now, images; the most first."""
    rows = [(then, now, count) for then, others in by_label.items() for now, count in others.items()]
    return sorted(rows, key=lambda row: (-row[2], row))


def _group_sizes(by_size: Mapping[str, int]) -> list[tuple[str, int]]:
    """Images in a group -> groups; the large ones together."""
    found = dict.fromkeys(("2", "3", "4", "5", "6–10", "11–20", "21 and more"), 0)
    for text, count in by_size.items():
        size = int(text)
        found[text if size <= 5 else "6–10" if size <= 10 else "11–20" if size <= 20 else "21 and more"] += count
    return [(name, count) for name, count in found.items() if count]


def _shades(rows: Sequence[Sequence[int]]) -> list[list[float]]:
    """How dark each cell of a heat map is, 0 to 0.7, by its share of the largest."""
    largest = max((max(row) for row in rows if row), default=0) or 1
    return [[round(0.7 * count / largest, 3) for count in row] for row in rows]


def _chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _begins(issue: Mapping[str, Any]) -> str:
    """Where the issue begins: `sharpness below 0.1`."""
    if issue["threshold"] is None:
        return "–"
    return _BEGINS.get(issue["issue"], "{} interquartile ranges off").format(svg_charts.short(issue["threshold"]))
