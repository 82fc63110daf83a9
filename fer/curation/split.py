"""Stage 6: which image serves training, validation or test. Duplicates and subjects are never in two splits.

Out: `split.parquet` and `assignments.parquet` (data_contracts.split), and `split.json`, the report about them. The
second remembers the splits of images that are dropped, excluded or gone for now, so that they come back to them.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from data_contracts import files
from data_contracts import split as contract
from fer import errors
from fer.curation import assignment, groups, official_splits
from fer.curation.refs import CurationRef, InspectionRef, Leak, SplitRef
from fer.engine import disk, stage
from fer.engine.records import Record
from fer.engine.refs import Counts
from fer.engine.workspace import Workspace
from fer.ingest.naming import split_names
from fer.progress import Progress

_ASSIGNMENTS_BEFORE = "sides.parquet"  # as accepted splits of earlier versions call it

# With others, the assignments of the last split mean nothing.
_SETTINGS = ("use_official", "test_share", "validation_share", "seed")
_FAR_OFF = 1.5  # times a share
ROW_GROUP = 65_536  # preprocessing reads it in a stream
_REPORTED_FROM = 20  # images of a share: below, what is off is off by a few


class SplitConfig(Record):
    """Whether to keep the source's own splits, and how to draw those that it does not have."""

    use_official: bool = Field(default=True, description="keep the source's splits, if it has some")
    official: dict[str, split_names.Split] = Field(
        default={},
        description="the source's name of a split, also of a folder -> train, validation or test; beside those known "
        "such as dev, eval, Trainingsdaten",
    )
    leakage: Literal["keep", "drop", "stop"] = Field(
        default="drop",
        description="what to do with an image of an official split that has a duplicate, or its subject, in one held "
        "out further: use it all the same, leave it out, or end the run after the report",
    )
    test_share: float = Field(
        default=0.1, gt=0, lt=0.5, description="of the images, where the source has no test split"
    )
    validation_share: float = Field(
        default=0.1, gt=0, lt=0.5, description="of the images, where the source has no validation split"
    )
    seed: int = Field(default=0, ge=0, description="of the drawn splits")
    rotation: int = Field(
        default=0,
        ge=0,
        description="a higher number than that of the data accepted last draws a new test split from images that were "
        "never tested on, new ones first; those of the old one go to train",
    )


def settings_key(config: SplitConfig) -> str:
    """A name for the settings that decide how splits are drawn: by others, assignments can't be kept."""
    return json.dumps({name: getattr(config, name) for name in _SETTINGS})


@dataclass(frozen=True)
class SplitResult:
    """The assignment of N images, and figures about it. An image with neither split nor reason was put aside."""

    splits: np.ndarray  # (N,) int64, see `assignment`
    reasons: np.ndarray  # (N,) str or None: why an image without a split is excluded
    is_clean: np.ndarray  # (N,) bool, see data_contracts.split
    origin: str
    matrix: dict[str, dict[str, dict[str, int]]]  # before the repair: see `official_splits.matrix`
    leaks: tuple[Leak, ...]
    n_leaked_before: int  # images of official validation and test with a duplicate closer to training, before repair
    n_leaked: int  # likewise after it, of drawn ones too
    n_leaked_subjects: int  # images of validation and test whose subject is closer to training, after the repair
    n_split_groups: int
    largest_split_group: int  # images


@stage.stage("split")
def split(
    out: Path,
    curation: CurationRef,
    inspection: InspectionRef,
    previous: SplitRef | None,
    config: SplitConfig,
    *,
    workspace: Workspace,
    progress: Progress,
) -> SplitRef:
    """Keep the official splits if there are some, and repair them; draw what is missing, seeded; keep the assignments
    of `previous`, unless it was drawn by other settings.

    Where a class would be without an image in train or test, that is one of the Ref's `failures`.
    Raises SourceError for an official split of unknown name or of some images only.
    """
    folder = workspace.folder(curation)
    images = read_images(folder / files.CURATION)
    links = groups.read(
        images, pq.read_table(workspace.folder(inspection) / files.PAIRS, columns=["first", "second", "kind"])
    )
    progress(1, 3, "duplicates and subjects joined")
    history_note, rotation, earlier = _earlier(None if previous is None else workspace.folder(previous), config)
    rotates = earlier is not None and config.rotation > rotation
    earlier = retired(earlier) if earlier is not None and rotates else earlier
    history = None if earlier is None else history_of(images, earlier, rotates=rotates)
    sources = json.loads((folder / files.CURATION_REPORT).read_bytes()).get("sources", {})
    result = assign(images, links, history, config, sources)
    progress(2, 3, "splits assigned")
    counts = _counts(result.splits, _label_codes(images), curation.classes)
    pq.write_table(_table(images, links, result), out / files.SPLIT, row_group_size=ROW_GROUP)
    was_tested = np.zeros(len(images), bool) if history is None else history.was_tested
    pq.write_table(_assignments(images, result.splits, was_tested, earlier), out / files.ASSIGNMENTS)
    excluded = Counter(reason for reason in result.reasons.tolist() if reason is not None)
    ref = SplitRef(
        digest=digest(out),
        classes=curation.classes,
        counts=counts,
        origin=result.origin,
        n_clean={
            name: int((result.is_clean & (result.splits == number)).sum()) for number, name in enumerate(files.SPLITS)
        },
        excluded={reason: excluded[reason] for reason in sorted(excluded, key=lambda name: (-excluded[name], name))},
        leaks=result.leaks,
        n_leaked=result.n_leaked,
        n_leaked_subjects=result.n_leaked_subjects,
        n_kept=_n_kept(result.splits, history),
        failures=(*_failures(result, config), *_lacking(counts)),
        warnings=_far_from_shares(result, config),
    )
    report = {
        "config": config.model_dump(mode="json"),
        "history": history_note,
        "rotation": max(rotation, config.rotation),
        "rotated": _rotated(result.splits, history) if history is not None and rotates else None,
        "matrix": result.matrix,
        "n_leaked_before": result.n_leaked_before,
        "n_split_groups": result.n_split_groups,
        "largest_split_group": result.largest_split_group,
    } | ref.model_dump(mode="json", exclude={"path", "digest"})
    (out / files.SPLIT_REPORT).write_text(json.dumps(report, indent=1))
    progress(3, 3, "images assigned")
    return ref


def digest(out: Path) -> str:
    """SHA-256 (hex) of the assignments in `out`; the wording of the report makes no other split."""
    digests = "".join(disk.sha256(out / name) for name in (files.SPLIT, files.ASSIGNMENTS))
    return hashlib.sha256(digests.encode()).hexdigest()


def read_images(path: Path) -> pa.Table:
    """The rows of a curation.parquet, sorted by image_id, without what is not needed here."""
    left_out = ("issues", "duplicate_group")
    table = pq.read_table(path, columns=[name for name in pq.read_schema(path).names if name not in left_out])
    return table.sort_by("image_id")


def assign(
    images: pa.Table,
    links: groups.DuplicateGroups,
    history: assignment.History | None,
    config: SplitConfig,
    sources: Mapping[str, Mapping[str, int]],
) -> SplitResult:
    """The split of each of `images` (data_contracts.curation.CURATION, by image_id); their order does not matter.

    `sources` says how many images of each source have a split, for the error if only some do. Raises SourceError.
    """
    action = pc.index_in(images["action"], value_set=pa.array(["keep", "drop", "quarantine"])).to_numpy()
    used, dropped = action < 2, action == 1
    label = _label_codes(images)
    reasons = np.full(len(images), None, object)
    official = np.full(len(images), assignment.NONE)
    if config.use_official and official_splits.are_complete(images, used, sources):
        official = official_splits.splits_of(images, used, config.official)
    is_repaired = (official != assignment.NONE).any()
    splits = np.where(used, official, assignment.NONE)
    removed = dropped & ((splits == assignment.TRAIN) if is_repaired else used)
    splits[removed] = assignment.NONE
    reasons[removed] = pc.replace_substring(images["reason"].filter(pa.array(removed)), "_", " ").to_numpy()
    excluded: assignment.Excluded = []
    if is_repaired and config.leakage == "drop":
        excluded = assignment.resolve_leaks(links, splits)
    settings = assignment.SplitSettings(
        drawn=tuple(split for split in (assignment.VALIDATION, assignment.TEST) if not (splits == split).any()),
        test_share=config.test_share,
        validation_share=config.validation_share,
        seed=config.seed,
    )
    if config.rotation and assignment.TEST not in settings.drawn:
        raise errors.ConfigError(
            "A test split that is to be rotated must be drawn.",
            received=f"split.rotation={config.rotation}, and a source with a test split of its own",
            todo="draw it: --set split.use_official=false; or leave split.rotation out",
        )
    if settings.drawn:
        pool = (splits == assignment.TRAIN) if is_repaired else used & ~dropped
        drawn, left_out = assignment.draw(links, pool, splits == assignment.NONE, label, history, settings)
        splits[pool] = drawn[pool]
        excluded += left_out
    for rows, reason in excluded:
        reasons[rows] = reason
    linked = links.linked_bits(assignment.bits(splits))
    linked_before = links.linked_bits(assignment.bits(official))
    group_sizes = np.unique(links.split_group, return_counts=True)[1]
    return SplitResult(
        splits=splits,
        reasons=reasons,
        is_clean=_clean(links, splits, np.where(used, official, assignment.NONE), dropped),
        origin=_origin(bool(is_repaired), settings.drawn),
        matrix=official_splits.matrix(links, official),
        leaks=official_splits.leaks(links, official),
        n_leaked_before=int(official_splits.closer(official, linked_before.duplicates).sum()),
        n_leaked=int(official_splits.closer(splits, linked.duplicates).sum()),
        n_leaked_subjects=int(official_splits.closer(splits, linked.subject).sum()),
        n_split_groups=len(group_sizes),
        largest_split_group=int(group_sizes.max(initial=0)),
    )


def _label_codes(images: pa.Table) -> np.ndarray:
    return images["class_index"].to_numpy().astype(np.int64)


def _origin(official: bool, drawn: tuple[int, ...]) -> str:
    """`drawn`, `official`, or `official` and which of the splits are drawn all the same."""
    if not official:
        return "drawn"
    return ", ".join(["official", *(f"{files.SPLITS[split]} drawn" for split in sorted(drawn, reverse=True))])


def _clean(links: groups.DuplicateGroups, splits: np.ndarray, official: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    """(N,) bool, see data_contracts.split: no duplicate closer to training, excluded or not; the first of its
    duplicates; not dropped.

    The first is that with the smallest image_id among those connected, in this split, that may be clean at all.
    """
    leaked = official_splits.closer(splits, links.linked_bits(assignment.bits(official)).duplicates)
    leaked &= splits == official
    leaked |= official_splits.closer(splits, links.linked_bits(assignment.bits(splits)).duplicates)
    eligible = np.flatnonzero((splits != assignment.NONE) & ~dropped & ~leaked)
    group_in_split = links.duplicate_group[eligible] * len(files.SPLITS) + splits[eligible]
    clean = np.zeros(len(splits), bool)
    clean[eligible[np.unique(group_in_split, return_index=True)[1]]] = True
    return clean


def _earlier(folder: Path | None, config: SplitConfig) -> tuple[str, int, pa.Table | None]:
    """A note on what is kept of the split in `folder`, the number of its rotation, and its assignments
    (data_contracts.split.ASSIGNMENTS).
    """
    if folder is None:
        return "none", 0, None
    report = json.loads((folder / files.SPLIT_REPORT).read_bytes())
    before, rotation = report["config"], report.get("rotation", 0)
    changed = [name for name in _SETTINGS if before.get(name) != getattr(config, name)]
    if changed:
        changes = ", ".join(f"{name} was {before.get(name)}" for name in changed)
        return f"the last split was drawn by other settings: {changes}", 0, None
    path = folder / files.ASSIGNMENTS
    earlier = pq.read_table(path if path.exists() else folder / _ASSIGNMENTS_BEFORE)
    if "was_tested" not in earlier.column_names:  # from before there were rotations
        earlier = earlier.append_column("was_tested", pa.repeat(False, len(earlier)))
    return "kept", rotation, earlier.select(contract.ASSIGNMENTS.names).cast(contract.ASSIGNMENTS)


def _assignments(images: pa.Table, splits: np.ndarray, was_tested: np.ndarray, earlier: pa.Table | None) -> pa.Table:
    """The splits of the images, and of all others their `earlier` ones (data_contracts.split.ASSIGNMENTS)."""
    names = pa.array(files.SPLITS).take(pa.array(np.maximum(splits, 0)))
    columns = [images["image_id"], images["pixel_sha256"], names, pa.array(was_tested)]
    now = pa.table(columns, schema=contract.ASSIGNMENTS)
    now = now.filter(pa.array(splits != assignment.NONE))
    if earlier is None:
        return now
    is_here = pc.is_in(earlier["image_id"], value_set=now["image_id"].combine_chunks())
    return pa.concat_tables([now, earlier.filter(pc.invert(is_here))]).sort_by("image_id")


def history_of(images: pa.Table, earlier: pa.Table, *, rotates: bool = False) -> assignment.History:
    """The splits of the `images` in the assignments `earlier` (data_contracts.split.ASSIGNMENTS).

    By their image_id, since identical images were in two splits if leakage was kept; files that are new or were renamed
    by their pixels. `rotates`: these were `retired`, so that test is to be drawn anew.
    """
    split = np.append(pc.index_in(earlier["split"], value_set=pa.array(files.SPLITS)).to_numpy(), assignment.NONE)
    was_tested = np.append(earlier["was_tested"].to_numpy(), False)
    by_id, by_pixels = (
        pc.index_in(images[name], value_set=earlier[name].combine_chunks()).fill_null(-1).to_numpy()
        for name in ("image_id", "pixel_sha256")
    )
    known = split[by_id] != assignment.NONE
    return assignment.History(
        np.where(known, split[by_id], split[by_pixels]),
        known,
        was_tested[by_id] | was_tested[by_pixels],
        rotates,
    )


def retired(earlier: pa.Table) -> pa.Table:
    """The assignments `earlier` (data_contracts.split.ASSIGNMENTS) with all images of test in train for good."""
    is_test = pc.equal(earlier["split"], "test")
    columns = {
        "split": pc.if_else(is_test, "train", earlier["split"]),
        "was_tested": pc.or_(earlier["was_tested"], is_test),
    }
    return pa.table([columns.get(name, earlier[name]) for name in contract.ASSIGNMENTS.names], contract.ASSIGNMENTS)


def _rotated(splits: np.ndarray, history: assignment.History) -> dict[str, int]:
    """What a rotation did: the images of the new test, which of them no model has learned, and those of old ones."""
    is_test = splits == assignment.TEST
    return {
        "n_test": int(is_test.sum()),
        "n_new": int((is_test & (history.split == assignment.NONE)).sum()),
        "n_retired": int((history.was_tested & (splits != assignment.NONE)).sum()),
    }


def _n_kept(splits: np.ndarray, history: assignment.History | None) -> int:
    return 0 if history is None else int(((splits != assignment.NONE) & (splits == history.split)).sum())


def _failures(result: SplitResult, config: SplitConfig) -> tuple[str, ...]:
    if config.leakage != "stop":
        return ()
    counts = {"a duplicate": result.n_leaked, "their subject": result.n_leaked_subjects}
    return tuple(
        f"{count:,} images of validation and test have {linked} closer to training: policy stop"
        for linked, count in counts.items()
        if count
    )


def _counts(splits: np.ndarray, label: np.ndarray, classes: tuple[str, ...]) -> dict[str, Counts]:
    return {
        name: dict(zip(classes, np.bincount(label[splits == number], minlength=len(classes)).tolist(), strict=True))
        for number, name in enumerate(files.SPLITS)
    }


def _table(images: pa.Table, links: groups.DuplicateGroups, result: SplitResult) -> pa.Table:
    names = pa.array([*files.SPLITS, contract.EXCLUDED]).take(pa.array(result.splits % (len(files.SPLITS) + 1)))
    columns = {
        "split": names,
        "reason": pa.array(result.reasons, pa.string()),
        "is_clean": pa.array(result.is_clean),
        "near_duplicates": links.near_duplicate_sha256s(),
    }
    arrays = [columns[name] if name in columns else images[name] for name in contract.SCHEMA.names]
    in_use = pc.or_(pa.array(result.splits != assignment.NONE), columns["reason"].is_valid())
    return pa.table(arrays, schema=contract.SCHEMA).filter(in_use)


def _lacking(counts: Mapping[str, Mapping[str, int]]) -> tuple[str, ...]:
    """A line if there is a class without an image in train or in test, or nothing in validation."""
    missing = [f"no {label} in {name}" for name in ("train", "test") for label, n in counts[name].items() if not n]
    if not any(counts["validation"].values()):
        missing.append("none at all in validation")
    if not missing:
        return ()
    return (
        f"every class must have an image in train and one in test, and validation must not be empty: "
        f"{', '.join(missing)}; add images, leave the class out of the recipe, or draw anew "
        "(split.use_official=false, another split.seed)",
    )


def _far_from_shares(result: SplitResult, config: SplitConfig) -> tuple[str, ...]:
    """A line for each drawn split that holds far more or fewer images than its share."""
    shares = {"test": config.test_share, "validation": config.validation_share}
    n_used = int((result.splits != assignment.NONE).sum())
    lines = []
    for name, share in shares.items():
        n = int((result.splits == files.SPLITS.index(name)).sum())
        is_drawn = result.origin == "drawn" or f"{name} drawn" in result.origin
        if is_drawn and n_used * share >= _REPORTED_FROM and not 1 / _FAR_OFF < n / (n_used * share) < _FAR_OFF:
            lines.append(
                f"{name} holds {n / n_used:.1%} of the images where {share:.1%} are wanted: the largest group of "
                f"duplicates and subjects, which stays together, has {result.largest_split_group:,}"
            )
    return tuple(lines)
