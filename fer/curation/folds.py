"""Cross-fitting: images that are too few to test a model on are tested in folds, by models of the others.

The stage `folds` divides all images of a split, whatever split they are in, into folds; the stage `fold` makes the
split of one of them, in which its images are the test, and `all but validation` that of the model to be released.
Duplicates and subjects stay together in each: a split group (see `groups`) is in one fold, and on one side within the
others.
"""

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import files
from data_contracts import split as contract
from fer import errors
from fer.curation import assignment, groups, split
from fer.curation.refs import CurationRef, InspectionRef, SplitRef
from fer.engine import disk, stage
from fer.engine.records import Record
from fer.engine.refs import Counts
from fer.engine.workspace import Workspace
from fer.progress import Progress

_NOWHERE = -1
_ONLY_TESTED = "kept out of training by curation"
_TODO = "take fewer folds (evaluation.folds), add images of other people, or leave the class out of index.classes"


class FoldSettings(Record):
    """How many folds, what share of the others each of them validates on, and the seed that they are drawn by."""

    n_folds: int
    validation_share: float
    seed: int


class FoldPlan(NamedTuple):
    """`fold` (N,) int64 is where each image is tested, -1 for one that is not used; `validation` (N, folds) bool where
    it is validated, of those where it is not tested."""

    fold: np.ndarray
    validation: np.ndarray


@stage.stage("folds")
def folds(
    out: Path,
    curation: CurationRef,
    inspection: InspectionRef,
    split_ref: SplitRef,
    settings: FoldSettings,
    *,
    workspace: Workspace,
    progress: Progress,
) -> SplitRef:
    """Divide the images of a split into folds; a split in which all of them are `test`, and `folds.parquet`.

    Images that curation keeps out of training – an official test split has some, and label errors are such – are never
    learned and tested all the same: a test without them would flatter every model.
    Raises ContractViolation if a class can't be learned in each fold, or a fold has nothing to test or validate.
    """
    images = split.read_images(workspace.folder(curation) / files.CURATION)
    pairs = pq.read_table(workspace.folder(inspection) / files.PAIRS, columns=["first", "second", "kind"])
    rows = pq.read_table(workspace.folder(split_ref) / files.SPLIT).sort_by("image_id")
    is_doubted = pc.is_in(rows["reason"], pa.array(contract.LABEL_ERROR.values(), pa.string()))
    rows = rows.filter(pc.or_(pc.not_equal(rows["split"], contract.EXCLUDED), is_doubted))
    links = groups.read(images, pairs)
    places = pc.index_in(rows["image_id"], value_set=images["image_id"].combine_chunks()).to_numpy()
    is_learned = _are(pc.not_equal(rows["split"], contract.EXCLUDED)) & ~_are_dropped(images)[places]
    used, learned = (np.zeros(len(images), bool) for _ in range(2))
    used[places] = True
    learned[places] = is_learned
    label = images["class_index"].to_numpy().astype(np.int64)
    plan = assign(links, label, used, learned, settings)
    _require_sound(plan, label, learned, split_ref.classes)
    is_clean = _clean(links, learned)[places]
    columns = {
        "split": pa.repeat("test", len(rows)),
        "reason": pa.nulls(len(rows), pa.string()),
        "is_clean": pa.array(is_clean),
    }
    tested = pa.table([columns.get(name, rows[name]) for name in contract.SCHEMA.names], schema=contract.SCHEMA)
    pq.write_table(tested, out / files.SPLIT, row_group_size=split.ROW_GROUP)
    pq.write_table(_table(rows["image_id"], plan, places, is_learned), out / files.FOLDS)
    progress(settings.n_folds, settings.n_folds, "folds assigned")
    return _ref(tested, split_ref, f"cross-fitting in {settings.n_folds} folds").model_copy(
        update={"n_folds": settings.n_folds, "digest": _digest(out, files.SPLIT, files.FOLDS)}
    )


def assign(
    links: groups.DuplicateGroups,
    label: np.ndarray,
    used: np.ndarray,
    learned: np.ndarray,
    settings: FoldSettings,
) -> FoldPlan:
    """The folds of the images `used` (N,) bool, by their `label` (N,) int64; those `learned` are among them.

    Folds have the same share of each class as far as split groups let them (scikit-learn's StratifiedGroupKFold), and
    the rest of each gives a share of it to validation, as splits are drawn. Both follow from the images
    alone, not from their order. Raises ContractViolation for more folds than any class has images.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    place = assignment.places(links.split_group_keys, settings.seed)
    rank = np.argsort(np.argsort(place, kind="stable"), kind="stable")  # of each group, which ties go by
    at = np.flatnonzero(used)
    fold = np.full(len(label), _NOWHERE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a class has fewer images than there are folds
            divided = StratifiedGroupKFold(settings.n_folds).split(at, label[at], rank[links.split_group[at]])
            for number, (_, tested) in enumerate(divided):
                fold[at[tested]] = number
    except ValueError as error:
        raise errors.ContractViolation(
            "Cross-fitting must have as many images of some class, and groups of images that stay together, as folds.",
            received=f"{settings.n_folds} folds of {len(at):,} images in "
            f"{len(np.unique(links.split_group[at])):,} groups",
            todo=_TODO,
        ) from error
    validation = np.zeros((len(label), settings.n_folds), bool)
    drawn = assignment.SplitSettings(
        drawn=(assignment.VALIDATION,), test_share=0.0, validation_share=settings.validation_share, seed=settings.seed
    )
    nothing = np.zeros(len(label), bool)
    for number in range(settings.n_folds):
        splits, _ = assignment.draw(links, learned & (fold != number), nothing, label, None, drawn)
        validation[:, number] = splits == assignment.VALIDATION
    return FoldPlan(fold, validation)


def _require_sound(plan: FoldPlan, label: np.ndarray, learned: np.ndarray, classes: tuple[str, ...]) -> None:
    faults = list(_faults(plan, label, learned, classes))
    if faults:
        raise errors.ContractViolation(
            "In cross-fitting each fold must have images to test and to validate on, and its other side some of every "
            "class.",
            received="; ".join(faults),
            todo=_TODO,
        )


def _faults(plan: FoldPlan, label: np.ndarray, learned: np.ndarray, classes: tuple[str, ...]) -> Iterator[str]:
    for number in range(plan.validation.shape[1]):
        where = f"in fold {number + 1}"
        train = learned & (plan.fold != number) & ~plan.validation[:, number]
        lacking = [name for index, name in enumerate(classes) if not (train & (label == index)).any()]
        if lacking:
            yield f"nothing of {', '.join(lacking)} to learn from {where}: duplicates and subjects stay together"
        if not (plan.fold == number).any():
            yield f"nothing to test {where}"
        if not plan.validation[:, number].any():
            yield f"nothing to validate on {where}"


def _are(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.to_numpy(), bool)


def _are_dropped(images: pa.Table) -> np.ndarray:
    """(N,) bool: which images (data_contracts.curation.CURATION) curation keeps out of training."""
    return _are(pc.equal(images["action"], "drop"))


def _clean(links: groups.DuplicateGroups, learned: np.ndarray) -> np.ndarray:
    """(N,) bool: the first of its duplicates, by image_id, of those that are learned."""
    eligible = np.flatnonzero(learned)
    clean = np.zeros(len(learned), bool)
    clean[eligible[np.unique(links.duplicate_group[eligible], return_index=True)[1]]] = True
    return clean


def _table(image_ids: pa.ChunkedArray, plan: FoldPlan, places: np.ndarray, is_learned: np.ndarray) -> pa.Table:
    """data_contracts.split.FOLDS."""
    validation_in = [np.flatnonzero(row).tolist() for row in plan.validation[places]]
    fold = pa.array(plan.fold[places], pa.int32())
    columns = [image_ids, fold, pa.array(validation_in, pa.list_(pa.int32())), pa.array(is_learned)]
    return pa.table(columns, schema=contract.FOLDS)


@stage.stage("fold")
def fold(out: Path, folds: SplitRef, number: int, *, workspace: Workspace, progress: Progress) -> SplitRef:
    """The split of fold `number`, from 0, of those that the stage `folds` made: its images are the test."""
    rows = pq.read_table(workspace.folder(folds) / files.SPLIT)
    plan = pq.read_table(workspace.folder(folds) / files.FOLDS)
    is_test = pc.equal(plan["fold"], number)
    in_folds = plan["validation_in"].combine_chunks()
    is_validation = np.zeros(len(plan), bool)
    here = pc.list_parent_indices(in_folds).filter(pc.equal(pc.list_flatten(in_folds), number))
    is_validation[here.to_numpy()] = True
    names = pc.if_else(
        is_test,
        "test",
        pc.if_else(pa.array(is_validation), "validation", pc.if_else(plan["is_learned"], "train", contract.EXCLUDED)),
    )
    reason = pc.if_else(pc.equal(names, contract.EXCLUDED), _ONLY_TESTED, None)
    progress(1, 1, "fold assigned")
    return _written(out, rows, {"split": names, "reason": reason}, folds, f"fold {number + 1} of {folds.n_folds}")


@stage.stage("all but validation")
def all_but_validation(
    out: Path, curation: CurationRef, split_ref: SplitRef, *, workspace: Workspace, progress: Progress
) -> SplitRef:
    """The split whose test images are train images too: that of a model which is judged by cross-fitting.

    What curation keeps out of training stays out.
    """
    rows = pq.read_table(workspace.folder(split_ref) / files.SPLIT)
    images = split.read_images(workspace.folder(curation) / files.CURATION)
    dropped = images["image_id"].filter(pa.array(_are_dropped(images)))
    is_test = pc.equal(rows["split"], "test")
    stays_out = pc.and_(is_test, pc.is_in(rows["image_id"], value_set=dropped.combine_chunks()))
    names = pc.if_else(stays_out, contract.EXCLUDED, pc.if_else(is_test, "train", rows["split"]))
    columns = {
        "split": names,
        "reason": pc.if_else(stays_out, _ONLY_TESTED, rows["reason"]),
        "is_clean": pc.and_(rows["is_clean"], pc.invert(stays_out)),
    }
    progress(1, 1, "test joined to train")
    return _written(out, rows, columns, split_ref, f"{split_ref.origin}, test joined to train")


def _written(out: Path, rows: pa.Table, columns: dict[str, pa.ChunkedArray], of: SplitRef, origin: str) -> SplitRef:
    table = pa.table([columns.get(name, rows[name]) for name in contract.SCHEMA.names], schema=contract.SCHEMA)
    pq.write_table(table, out / files.SPLIT, row_group_size=split.ROW_GROUP)
    return _ref(table, of, origin).model_copy(update={"digest": _digest(out, files.SPLIT)})


def _digest(out: Path, *names: str) -> str:
    return hashlib.sha256("".join(disk.sha256(out / name) for name in names).encode()).hexdigest()


def _ref(rows: pa.Table, of: SplitRef, origin: str) -> SplitRef:
    """What `rows` (data_contracts.split.SCHEMA) hold, by split and class, for the splits that have images."""
    in_split = np.asarray(pc.index_in(rows["split"], value_set=pa.array(files.SPLITS)).fill_null(_NOWHERE).to_numpy())
    label, is_clean = rows["class_index"].to_numpy(), _are(rows["is_clean"])
    here = {name: in_split == number for number, name in enumerate(files.SPLITS) if (in_split == number).any()}
    excluded = rows["reason"].drop_null().value_counts().to_pylist()

    def by_class(which: np.ndarray) -> Counts:
        return dict(zip(of.classes, np.bincount(label[which], minlength=len(of.classes)).tolist(), strict=True))

    return SplitRef(
        classes=of.classes,
        counts={name: by_class(which) for name, which in here.items()},
        origin=origin,
        n_clean={name: int((is_clean & which).sum()) for name, which in here.items()},
        excluded={row["values"]: row["counts"] for row in excluded},
    )
