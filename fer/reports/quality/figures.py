"""The account of the data, for the quality report: what came in, where it went, and what is known of it.

Counts are of the rows in the stages' Parquet files; what a stage says itself (its JSON) is passed on as it stands.
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

Found = dict[str, Any]  # a part of `quality.json`
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


def document(folder: Path | None, name: str) -> Found:
    """A stage's own JSON; empty if the stage did not run."""
    if folder is None or not (folder / name).is_file():
        return {}
    return dict(json.loads((folder / name).read_bytes()))


def sources(folders: Folders) -> list[Found]:
    """Images found, accepted and refused by their contract, by source."""
    counted = {
        "found": counts(folders["index"] / files.MANIFEST, "source"),
        "accepted": counts(folders["validate"] / files.ACCEPTED, "source"),
        "refused": counts(folders["validate"] / files.QUARANTINE, "source"),
    }
    names = sorted(set().union(*counted.values()))
    return [{"source": name} | {what: by.get(name, 0) for what, by in counted.items()} for name in names]


def refused(folders: Folders) -> list[Found]:
    """Why images are not accepted: reason, count, and paths for example; the most frequent reason first."""
    table = pq.read_table(folders["validate"] / files.QUARANTINE, columns=["reason", "source", "path"])
    reasons = pc.fill_null(table["reason"], NO_REASON)
    found = []
    for reason, count in _tallied(reasons).items():
        paths = table.filter(pc.equal(reasons, reason))["path"]
        examples = pc.take(paths, pc.select_k_unstable(paths, k=min(EXAMPLES, count), sort_keys=[("", "ascending")]))
        found.append({"reason": reason, "count": count, "examples": sorted(examples.to_pylist())})
    return found


def whereabouts(folders: Folders) -> Found:
    """Where every file found is now, and the sums that must hold.

    `sums`: each says what its `parts` are and that they must add up to `whole`.
    """
    n_found = pq.read_metadata(folders["index"] / files.MANIFEST).num_rows
    n_accepted = pq.read_metadata(folders["validate"] / files.ACCEPTED).num_rows
    by_contract = counts(folders["validate"] / files.QUARANTINE, "reason")
    made: Found = {"found": n_found, "accepted": n_accepted, "refused": by_contract}
    sums = [
        {
            "says": "found = accepted + refused by contract",
            "whole": n_found,
            "parts": {"accepted": n_accepted, "refused by contract": sum(by_contract.values())},
        }
    ]
    if "curate" in folders:
        actions = pq.read_table(folders["curate"] / files.CURATION, columns=["action", "reason"])
        for action, key in (("quarantine", "quarantined"), ("drop", "dropped")):
            taken = actions.filter(pc.equal(actions["action"], action))
            made[key] = _tallied(pc.fill_null(taken["reason"], NO_REASON))
    if "split" in folders:
        sides = pq.read_table(folders["split"] / files.SPLIT, columns=["split", "reason"])
        by_split = _tallied(sides["split"])
        out = sides.filter(pc.equal(sides["split"], EXCLUDED))
        made["splits"] = {name: by_split.get(name, 0) for name in files.SPLITS}
        made["excluded"] = _tallied(pc.fill_null(out["reason"], NO_REASON))
        sums.append(
            {
                "says": "accepted = train + validation + test + excluded + quarantined by curation",
                "whole": n_accepted,
                "parts": made["splits"]
                | {EXCLUDED: sum(made["excluded"].values()), "quarantined": sum(made["quarantined"].values())},
            }
        )
    for each in sums:
        each["holds"] = each["whole"] == sum(each["parts"].values())
    return made | {"sums": sums, "adds_up": all(each["holds"] for each in sums)}


def leaks(folders: Folders, said: Found, curated: Found) -> Found:
    """Images with a duplicate in a split closer to training, as the split stage counted them; `left`: after the repair.

    `before` has a row for each official split, with its images that have a duplicate (`duplicates`; of these by the
    closest kind `identical`, `near`, `shifted`, `mirrored`) or their `subject` in train; `n_before` counts as `left`
    does: of validation and test, those with a duplicate in any split closer to training. Where no image has
    a subject, nothing is said of them. `unofficial` says why `before` is empty. `curated` by curation.
    """
    if not said:
        return {}
    has_subjects = _has_subjects(folders["validate"] / files.ACCEPTED)
    matrix = said["matrix"]
    before = [
        each | ({"subject": matrix[each["split"]]["train"]["subject"]} if has_subjects else {})
        for each in said["leaks"]
    ]
    return {name: said[name] for name in ("origin", "history", "n_kept", "matrix", "largest_split_group")} | {
        "before": before,
        "n_before": said.get("n_leaked_before", sum(each["duplicates"] for each in before)),
        "left": said["n_leaked"],
        "left_subjects": said.get("n_leaked_subjects", 0) if has_subjects else None,
        "unofficial": None if before else _unofficial(said, curated),
    }


def _has_subjects(path: Path) -> bool:
    subjects = pq.read_table(path, columns=["subject"])["subject"]
    return subjects.null_count < len(subjects)


def _unofficial(said: Found, curated: Found) -> str:
    """Why there are no official splits to have leaks."""
    if not any(each.get("with_split") for each in curated.get("sources", {}).values()):
        return "the source has no splits"
    if not said.get("config", {}).get("use_official", True):
        return "the source's splits were not used (split.use_official is false)"
    return "the source has no split beside train"


def changes(said: Found) -> Found:
    """What drift says of the difference to the images accepted before; drift's tests with what it found first."""
    if not said:
        return {}
    names = ("n_baseline", "n_now", "n_new", "n_gone", "n_relabelled", "n_gathered", "classes", "relabelled")
    tests = sorted(said.get("tests", []), key=lambda each: (not each["drifted"], -each["effect"] / each["threshold"]))
    action = said.get("config", {}).get("action", "warn")
    return {name: said[name] for name in names if name in said} | {"action": action, "tests": tests}


def balance(folders: Folders, classes: Sequence[str]) -> Found:
    """Images by class: accepted, in each split, excluded, and in the splits' de-duplicated versions."""
    columns = {"accepted": counts(folders["validate"] / files.ACCEPTED, "label")}
    if "split" in folders:
        table = pq.read_table(folders["split"] / files.SPLIT, columns=["split", "label", "is_clean"])
        for name in (*files.SPLITS, EXCLUDED):
            side = table.filter(pc.equal(table["split"], name))
            columns[name] = _tallied(side["label"])
            if name not in ("train", EXCLUDED):
                columns[f"{name}_clean"] = _tallied(side.filter(side["is_clean"])["label"])
    return {name: {each: by.get(each, 0) for each in classes} for name, by in columns.items()}


def issues(folders: Folders, said: Mapping[str, Any]) -> list[Found]:
    """Each issue with its policy, where it begins, how many images have it, and what became of these."""
    table = pq.read_table(folders["curate"] / files.CURATION, columns=["issues", "action"])
    lists = table["issues"].combine_chunks()
    names, rows = pc.list_flatten(lists), pc.list_parent_indices(lists)
    actions = pc.take(table["action"], rows)
    doubted = label_errors(folders)["action"]
    found = []
    for issue in (*curation.ISSUES, curation.LABEL_ERROR):
        beginnings = (value for name, value in said["thresholds"].items() if name.startswith(f"{issue}_"))
        its = _tallied(doubted if issue == curation.LABEL_ERROR else actions.filter(pc.equal(names, issue)))
        found.append(
            {
                "issue": issue,
                "policy": said["policies"][issue],
                "threshold": next(beginnings, None),
                "images": sum(its.values()),
                "actions": {action: its.get(action, 0) for action in ("keep", "drop", "quarantine")},
            }
        )
    return found


def duplicates(folders: Folders, said: Mapping[str, Any]) -> Found:
    """Groups of near-duplicates, identical images among them, and redundant copies; `said` by curation."""
    groups = pq.read_table(folders["inspect"] / files.FINDINGS, columns=["duplicate_group"])["duplicate_group"]
    sizes = pc.value_counts(groups).field("counts").to_numpy(zero_copy_only=False)
    several = sizes[sizes > 1]
    by_size = dict(zip(*(each.tolist() for each in np.unique(several, return_counts=True)), strict=True))
    kinds = counts(folders["inspect"] / files.PAIRS, "kind")
    return {
        "redundant_copies": said["n_redundant_copies"],
        "pairs": sum(kinds.values()),
        "pairs_by_kind": {kind: kinds[kind] for kind in curation.KINDS if kind in kinds},
        "groups": len(several),
        "groups_not_identical": said["n_near_groups"],
        "images_in_groups": int(several.sum()),
        "groups_by_size": {str(size): count for size, count in by_size.items()},
    }


def label_errors(folders: Folders) -> pa.Table:
    """The labels in doubt (data_contracts.curation.LABEL_ERRORS); none where they were not looked for."""
    path = folders["split"] / files.LABEL_ERRORS if "split" in folders else None
    if path is None or not path.is_file():
        return curation.LABEL_ERRORS.empty_table()
    found = pq.read_table(path)
    return found.filter(found["is_label_error"])


def labels(classes: Sequence[str], said: Mapping[str, Any], doubted: Found) -> Found:
    """Conflicting labels, and labels in doubt as a matrix: rows the given label, columns the suggested one.

    `said` by curation, and of labels in doubt `doubted`, empty where they were not looked for.
    """
    suggested = doubted.get("suggested_labels", {})
    by_split = doubted.get("by_split", {})
    matrix = [[suggested.get(given, {}).get(other, 0) for other in classes] for given in classes]
    ranked = sorted(
        ((-count, given, other) for given, others in suggested.items() for other, count in others.items() if count)
    )
    return {
        "conflicting_groups": said["n_conflicting_groups"],
        "conflicting_images": said["issues"]["conflicting_labels"]["n_images"],
        "in_doubt": sum(by_split.values()),
        "in_doubt_by_split": by_split,
        "matrix": matrix,
        "commonest": [{"given": given, "suggested": other, "images": -count} for count, given, other in ranked[:3]],
    }


def histograms(folders: Folders, thresholds: Mapping[str, float], drift: Found) -> list[Found]:
    """The distribution of each of PROPERTIES over the accepted images, with curation's `thresholds` on it.

    Where drift has counted, its bins are used, and those of the images last accepted (`then`) and of the `new` ones.
    """
    made = []
    for each in PROPERTIES:
        column = pq.read_table(folders["validate"] / files.ACCEPTED, columns=[each.column])[each.column]
        values = column.drop_null().to_numpy().astype(float)
        found: Found = {"property": each.column, "title": each.title, "unit": each.unit, "log": each.log}
        found |= {"images": len(values), "quantiles": _quantiles(values)}
        binned = drift.get("histograms", {}).get(each.column) or {
            "edges": each.edges.tolist(),
            "now": _binned(values, each.edges),
        }
        found |= {key: binned[key] for key in ("edges", "now", "then") if key in binned}
        if any(test["of"] == "new" for test in drift.get("tests", [])):  # too few to compare are too few to draw
            found["new"] = binned["new"]
        found["thresholds"] = [
            {"issue": issue, "value": thresholds[name], "side": side}
            for issue, name, of, side in THRESHOLDS
            if of == each.column and name in thresholds
        ]
        made.append(found)
    return made


def _quantiles(values: np.ndarray) -> dict[str, float]:
    """The least, 5th percentile, median, 95th percentile and most; empty without images."""
    if not len(values):
        return {}
    names = ("least", "p05", "median", "p95", "most")
    return dict(zip(names, (float(f"{each:.6g}") for each in np.percentile(values, [0, 5, 50, 95, 100])), strict=True))


def _binned(values: np.ndarray, edges: np.ndarray) -> list[int]:
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return [int(each) for each in np.bincount(bins, minlength=len(edges) - 1)]


def counts(path: Path, column: str) -> dict[str, int]:
    """The values of a column of text -> rows, the most frequent first."""
    return _tallied(pc.fill_null(pq.read_table(path, columns=[column])[column], NO_REASON))


def _tallied(column: pa.ChunkedArray) -> dict[str, int]:
    """Values -> rows, the most frequent first, then by name."""
    found = [(each["values"], each["counts"]) for each in pc.value_counts(column).to_pylist()]
    return dict(sorted(found, key=lambda each: (-each[1], each[0])))
