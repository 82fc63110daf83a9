"""Stage 8: how the accepted images differ from those that were accepted last.

Out: `drift.json`.

Two comparisons are made: of all images now with those last accepted, and of the new ones alone, where a bad batch shows
undiluted. New are those that came since the anchor, older accepted data that stays until enough have come together: so
nothing creeps in by a few per day. A difference is drift if it is large (the effect reaches its threshold) and no
chance (its p-value, after Holm's correction for the number of tests, is at most `alpha`). Either alone would cry wolf:
at 36 thousand images a Kolmogorov-Smirnov distance of 0.02 is no chance, and means nothing; 60 images of the same kind
are 0.15 off.

The tests take both samples as independent. All images now and those last accepted share most of theirs, which lets them
differ less by chance than the tests suppose: p is then too large, never too small.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from data_contracts import files, properties
from fer.curation.refs import DriftRef, ValidationRef
from fer.engine import stage
from fer.engine.records import Record
from fer.engine.workspace import Workspace
from fer.progress import Progress

_FEWEST_EXPECTED = 5
_COLUMNS = ("pixel_sha256", "label", *properties.EDGES)


class DriftConfig(Record):
    """From which effect on a difference is drift, and what is done about it."""

    action: Literal["warn", "stop"] = Field(default="warn", description="what drift does to the run, after the report")
    min_property_distance: float = Field(
        default=0.1, gt=0, le=1,
        description="Kolmogorov-Smirnov distance of a property's two distributions; a shift by a quarter of a standard "
        "deviation comes to 0.1",
    )  # fmt: skip
    min_class_distance: float = Field(
        default=0.1, gt=0, le=1,
        description="total variation distance: the share of images that would have to change class",
    )  # fmt: skip
    alpha: float = Field(
        default=0.001, gt=0, lt=1,
        description="how often chance alone may look like drift, over all tests of a run: once in three years of days",
    )  # fmt: skip
    min_new: int = Field(default=50, ge=2, description="new images from which on they are compared by themselves")
    max_gone_share: float = Field(
        default=0.1, ge=0, le=1, description="of the images last accepted; if more are gone, that is drift as well"
    )
    max_relabelled_share: float = Field(
        default=0.05, ge=0, le=1, description="of the images last accepted; if more have another label, that is drift"
    )


@dataclass(frozen=True)
class Change:
    """Rows of `now` that are new, by their pixels; rows of `then` that are gone; rows of `now` with another label."""

    new: np.ndarray
    gone: np.ndarray
    relabelled: np.ndarray


@stage.stage("drift")
def drift(
    out: Path,
    validation: ValidationRef,
    baseline: ValidationRef | None,
    anchor: ValidationRef | None,
    config: DriftConfig,
    *,
    workspace: Workspace,
    progress: Progress,
) -> DriftRef:
    """Write `drift.json`: the comparison of `validation`'s accepted images with those of `baseline`, and of those that
    are new since `anchor` (`baseline` if it is None) with its.
    """
    now = pq.read_table(workspace.folder(validation) / files.ACCEPTED, columns=list(_COLUMNS))
    if baseline is None:
        tables = {"now": now}
        classes, histograms = _classes(tables), _histograms(tables)
        _write(out, {"n_baseline": None, "n_now": len(now), "classes": classes, "histograms": histograms})
        progress(1, 1, "nothing to compare with")
        return DriftRef(n_baseline=None, n_new=len(now), n_gone=0, n_relabelled=0, failures=(), warnings=())
    then = pq.read_table(workspace.folder(baseline) / files.ACCEPTED, columns=list(_COLUMNS))
    change = changes(now, then)
    n_new, n_gone, n_relabelled = (int(rows.sum()) for rows in (change.new, change.gone, change.relabelled))
    progress(1, 2, "new and gone images counted")
    new = now.filter(pa.array(change.new))
    since = then
    if anchor is not None and baseline.digest != anchor.digest:
        since = pq.read_table(workspace.folder(anchor) / files.ACCEPTED, columns=list(_COLUMNS))
    gathered = now.filter(pa.array(changes(now, since).new))
    samples = {"all": (now, then)}
    if len(gathered) >= config.min_new:
        samples["new"] = (gathered, since)
    tests = compare(samples, config)
    lines = [_line(test) for test in tests if test["drifted"]]
    for count, share, change_name in (
        (n_gone, config.max_gone_share, "gone"),
        (n_relabelled, config.max_relabelled_share, "relabelled"),
    ):
        if count > share * len(then):
            lines.append(f"{count:,} of {len(then):,} images are {change_name} (drift above {100 * share:.3g} %)")
    stops = config.action == "stop"
    ref = DriftRef(
        n_baseline=len(then),
        n_new=n_new,
        n_gone=n_gone,
        n_relabelled=n_relabelled,
        is_anchored="new" in samples,
        failures=tuple(lines) if stops else (),
        warnings=() if stops else tuple(lines),
    )
    tables = {"then": then, "now": now, "new": new, "gone": then.filter(pa.array(change.gone))}
    _write(
        out,
        ref.model_dump(mode="json", exclude={"path", "digest"})
        | {
            "n_now": len(now),
            "n_gathered": len(gathered),
            "config": config.model_dump(),
            "tests": tests,
            "classes": _classes(tables),
            "relabelled": _relabelled(now.filter(pa.array(change.relabelled)), then),
            "histograms": _histograms(tables),
        },
    )
    progress(2, 2, "distributions compared")
    return ref


def changes(now: pa.Table, then: pa.Table) -> Change:
    """What is new, gone and labelled otherwise, by pixel_sha256 and label."""

    def known(one: pa.Table, other: pa.Table) -> np.ndarray:
        return pc.is_in(one["pixel_sha256"], value_set=other["pixel_sha256"].combine_chunks()).to_numpy()

    def labelled(table: pa.Table) -> pa.Array:
        return pc.binary_join_element_wise(table["pixel_sha256"], table["label"], "\0").combine_chunks()

    seen = known(now, then)
    same = pc.is_in(labelled(now), value_set=labelled(then)).to_numpy(zero_copy_only=False)
    return Change(new=~seen, gone=~known(then, now), relabelled=seen & ~same)


def compare(samples: Mapping[str, tuple[pa.Table, pa.Table]], config: DriftConfig) -> list[dict[str, Any]]:
    """A row per test of each of the `samples`, (images, those that they are compared with): effect, threshold, p, p
    after Holm, verdict.
    """
    tests = [
        {"of": name} | test
        for name, (table, then) in samples.items()
        if len(table) and len(then)
        for test in (
            class_test(table, then, config),
            *(property_test(name, table, then, config) for name in properties.EDGES),
        )
    ]
    return judged(tests, config)


def judged(tests: list[dict[str, Any]], config: DriftConfig) -> list[dict[str, Any]]:
    """The tests with their p after Holm, and whether each is drift."""
    for test, p in zip(tests, _holm([test["p"] for test in tests]), strict=True):
        test["p_corrected"] = p
        test["drifted"] = test["effect"] >= test["threshold"] and p <= config.alpha
    return tests


def property_test(name: str, now: pa.Table, then: pa.Table, config: DriftConfig) -> dict[str, Any]:
    """The Kolmogorov-Smirnov test of the column `name` of two tables: effect, threshold, p, medians."""
    from scipy import stats

    a, b = (table[name].drop_null().to_numpy().astype(np.float64) for table in (now, then))
    test: dict[str, Any] = {"what": name, "measure": "Kolmogorov-Smirnov", "n": len(a), "n_baseline": len(b)}
    test |= {"effect": 0.0, "threshold": config.min_property_distance, "p": 1.0}
    if not len(a) or not len(b):
        return test
    ks = stats.ks_2samp(a, b, method="asymp")
    spread = float(b.std())
    return test | {
        "effect": _rounded(ks.statistic),
        "p": _rounded(ks.pvalue),
        "median": _rounded(np.median(a)),
        "median_baseline": _rounded(np.median(b)),
        # by how much a grey level, bit, ... has to be moved on average, in standard deviations of the baseline
        "shift_in_std": _rounded(stats.wasserstein_distance(a, b) / spread) if spread else None,
    }


def class_test(now: pa.Table, then: pa.Table, config: DriftConfig) -> dict[str, Any]:
    """The test of the shares of the column `label` of two tables: effect, threshold, p."""
    from scipy import stats

    counts = np.array(list(zip(*_counts({"now": now, "then": then}).values(), strict=True)))  # (2, classes)
    shares = counts / counts.sum(axis=1, keepdims=True)
    pooled = _pooled(counts)
    chi2 = stats.chi2_contingency(pooled, correction=False) if pooled.shape[1] > 1 else None
    statistic = 0.0 if chi2 is None else float(chi2.statistic)
    return {
        "what": "class shares",
        "measure": "total variation",
        "n": len(now),
        "n_baseline": len(then),
        "effect": _rounded(abs(shares[0] - shares[1]).sum() / 2),
        "threshold": config.min_class_distance,
        "p": 1.0 if chi2 is None else _rounded(chi2.pvalue),
        "cramers_v": _rounded(math.sqrt(statistic / counts.sum())),
    }


def _pooled(counts: np.ndarray) -> np.ndarray:
    """(2, classes) counts with the rare classes as one, so that at least 5 are expected in each cell (Cochran 1954):
    with fewer, the chi-squared distribution finds drift in noise.
    """
    expected = counts.sum(axis=0) * counts.sum(axis=1).min() / counts.sum()
    in_order = counts[:, np.argsort(expected, kind="stable")]
    sums = np.sort(expected, kind="stable").cumsum()
    n_rare = int((np.sort(expected, kind="stable") < _FEWEST_EXPECTED).sum())
    if n_rare and sums[n_rare - 1] < _FEWEST_EXPECTED:
        n_rare += 1  # still too few: the next class joins them
    if n_rare < 2:
        return counts
    return np.column_stack([in_order[:, :n_rare].sum(axis=1), in_order[:, n_rare:]])


def _holm(ps: list[float]) -> list[float]:
    """The p-values as corrected by Holm (1979): that any is below alpha by chance has at most probability alpha."""
    corrected = [1.0] * len(ps)
    highest = 0.0
    for rank, at in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[at]))
        corrected[at] = _rounded(highest)
    return corrected


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _line(test: Mapping[str, Any]) -> str:
    whose = "all images" if test["of"] == "all" else f"the {test['n']:,} new images"
    medians = f"median {test['median_baseline']:.4g} → {test['median']:.4g}, " if "median" in test else ""
    return (
        f"{test['what']} of {whose}: {medians}{test['measure']} distance {test['effect']:.2f} "
        f"(drift from {test['threshold']:.2f} on)"
    )


def _counts(tables: Mapping[str, pa.Table]) -> dict[str, list[int]]:
    """Class -> images in each of the tables, for every class that is in one."""
    counts = [
        {row["values"]: row["counts"] for row in table["label"].value_counts().to_pylist()} for table in tables.values()
    ]
    return {label: [by_label.get(label, 0) for by_label in counts] for label in sorted(set().union(*counts))}


def _classes(tables: Mapping[str, pa.Table]) -> dict[str, dict[str, int]]:
    return {label: dict(zip(tables, counts, strict=True)) for label, counts in _counts(tables).items()}


def _relabelled(relabelled: pa.Table, then: pa.Table) -> dict[str, dict[str, int]]:
    """Label then -> label now -> images. Of several labels then, the first by name."""
    first = then.group_by("pixel_sha256").aggregate([("label", "min")])
    at = pc.index_in(relabelled["pixel_sha256"], value_set=first["pixel_sha256"].combine_chunks())
    pairs = pa.table({"then": first["label_min"].take(at), "now": relabelled["label"]})
    by_label: dict[str, dict[str, int]] = {}
    counted = pairs.group_by(["then", "now"]).aggregate([([], "count_all")])
    for row in counted.sort_by([("then", "ascending"), ("now", "ascending")]).to_pylist():
        by_label.setdefault(row["then"], {})[row["now"]] = row["count_all"]
    return by_label


def _histograms(tables: Mapping[str, pa.Table]) -> dict[str, dict[str, list[float]]]:
    """Property -> `edges` of its bins, and the images of each table in them; the outer bins hold all beyond."""
    histograms: dict[str, dict[str, list[float]]] = {}
    for name, edges in properties.EDGES.items():
        histograms[name] = {"edges": edges.tolist()}
        for which, table in tables.items():
            values = table[name].drop_null().to_numpy()
            bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
            histograms[name][which] = np.bincount(bins, minlength=len(edges) - 1).tolist()
    return histograms


def _write(out: Path, report: Mapping[str, Any]) -> None:
    (out / files.DRIFT_REPORT).write_text(json.dumps(report, indent=1))
