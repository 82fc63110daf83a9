"""Stage 6: which image serves training, validation or test. Near-twins and subjects never stand on two sides.

Out: `split.parquet` and `sides.parquet` (data_contracts.split), and `split.json`, which says how they came to be. The
second remembers where images stood that are dropped, excluded or gone for now, so that they come back to their side.
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
from pydantic import BaseModel, ConfigDict, Field

from data_contracts import files
from data_contracts import split as contract
from fer.curation import assignment, groups, official_splits
from fer.curation.refs import CurationRef, InspectionRef, Leak, SplitRef
from fer.engine import disk, stage
from fer.engine.refs import Counts
from fer.engine.workspace import Workspace
from fer.progress import Progress

REPORT = "split.json"

_OFFICIAL: dict[str, Literal["train", "validation", "test"]] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "public": "validation",
    "publictest": "validation",
    "test": "test",
    "testing": "test",
    "private": "test",
    "privatetest": "test",
}
# With others, the last split's sides mean nothing.
_DRAWING = ("use_official", "test_share", "validation_share", "seed")
_FAR_OFF = 1.5  # times a share
ROW_GROUP = 65_536  # preprocessing reads it in a stream
_TOLD_FROM = 20  # images of a share: below, what is off is off by a few


class SplitConfig(BaseModel):
    """Whether to keep the source's own splits, and how to draw those that it does not have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    use_official: bool = Field(default=True, description="keep the source's splits, if it has some")
    official: dict[str, Literal["train", "validation", "test"]] = Field(
        default=_OFFICIAL, description="the source's name of a split, in lower case -> ours"
    )
    leakage: Literal["keep", "drop", "stop"] = Field(
        default="drop",
        description="what to do with an image of an official split that has a twin, or its subject, in one held out "
        "further: use it all the same, leave it out, or end the run after the report",
    )
    test_share: float = Field(
        default=0.1, gt=0, lt=0.5, description="of the images, where the source has no test split"
    )
    validation_share: float = Field(
        default=0.1, gt=0, lt=0.5, description="of the images, where the source has no validation split"
    )
    seed: int = Field(default=0, ge=0, description="of the drawn splits")


def drawing(config: SplitConfig) -> str:
    """A name for what a drawing hangs on: of splits with another one, sides can't be kept."""
    return json.dumps({name: getattr(config, name) for name in _DRAWING})


@dataclass(frozen=True)
class Division:
    """What came of N images. `sides` and `reasons` are (N,); an image with neither was put aside by curation."""

    sides: np.ndarray
    reasons: np.ndarray  # str or None: why an image without a side is excluded
    is_clean: np.ndarray
    origin: str
    matrix: dict[str, dict[str, dict[str, int]]]  # before the repair: images of a split -> with relatives in another
    leaks: tuple[Leak, ...]
    n_leaked_before: int  # images of official validation and test with a twin closer to training, before the repair
    n_leaked: int  # likewise after it, of drawn ones too
    n_leaked_subjects: int  # images of validation and test whose subject is closer to training, after the repair
    n_units: int
    largest_unit: int


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
    """Keep the official splits if there are some, and repair them; draw what is missing, seeded; keep the sides of
    `previous`, unless it was drawn otherwise.

    Where a class would be without an image in train or test, that is one of the Ref's `failures`.
    Raises SourceError for an official split of unknown name or of some images only.
    """
    folder = workspace.folder(curation)
    images = read_images(folder / files.CURATION)
    near = groups.read(
        images, pq.read_table(workspace.folder(inspection) / files.PAIRS, columns=["first", "second", "kind"])
    )
    progress(1, 3, "near-twins and subjects joined")
    told, remembered = _told(None if previous is None else workspace.folder(previous), config)
    history = None if remembered is None else history_of(images, remembered)
    sources = json.loads((folder / "curation.json").read_bytes()).get("sources", {})
    made = divide(images, near, history, config, sources)
    progress(2, 3, "sides assigned")
    counts = _counts(made.sides, _label_codes(images), curation.classes)
    pq.write_table(_table(images, near, made), out / files.SPLIT, row_group_size=ROW_GROUP)
    pq.write_table(_remembered(images, made.sides, remembered), out / files.SIDES)
    excluded = Counter(each for each in made.reasons.tolist() if each is not None)
    ref = SplitRef(
        digest=digest(out),
        classes=curation.classes,
        counts=counts,
        origin=made.origin,
        n_clean={name: int((made.is_clean & (made.sides == side)).sum()) for side, name in enumerate(files.SPLITS)},
        excluded={reason: excluded[reason] for reason in sorted(excluded, key=lambda each: (-excluded[each], each))},
        leaks=made.leaks,
        n_leaked=made.n_leaked,
        n_leaked_subjects=made.n_leaked_subjects,
        n_kept_sides=_n_kept(made.sides, history),
        failures=(*_failures(made, config), *_lacking(counts)),
        warnings=_far_from_shares(made, config),
    )
    report = {
        "config": config.model_dump(mode="json"),
        "history": told,
        "matrix": made.matrix,
        "n_leaked_before": made.n_leaked_before,
        "n_units": made.n_units,
        "largest_unit": made.largest_unit,
    } | ref.model_dump(mode="json", exclude={"path", "digest"})
    (out / REPORT).write_text(json.dumps(report, indent=1))
    progress(3, 3, "images assigned")
    return ref


def digest(out: Path) -> str:
    """Of what images stand where; in which words it is told makes no other split."""
    files_made = "".join(disk.sha256(out / name) for name in (files.SPLIT, files.SIDES))
    return hashlib.sha256(files_made.encode()).hexdigest()


def read_images(path: Path) -> pa.Table:
    """The rows of a curation.parquet, sorted by image_id, without what is not needed here."""
    left_out = ("issues", "group")
    table = pq.read_table(path, columns=[each for each in pq.read_schema(path).names if each not in left_out])
    return table.sort_by("image_id")


def divide(
    images: pa.Table,
    near: groups.Relatives,
    history: assignment.History | None,
    config: SplitConfig,
    sources: Mapping[str, Mapping[str, int]],
) -> Division:
    """The side of each of `images` (data_contracts.curation.CURATION, by image_id); their order does not matter.

    `sources` says how many images of each source have a split, for the error if only some do. Raises SourceError.
    """
    action = pc.index_in(images["action"], value_set=pa.array(["keep", "drop", "quarantine"])).to_numpy()
    used, dropped = action < 2, action == 1
    label = _label_codes(images)
    reasons = np.full(len(images), None, object)
    official = np.full(len(images), assignment.NONE)
    if config.use_official and official_splits.are_complete(images, used, sources):
        official = official_splits.sides_of(images, used, config.official)
    repaired = (official != assignment.NONE).any()
    found = np.where(used, official, assignment.NONE)
    gone = dropped & ((found == assignment.TRAIN) if repaired else used)
    found[gone] = assignment.NONE
    reasons[gone] = pc.replace_substring(images["reason"].filter(pa.array(gone)), "_", " ").to_numpy()
    taken: assignment.Excluded = assignment.give_way(near, found) if repaired and config.leakage == "drop" else []
    lot = assignment.Lot(
        drawn=tuple(side for side in (assignment.VALIDATION, assignment.TEST) if not (found == side).any()),
        test_share=config.test_share,
        validation_share=config.validation_share,
        seed=config.seed,
    )
    if lot.drawn:
        pool = (found == assignment.TRAIN) if repaired else used & ~dropped
        drawn, left_out = assignment.draw(near, pool, found == assignment.NONE, label, history, lot)
        found[pool] = drawn[pool]
        taken += left_out
    for at, reason in taken:
        reasons[at] = reason
    around = near.around(assignment.bits(found))
    unit_sizes = np.unique(near.unit, return_counts=True)[1]
    return Division(
        sides=found,
        reasons=reasons,
        is_clean=_clean(near, found, np.where(used, official, assignment.NONE), dropped),
        origin=_origin(bool(repaired), lot.drawn),
        matrix=official_splits.matrix(near, official),
        leaks=official_splits.leaks(near, official),
        n_leaked_before=int(official_splits.closer(official, near.around(assignment.bits(official)).twins).sum()),
        n_leaked=int(official_splits.closer(found, around.twins).sum()),
        n_leaked_subjects=int(official_splits.closer(found, around.subject).sum()),
        n_units=len(unit_sizes),
        largest_unit=int(unit_sizes.max(initial=0)),
    )


def _label_codes(images: pa.Table) -> np.ndarray:
    return images["class_index"].to_numpy().astype(np.int64)


def _origin(official: bool, drawn: tuple[int, ...]) -> str:
    """`drawn`, `official`, or `official` and which of the splits are drawn all the same."""
    if not official:
        return "drawn"
    return ", ".join(["official", *(f"{files.SPLITS[side]} drawn" for side in sorted(drawn, reverse=True))])


def _clean(near: groups.Relatives, found: np.ndarray, official: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    """(N,) see data_contracts.split: no twin closer to training, excluded or not; the first of its twins; not dropped.

    The first is that with the smallest image_id among those connected, on this side, that may be clean at all.
    """
    leaked = official_splits.closer(found, near.around(assignment.bits(official)).twins) & (found == official)
    leaked |= official_splits.closer(found, near.around(assignment.bits(found)).twins)
    able = np.flatnonzero((found != assignment.NONE) & ~dropped & ~leaked)
    group = near.group[able] * len(files.SPLITS) + found[able]
    clean = np.zeros(len(found), bool)
    clean[able[np.unique(group, return_index=True)[1]]] = True
    return clean


def _told(folder: Path | None, config: SplitConfig) -> tuple[str, pa.Table | None]:
    """What is to be kept of the split in `folder` (data_contracts.split.SIDES), and a word about it."""
    if folder is None:
        return "none", None
    before = json.loads((folder / REPORT).read_bytes())["config"]
    others = [name for name in _DRAWING if before.get(name) != getattr(config, name)]
    if others:
        changes = ", ".join(f"{name} was {before.get(name)}" for name in others)
        return f"the last split was drawn otherwise: {changes}", None
    return "kept", pq.read_table(folder / files.SIDES)


def _remembered(images: pa.Table, found: np.ndarray, before: pa.Table | None) -> pa.Table:
    """Where the images stand, and of all others where they stood `before` (data_contracts.split.SIDES)."""
    used = found != assignment.NONE
    columns = [images["image_id"], images["pixel_sha256"], pa.array(files.SPLITS).take(pa.array(np.maximum(found, 0)))]
    now = pa.table(columns, schema=contract.SIDES).filter(pa.array(used))
    if before is None:
        return now
    is_here = pc.is_in(before["image_id"], value_set=now["image_id"].combine_chunks())
    return pa.concat_tables([now, before.filter(pc.invert(is_here))]).sort_by("image_id")


def history_of(images: pa.Table, before: pa.Table) -> assignment.History:
    """Where the `images` stood in the split `before` (image_id, pixel_sha256, split; none of them excluded).

    By their image_id, since identical images stood on two sides if leakage was kept; files that are new or were renamed
    by their pixels.
    """
    side = np.append(pc.index_in(before["split"], value_set=pa.array(files.SPLITS)).to_numpy(), assignment.NONE)
    by_id, by_pixels = (
        side[pc.index_in(images[name], value_set=before[name].combine_chunks()).fill_null(-1).to_numpy()]
        for name in ("image_id", "pixel_sha256")
    )
    return assignment.History(np.where(by_id == assignment.NONE, by_pixels, by_id), known=by_id != assignment.NONE)


def _n_kept(found: np.ndarray, history: assignment.History | None) -> int:
    return 0 if history is None else int(((found != assignment.NONE) & (found == history.side)).sum())


def _failures(made: Division, config: SplitConfig) -> tuple[str, ...]:
    if config.leakage != "stop":
        return ()
    found = {"a near-twin": made.n_leaked, "their subject": made.n_leaked_subjects}
    return tuple(
        f"{count:,} images of validation and test have {what} closer to training: policy stop"
        for what, count in found.items()
        if count
    )


def _counts(found: np.ndarray, label: np.ndarray, classes: tuple[str, ...]) -> dict[str, Counts]:
    return {
        name: dict(zip(classes, np.bincount(label[found == side], minlength=len(classes)).tolist(), strict=True))
        for side, name in enumerate(files.SPLITS)
    }


def _table(images: pa.Table, near: groups.Relatives, made: Division) -> pa.Table:
    named = pa.array([*files.SPLITS, contract.EXCLUDED]).take(pa.array(made.sides % (len(files.SPLITS) + 1)))
    columns = {
        "split": named,
        "reason": pa.array(made.reasons, pa.string()),
        "is_clean": pa.array(made.is_clean),
        "near_duplicates": near.near_duplicates(),
    }
    arrays = [columns[name] if name in columns else images[name] for name in contract.SCHEMA.names]
    in_use = pc.or_(pa.array(made.sides != assignment.NONE), columns["reason"].is_valid())
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


def _far_from_shares(made: Division, config: SplitConfig) -> tuple[str, ...]:
    """A line for each drawn split that holds far more or fewer images than its share."""
    wanted = {"test": config.test_share, "validation": config.validation_share}
    n_used = int((made.sides != assignment.NONE).sum())
    lines = []
    for name, share in wanted.items():
        n = int((made.sides == files.SPLITS.index(name)).sum())
        is_drawn = made.origin == "drawn" or f"{name} drawn" in made.origin
        if is_drawn and n_used * share >= _TOLD_FROM and not 1 / _FAR_OFF < n / (n_used * share) < _FAR_OFF:
            lines.append(
                f"{name} holds {n / n_used:.1%} of the images where {share:.1%} are wanted: the largest group of "
                f"near-twins and subjects, which stays together, has {made.largest_unit:,}"
            )
    return tuple(lines)
