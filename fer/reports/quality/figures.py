"""The figures of the quality report: what came in, where it went, and what is known of it.

Counts are of the rows in the stages' Parquet files; a stage's own summary (its JSON) is passed on as it stands.
Only the columns that are needed are read: a million images take 0.4 GB.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import curation, files, properties
from data_contracts.split import EXCLUDED

Figures = dict[str, Any]  # a part of `quality.json`, or a stage's own summary
Folders = Mapping[str, Path]  # stage -> its output; those that did not run are not there

EXAMPLES = 5
NO_REASON = "no reason given"


@dataclass(frozen=True)
class Property:
    """A column of the manifest that is drawn as a histogram."""

    column: str
    title: str
    unit: str
    log: bool = False

    @property
    def edges(self) -> np.ndarray:
        """The n + 1 rising edges of its n bins, float64."""
        return properties.EDGES[self.column]


PROPERTIES = (
    Property("mean", "Brightness", "mean grey level"),
    Property("std", "Contrast", "standard deviation of the grey levels"),
    Property("p99", "Lightest parts", "99th percentile of the grey levels"),
    Property("p05", "Darkest parts", "5th percentile of the grey levels"),
    Property("entropy", "Information", "entropy of the grey levels, bits"),
    Property("sharpness", "Sharpness", "edges, whatever the contrast"),
    Property("width", "Width", "pixels", log=True),
    Property("height", "Height", "pixels", log=True),
)
# Issue, its threshold in curation's settings, the property that it is a threshold of, and where it is an issue.
THRESHOLDS = (
    ("dark", "dark_p99", "p99", "below"),
    ("bright", "bright_p05", "p05", "above"),
    ("blurry", "blurry_sharpness", "sharpness", "below"),
    ("low_information", "low_information_bits", "entropy", "below"),
)

# Issues that are only looked for on demand -> the setting of inspection.
SEARCHES = {"no_face": "face_scores", curation.LABEL_ERROR: "label_errors"}


def document(folder: Path | None, name: str) -> Figures:
    """A stage's own JSON; empty if the stage did not run."""
    if folder is None or not (folder / name).is_file():
        return {}
    return dict(json.loads((folder / name).read_bytes()))


def sources(folders: Folders) -> list[Figures]:
    """Images found, accepted and refused by their contract, by source."""
    counted = {
        "found": counts(folders["index"] / files.MANIFEST, "source"),
        "accepted": counts(folders["validate"] / files.ACCEPTED, "source"),
        "refused": counts(folders["validate"] / files.QUARANTINE, "source"),
    }
    names = sorted(set().union(*counted.values()))
    return [{"source": name} | {what: by.get(name, 0) for what, by in counted.items()} for name in names]


def refused(folders: Folders) -> list[Figures]:
    """Why images are not accepted: reason, count, and paths for example; the most frequent reason first."""
    table = pq.read_table(folders["validate"] / files.QUARANTINE, columns=["reason", "source", "path"])
    reasons = pc.fill_null(table["reason"], NO_REASON)
    rows = []
    for reason, count in _tallied(reasons).items():
        paths = table.filter(pc.equal(reasons, reason))["path"]
        examples = pc.take(paths, pc.select_k_unstable(paths, k=min(EXAMPLES, count), sort_keys=[("", "ascending")]))
        rows.append({"reason": reason, "count": count, "examples": sorted(examples.to_pylist())})
    return rows


def reconciliation(folders: Folders) -> Figures:
    """How many of the files found are where now, and the sums that must hold.

    Each of `sums` is an `equation` whose `parts` must add up to `whole`; `holds` says whether they do.
    """
    n_found = pq.read_metadata(folders["index"] / files.MANIFEST).num_rows
    n_accepted = pq.read_metadata(folders["validate"] / files.ACCEPTED).num_rows
    by_contract = counts(folders["validate"] / files.QUARANTINE, "reason")
    result: Figures = {"found": n_found, "accepted": n_accepted, "refused": by_contract}
    sums = [
        {
            "equation": "found = accepted + refused by contract",
            "whole": n_found,
            "parts": {"accepted": n_accepted, "refused by contract": sum(by_contract.values())},
        }
    ]
    if "curate" in folders:
        actions = pq.read_table(folders["curate"] / files.CURATION, columns=["action", "reason"])
        for action, key in (("quarantine", "quarantined"), ("drop", "dropped")):
            rows = actions.filter(pc.equal(actions["action"], action))
            result[key] = _tallied(pc.fill_null(rows["reason"], NO_REASON))
    if "split" in folders:
        splits = pq.read_table(folders["split"] / files.SPLIT, columns=["split", "reason"])
        by_split = _tallied(splits["split"])
        excluded = splits.filter(pc.equal(splits["split"], EXCLUDED))
        result["splits"] = {name: by_split.get(name, 0) for name in files.SPLITS}
        result["excluded"] = _tallied(pc.fill_null(excluded["reason"], NO_REASON))
        sums.append(
            {
                "equation": "accepted = train + validation + test + excluded + quarantined by curation",
                "whole": n_accepted,
                "parts": result["splits"]
                | {EXCLUDED: sum(result["excluded"].values()), "quarantined": sum(result["quarantined"].values())},
            }
        )
    for total in sums:
        total["holds"] = total["whole"] == sum(total["parts"].values())
    return result | {"sums": sums, "adds_up": all(total["holds"] for total in sums)}


def leaks(folders: Folders, summary: Figures, curation_summary: Figures) -> Figures:
    """Images with a duplicate in a split closer to training, as the split stage counted them; `left`: after the repair.

    `before` has a row for each official split, with its images that have a duplicate (`duplicates`; of these by the
    closest kind `identical`, `near`, `shifted`, `mirrored`) or their `subject` in train; `n_before` counts as `left`
    does: of validation and test, those with a duplicate in any split closer to training. Where no image has
    a subject, there are no figures of them. `unofficial` says why `before` is empty.
    `summary` is the split stage's.
    """
    if not summary:
        return {}
    has_subjects = _has_subjects(folders["validate"] / files.ACCEPTED)
    matrix = summary["matrix"]
    before = [
        row | ({"subject": matrix[row["split"]]["train"]["subject"]} if has_subjects else {})
        for row in summary["leaks"]
    ]
    return {name: summary[name] for name in ("origin", "history", "n_kept", "matrix", "largest_split_group")} | {
        "before": before,
        "n_before": summary.get("n_leaked_before", sum(row["duplicates"] for row in before)),
        "left": summary["n_leaked"],
        "left_subjects": summary.get("n_leaked_subjects", 0) if has_subjects else None,
        "unofficial": None if before else _unofficial(summary, curation_summary),
    }


def _has_subjects(path: Path) -> bool:
    subjects = pq.read_table(path, columns=["subject"])["subject"]
    return subjects.null_count < len(subjects)


def _unofficial(summary: Figures, curation_summary: Figures) -> str:
    """Why there are no official splits to have leaks."""
    if not any(source.get("with_split") for source in curation_summary.get("sources", {}).values()):
        return "the source has no splits"
    if not summary.get("config", {}).get("use_official", True):
        return "the source's splits were not used (split.use_official is false)"
    return "the source has no split beside train"


def changes(summary: Figures) -> Figures:
    """The difference to the images accepted before, of drift's `summary`; the tests that find drift first."""
    if not summary:
        return {}
    names = ("n_baseline", "n_now", "n_new", "n_gone", "n_relabelled", "n_gathered", "classes", "relabelled")
    tests = sorted(
        summary.get("tests", []), key=lambda test: (not test["drifted"], -test["effect"] / test["threshold"])
    )
    action = summary.get("config", {}).get("action", "warn")
    return {name: summary[name] for name in names if name in summary} | {"action": action, "tests": tests}


def balance(folders: Folders, classes: Sequence[str]) -> Figures:
    """Images by class: accepted, in each split, excluded, and in the splits' de-duplicated versions."""
    columns = {"accepted": counts(folders["validate"] / files.ACCEPTED, "label")}
    if "split" in folders:
        table = pq.read_table(folders["split"] / files.SPLIT, columns=["split", "label", "is_clean"])
        for name in (*files.SPLITS, EXCLUDED):
            rows = table.filter(pc.equal(table["split"], name))
            columns[name] = _tallied(rows["label"])
            if name not in ("train", EXCLUDED):
                columns[f"{name}_clean"] = _tallied(rows.filter(rows["is_clean"])["label"])
    return {name: {label: by_label.get(label, 0) for label in classes} for name, by_label in columns.items()}


def issues(folders: Folders, summary: Mapping[str, Any], inspect_config: Mapping[str, Any]) -> list[Figures]:
    """Each issue with its policy, its threshold, how many images have it, and by action; whether it was looked for.

    `summary` is curation's, `inspect_config` the settings of inspection.
    """
    table = pq.read_table(folders["curate"] / files.CURATION, columns=["issues", "action"])
    lists = table["issues"].combine_chunks()
    names, rows = pc.list_flatten(lists), pc.list_parent_indices(lists)
    actions = pc.take(table["action"], rows)
    doubted = label_errors(folders)["action"]
    result = []
    for issue in (*curation.ISSUES, curation.LABEL_ERROR):
        thresholds = (value for name, value in summary["thresholds"].items() if name.startswith(f"{issue}_"))
        tally = _tallied(doubted if issue == curation.LABEL_ERROR else actions.filter(pc.equal(names, issue)))
        result.append(
            {
                "issue": issue,
                "policy": summary["policies"][issue],
                "threshold": next(thresholds, None),
                "looked_for": inspect_config.get(SEARCHES.get(issue, ""), True),
                "images": sum(tally.values()),
                "actions": {action: tally.get(action, 0) for action in ("keep", "drop", "quarantine")},
            }
        )
    return result


def duplicates(folders: Folders, summary: Mapping[str, Any]) -> Figures:
    """Groups of near-duplicates, identical images among them, and redundant copies; `summary` is curation's."""
    groups = pq.read_table(folders["inspect"] / files.FINDINGS, columns=["duplicate_group"])["duplicate_group"]
    sizes = pc.value_counts(groups).field("counts").to_numpy(zero_copy_only=False)
    several = sizes[sizes > 1]
    by_size = dict(zip(*(values.tolist() for values in np.unique(several, return_counts=True)), strict=True))
    kinds = counts(folders["inspect"] / files.PAIRS, "kind")
    return {
        "redundant_copies": summary["n_redundant_copies"],
        "pairs": sum(kinds.values()),
        "pairs_by_kind": {kind: kinds[kind] for kind in curation.KINDS if kind in kinds},
        "groups": len(several),
        "groups_not_identical": summary["n_near_groups"],
        "images_in_groups": int(several.sum()),
        "groups_by_size": {str(size): count for size, count in by_size.items()},
    }


def label_errors(folders: Folders) -> pa.Table:
    """The labels in doubt (data_contracts.curation.LABEL_ERRORS); none where they were not looked for."""
    path = folders["split"] / files.LABEL_ERRORS if "split" in folders else None
    if path is None or not path.is_file():
        return curation.LABEL_ERRORS.empty_table()
    rows = pq.read_table(path)
    return rows.filter(rows["is_label_error"])


def labels(classes: Sequence[str], summary: Mapping[str, Any], label_summary: Figures) -> Figures:
    """Conflicting labels, and labels in doubt as a matrix: rows the given label, columns the suggested one.

    `summary` is curation's, `label_summary` that of the search for label errors; empty where there was none.
    """
    suggested = label_summary.get("suggested_labels", {})
    by_split = label_summary.get("by_split", {})
    matrix = [[suggested.get(given, {}).get(other, 0) for other in classes] for given in classes]
    ranked = sorted(
        ((-count, given, other) for given, others in suggested.items() for other, count in others.items() if count)
    )
    return {
        "conflicting_groups": summary["n_conflicting_groups"],
        "conflicting_images": summary["issues"]["conflicting_labels"]["n_images"],
        "in_doubt": sum(by_split.values()),
        "in_doubt_by_split": by_split,
        "matrix": matrix,
        "commonest": [{"given": given, "suggested": other, "images": -count} for count, given, other in ranked[:3]],
    }


def histograms(folders: Folders, thresholds: Mapping[str, float], drift: Figures) -> list[Figures]:
    """The distribution of each of PROPERTIES over the accepted images, with curation's `thresholds` on it.

    Where drift has counted, its bins are used, and those of the images last accepted (`then`) and of the `new` ones.
    """
    result = []
    for prop in PROPERTIES:
        column = pq.read_table(folders["validate"] / files.ACCEPTED, columns=[prop.column])[prop.column]
        values = column.drop_null().to_numpy().astype(float)
        figures: Figures = {"property": prop.column, "title": prop.title, "unit": prop.unit, "log": prop.log}
        figures |= {"images": len(values), "quantiles": _quantiles(values)}
        binned = drift.get("histograms", {}).get(prop.column) or {
            "edges": prop.edges.tolist(),
            "now": _binned(values, prop.edges),
        }
        figures |= {key: binned[key] for key in ("edges", "now", "then") if key in binned}
        if any(test["of"] == "new" for test in drift.get("tests", [])):  # too few to compare are too few to draw
            figures["new"] = binned["new"]
        figures["thresholds"] = [
            {"issue": issue, "value": thresholds[name], "side": side}
            for issue, name, column_name, side in THRESHOLDS
            if column_name == prop.column and name in thresholds
        ]
        result.append(figures)
    return result


def _quantiles(values: np.ndarray) -> dict[str, float]:
    """The least, 5th percentile, median, 95th percentile and most; empty without images."""
    if not len(values):
        return {}
    names = ("least", "p05", "median", "p95", "most")
    quantiles = np.percentile(values, [0, 5, 50, 95, 100])
    return {name: float(f"{quantile:.6g}") for name, quantile in zip(names, quantiles, strict=True)}


def _binned(values: np.ndarray, edges: np.ndarray) -> list[int]:
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return [int(count) for count in np.bincount(bins, minlength=len(edges) - 1)]


def counts(path: Path, column: str) -> dict[str, int]:
    """The values of a column of text -> rows, the most frequent first."""
    return _tallied(pc.fill_null(pq.read_table(path, columns=[column])[column], NO_REASON))


def _tallied(column: pa.ChunkedArray) -> dict[str, int]:
    """Values -> rows, the most frequent first, then by name."""
    pairs = [(row["values"], row["counts"]) for row in pc.value_counts(column).to_pylist()]
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))
