"""Stage 5: the issues of each accepted image, and the action that the recipe's policies take.

Out: `curation.parquet` (data_contracts.curation.CURATION) and `curation.json`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from data_contracts import curation as contract
from data_contracts import files
from fer import errors
from fer.curation import groups, official_splits, split
from fer.curation.refs import CurationRef, InspectionRef, ValidationRef
from fer.engine import stage
from fer.engine.records import Record
from fer.engine.refs import Counts
from fer.engine.workspace import Workspace
from fer.progress import Progress

# keep        used as it is, and counted in the report
# drop        not trained on. An official validation or test split keeps it, so that its figures stay comparable with
#             other people's; the de-duplicated version of the split leaves it out
# quarantine  in no split at all: put aside for somebody to look at
# stop        ends the run, after the report
Policy = Literal["keep", "drop", "quarantine", "stop"]

_STRICTNESS = {"keep": 0, "stop": 0, "drop": 1, "quarantine": 2}
_ACTIONS: tuple[contract.Action, ...] = ("keep", "drop", "quarantine")
_EXAMPLES = 10


class Policies(Record):
    """What to do with images of each issue (data_contracts.curation.Issue, and LABEL_ERROR)."""

    exact_duplicate: Policy = Field(
        default="drop",
        description="same pixels and label as an image of the same split; the first of them has no issue",
    )
    near_duplicate: Policy = Field(
        default="keep",
        description="near-duplicate of another image; of those of a split that would be used, the first stays",
    )
    conflicting_labels: Policy = Field(default="drop", description="same pixels as an image of another class")
    blank: Policy = Field(default="quarantine", description="every pixel the same")
    dark: Policy = "keep"
    bright: Policy = "keep"
    blurry: Policy = "keep"
    low_information: Policy = "keep"
    odd_size: Policy = Field(default="keep", description="far larger or smaller than the others, or of another shape")
    outlier: Policy = Field(default="keep", description="unlike all the others")
    no_face: Policy = Field(default="keep", description="in which the face detector finds none")
    label_error: Policy = Field(
        default="keep",
        description="confident learning says that the label is wrong; of train alone, once the splits are known",
    )


class CurateConfig(Record):
    """Where an issue begins, and what is done about it. The figures are of FER2013's 35,887 images, looked at."""

    policies: Policies = Policies()
    dark_p99: float = Field(
        default=82, ge=0, le=255,
        description="dark: the 99th percentile of the grey levels is below it. As cleanvision (0.32 of white): 27 "
        "faces that are hard to see",
    )  # fmt: skip
    bright_p05: float = Field(
        default=180, ge=0, le=255,
        description="bright: the 5th percentile is above it. About 20, half of them pages saying that the picture was "
        "removed; cleanvision's 242 finds none",
    )  # fmt: skip
    low_information_bits: float = Field(
        default=4.4, ge=0, le=8,
        description="low information: the entropy of the grey levels is below it. About 40, nearly all of them warning "
        "signs and pages; cleanvision's 3 bits find the signs alone, at 5 it is faces in hard light",
    )  # fmt: skip
    blurry_sharpness: float = Field(
        default=0.1, ge=0,
        description="blurry: the sharpness (fer.images) is below it. 14, most of them smeared; from 0.15 on "
        "it is sharp faces before an even ground",
    )  # fmt: skip
    odd_size_iqrs: float = Field(
        default=3, gt=0,
        description="odd size: area or aspect ratio is that many interquartile ranges outside the quartiles (Tukey's "
        "far-out, on a scale of powers of two), and at least twice, or half, the nearer quartile",
    )  # fmt: skip
    outlier_score: float = Field(
        default=3.5, gt=0,
        description="outlier: the score (robust standard deviations) is above it. 60, three quarters of "
        "them no photograph of a face",
    )  # fmt: skip
    no_face_score: float = Field(
        default=0.3, ge=0, le=1,
        description="no face: the face detector's score is below it. 179, a third of them no photograph of a face, "
        "most others turned down or half hidden",
    )  # fmt: skip


@dataclass(frozen=True)
class Images:
    """N accepted images, sorted by image_id: the manifest's rows, inspection's findings, and their duplicate groups."""

    accepted: pa.Table
    findings: pa.Table
    links: groups.DuplicateGroups

    def numbers(self, name: str) -> np.ndarray:
        """A property, (N,) float64; NaN where it is unknown."""
        table = self.accepted if name in self.accepted.column_names else self.findings
        return np.asarray(table[name].cast(pa.float64()).to_numpy(), np.float64)


@stage.stage("curate")
def curate(
    out: Path,
    validation: ValidationRef,
    inspection: InspectionRef,
    config: CurateConfig,
    splits: split.SplitConfig,
    *,
    workspace: Workspace,
    progress: Progress,
) -> CurationRef:
    """Write `curation.parquet` and `curation.json`. Bad data raises nothing: see `failures` of the Ref.

    `splits` says which of the source's splits are one, and whether they count.
    Raises IntegrityError if inspection saw other images than validation accepted.
    """
    images = _read(workspace.folder(validation) / files.ACCEPTED, workspace.folder(inspection))
    progress(1, 3, "images and findings read")
    official = np.zeros(len(images.accepted), np.int64)  # the source's split, where these are used
    if splits.use_official:
        official = official_splits.numbered(images.accepted["raw_split"], splits.official)
    has_issue = issues(images, config, official)  # (N, issues)
    policies = config.policies.model_dump()
    strictness = np.array([_STRICTNESS[policies[name]] for name in contract.ISSUES])
    counted = _without_first_duplicates(has_issue, strictness, images.links, official)
    action = (counted * strictness).max(axis=1, initial=0)  # (N,) number in _ACTIONS
    decided = np.argmax(counted & (strictness == action[:, None]), axis=1)  # (N,) the first of the strictest policy
    progress(2, 3, "issues found")
    pq.write_table(_table(images, has_issue, action, decided, validation.classes), out / files.CURATION)
    counts = dict(zip(contract.ISSUES, has_issue.sum(axis=0).tolist(), strict=True))
    ref = CurationRef(
        classes=validation.classes,
        issues=counts,
        dropped=_by_issue(decided[action == _ACTIONS.index("drop")]),
        quarantined=_by_issue(decided[action == _ACTIONS.index("quarantine")]),
        failures=tuple(
            f"{_issue_line(name, counts[name], images)}: policy stop"
            for name in contract.ISSUES
            if policies[name] == "stop" and counts[name]
        ),
    )
    (out / files.CURATION_REPORT).write_text(json.dumps(_report(images, has_issue, config, ref), indent=1))
    progress(3, 3, "images curated")
    return ref


def issues(images: Images, config: CurateConfig, official: np.ndarray) -> np.ndarray:
    """Which issues each image has: (N, issues) bool, in the order of data_contracts.curation.ISSUES.

    `official` (N,) int64 numbers the source's splits, as far as they differ. A blank image is blank, and not dark,
    bright, blurry and without information or a face as well.
    """
    links, label = images.links, groups.factorize(images.accepted["label"])[0]
    copies = (links.content * (label.max(initial=0) + 1) + label) * (official.max(initial=0) + 1) + official
    redundant = np.ones(len(copies), bool)
    redundant[np.unique(copies, return_index=True)[1]] = False  # the first by image_id stays
    n_labels = np.bincount(np.unique(np.column_stack([links.content, label]), axis=0)[:, 0], minlength=1)
    is_paired = np.zeros(len(links.sha256s), bool)
    is_paired[links.pairs.ravel()] = True
    blank = images.numbers("std") == 0
    by_issue = {
        "exact_duplicate": redundant,
        "near_duplicate": is_paired[links.content],
        "conflicting_labels": n_labels[links.content] > 1,
        "blank": blank,
        "dark": ~blank & (images.numbers("p99") < config.dark_p99),
        "bright": ~blank & (images.numbers("p05") > config.bright_p05),
        "blurry": ~blank & (images.numbers("sharpness") < config.blurry_sharpness),
        "low_information": ~blank & (images.numbers("entropy") < config.low_information_bits),
        "odd_size": _odd_size(images.numbers("width"), images.numbers("height"), config.odd_size_iqrs),
        "outlier": ~blank & (images.numbers("outlier_score") > config.outlier_score),
        "no_face": ~blank & (images.numbers("face_score") < config.no_face_score),
    }
    return np.column_stack([by_issue[name] for name in contract.ISSUES])


def _without_first_duplicates(
    has_issue: np.ndarray, strictness: np.ndarray, links: groups.DuplicateGroups, official: np.ndarray
) -> np.ndarray:
    """`has_issue` (N, issues) without the issue of near-duplicates where it must not cost a group its last image.

    That is the first by image_id, of each duplicate group in each split, that no other issue puts aside.
    """
    column = contract.ISSUES.index("near_duplicate")
    others = strictness.copy()
    others[column] = 0
    eligible = np.flatnonzero(has_issue[:, column] & ((has_issue * others).max(axis=1, initial=0) == 0))
    group_in_split = links.duplicate_group[eligible] * (official.max(initial=0) + 1) + official[eligible]
    counted = has_issue.copy()
    counted[eligible[np.unique(group_in_split, return_index=True)[1]], column] = False
    return counted


def _odd_size(width: np.ndarray, height: np.ndarray, iqrs: float) -> np.ndarray:
    odd = np.zeros(len(width), bool)
    for measure in (np.log2(width * height), np.log2(width / height)):
        if len(measure):
            low, high = np.percentile(measure, [25, 75])
            fence = max(1.0, iqrs * (high - low))  # where all but a few are of one size, a pixel more is not odd
            odd |= (measure < low - fence) | (measure > high + fence)
    return odd


def _read(accepted_path: Path, inspection_folder: Path) -> Images:
    accepted = pq.read_table(accepted_path).sort_by("image_id")
    findings = pq.read_table(inspection_folder / files.FINDINGS).sort_by("image_id")
    if not accepted["image_id"].equals(findings["image_id"]):
        raise errors.IntegrityError(
            "Inspection must have seen the images that validation accepted.",
            received=f"{len(accepted):,} accepted, {len(findings):,} inspected, not the same",
            todo="run the same command again",
        )
    pairs = pq.read_table(inspection_folder / files.PAIRS, columns=["first", "second", "kind"])
    return Images(accepted, findings, groups.read(accepted, pairs))


def _table(
    images: Images, has_issue: np.ndarray, action: np.ndarray, decided: np.ndarray, classes: tuple[str, ...]
) -> pa.Table:
    ends = np.concatenate([[0], has_issue.sum(axis=1).cumsum()]).astype(np.int32)
    names = pa.array(contract.ISSUES)
    class_index = pc.index_in(images.accepted["label"], value_set=pa.array(classes))
    columns = {
        "class_index": class_index,
        "duplicate_group": images.findings["duplicate_group"],
        "issues": pa.ListArray.from_arrays(pa.array(ends), names.take(pa.array(np.nonzero(has_issue)[1]))),
        "action": pa.array(_ACTIONS).take(pa.array(action)),
        "reason": names.take(pa.array(decided, mask=action == 0)),
    }
    arrays = [columns[name] if name in columns else images.accepted[name] for name in contract.CURATION.names]
    return pa.table(arrays, schema=contract.CURATION)


def _by_issue(decided: np.ndarray) -> Counts:
    counts = np.bincount(decided, minlength=len(contract.ISSUES)).tolist()
    return {name: count for name, count in zip(contract.ISSUES, counts, strict=True) if count}


def _n_conflicting(images: Images) -> int:
    """Groups of identical images with two labels or more."""
    label = groups.factorize(images.accepted["label"])[0]
    pairs = np.unique(np.column_stack([images.links.content, label]), axis=0)
    return int((np.unique(pairs[:, 0], return_counts=True)[1] > 1).sum())


def _issue_line(issue: contract.Issue, count: int, images: Images) -> str:
    """How many images have an issue, in words."""
    if issue == "conflicting_labels":
        return f"{_n_conflicting(images):,} groups of identical images with conflicting labels ({count:,} images)"
    return f"{count:,} images: {issue.replace('_', ' ')}"


def _report(images: Images, has_issue: np.ndarray, config: CurateConfig, ref: CurationRef) -> dict[str, object]:
    policies = config.policies.model_dump()
    content = images.links.content
    contents = np.unique(np.column_stack([images.links.duplicate_group, content]), axis=0)
    n_contents = np.bincount(contents[:, 0], minlength=1)
    return {
        "n_images": len(content),
        "n_redundant_copies": len(content) - len(images.links.sha256s),  # over all splits and labels
        "n_conflicting_groups": _n_conflicting(images),
        "n_near_groups": int((n_contents > 1).sum()),  # of connected duplicates that are not all identical
        "policies": policies,
        "thresholds": config.model_dump(exclude={"policies"}),
        "issues": {
            name: {"n_images": ref.issues[name], "policy": policies[name], "examples": examples}
            for name, examples in _examples(images, has_issue).items()
        },
        "dropped": ref.dropped,
        "quarantined": ref.quarantined,
        "failures": ref.failures,
        "sources": _sources(images),
    }


def _examples(images: Images, has_issue: np.ndarray) -> dict[str, list[str]]:
    """A few image IDs of each issue: the worst first, and what belongs together side by side."""
    area = np.log2(images.numbers("width") * images.numbers("height"))
    rank = {
        "exact_duplicate": images.links.content,
        "near_duplicate": images.links.duplicate_group,
        "conflicting_labels": images.links.content,
        "dark": images.numbers("p99"),
        "bright": -images.numbers("p05"),
        "blurry": images.numbers("sharpness"),
        "low_information": images.numbers("entropy"),
        "odd_size": -abs(area - np.median(area)) if len(area) else area,
        "outlier": -images.numbers("outlier_score"),
        "no_face": images.numbers("face_score"),
    }
    ids = images.accepted["image_id"]
    examples: dict[str, list[str]] = {}
    for at, name in enumerate(contract.ISSUES):
        rows = np.flatnonzero(has_issue[:, at])
        if name in rank:
            rows = rows[np.argsort(rank[name][rows], kind="stable")]
        examples[name] = ids.take(pa.array(rows[:_EXAMPLES])).to_pylist()
    return examples


def _sources(images: Images) -> dict[str, dict[str, Any]]:
    """How many images of each source have a split of the source's and how many have none, and where these are."""
    code, names = groups.factorize(images.accepted["source"])
    has_split = images.accepted["raw_split"].is_valid().to_numpy()
    paths, raw_labels = (images.accepted[name].combine_chunks() for name in ("path", "raw_label"))
    result: dict[str, dict[str, Any]] = {}
    for at, name in enumerate(names.to_pylist()):
        here = code == at
        n_with = int((has_split & here).sum())
        counts = {"with_split": n_with, "without_split": int(here.sum()) - n_with}
        is_mixed = 0 < n_with < int(here.sum())
        where: dict[str, int] = {}
        if is_mixed:
            rows = pa.array(here)
            where = official_splits.folders_without(paths.filter(rows), raw_labels.filter(rows), has_split[here])
        result[name] = counts | {"folders_without": where}
    return result
