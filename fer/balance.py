"""The balancing rule: each class gets as many augmented copies of its train images as it is short of the target.

Each source shard is read once and becomes its images and their copies, merged and shuffled. Its rows are already a
random sample of the split, so the result is as good as shuffled as a whole, and memory stays that of a shard.
"""

import errno
import hashlib
import json
import math
import os
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from data_contracts import files
from fer import augment as augmentation
from fer import parallel, refs, shard_checks, shards, stage
from fer import workspace as workspaces
from fer.progress import Progress

_SPLIT = "train"
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK, errno.ENOSYS)


class BalanceConfig(BaseModel):
    """How many images each class of the train split should have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: Literal["augment-to-target", "none"] = Field(
        default="augment-to-target",
        description="add augmented copies up to the target, or leave the classes as they are",
    )
    target: Literal["max", "median"] | int = Field(
        default="max", description="images a class: as many as the largest class, as the median class, or a number"
    )
    augment: augmentation.AugmentConfig = Field(
        default=augmentation.AugmentConfig(), description="how far a copy may be from its source"
    )
    seed: int = Field(default=0, ge=0, description="of the choice of sources, the copies and the order")

    @field_validator("target")
    @classmethod
    def _positive(cls, value: str | int) -> str | int:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be 'max', 'median' or a number over 0")
        return value


@dataclass(frozen=True)
class PlanRow:
    """A class has `has` images, is `needs` short of the target, and gets `gets` augmented ones.

    It gets what it needs, unless it has no image to augment.
    """

    class_name: str
    has: int
    needs: int
    gets: int


def plan(counts: Mapping[str, int], target: Literal["max", "median"] | int) -> tuple[PlanRow, ...]:
    """The rule, class by class: missing = max(target - has, 0); a class above the target keeps all it has."""
    present = [has for has in counts.values() if has]
    wanted = 0
    if isinstance(target, int):
        wanted = target
    elif present:
        wanted = max(present) if target == "max" else math.ceil(statistics.median(present))
    rows = []
    for class_name, has in counts.items():
        missing = max(wanted - has, 0)
        rows.append(PlanRow(class_name, has, missing, missing if has else 0))
    return tuple(rows)


@stage.stage("balance", resumable=True)
def balance(
    out: Path,
    source: refs.ShardsRef,
    config: BalanceConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> refs.ShardsRef:
    """Write balanced `train-*.parquet`, `plan.json` and the source's `preprocessing.json`.

    A copy's image_id is its source's with `+0`, `+1`, ... Shards already there are kept. Beside them `contract.json`
    and `data_docs/` say how the shards keep their contract. Raises ContractViolation.
    """
    folder = workspace.folder(source)
    rows = plan({each: source.counts[_SPLIT].get(each, 0) for each in source.classes}, config.target)
    if config.strategy == "none":
        rows = tuple(replace(row, gets=0) for row in rows)
        names = shards.names(folder, _SPLIT)
        summaries = []
        for done, name in enumerate(names, start=1):
            _pass_on(folder / name, out / name)
            summaries.append(shard_checks.summary(out / name, _SPLIT))
            progress(done, len(names), "shards passed on")
    else:
        work = list(_cut(folder, out, rows, source, config))
        ends = np.cumsum([0] + [each.n_images for each in work])
        done_work = parallel.map_ordered(
            _make_shards,
            work,
            progress=lambda n_done, _, note="": progress(int(ends[n_done]), int(ends[-1]), note),
            note="images balanced",
        )
        summaries = [summary for made in done_work for summary in made]
    counts = {_SPLIT: {row.class_name: row.has + row.gets for row in rows}}
    size = (source.height, source.width)
    shard_checks.check(out, "balanced shards", summaries, counts, source.classes, size)
    _write_plan(out, rows)
    workspaces.write_atomically(out / files.PREPROCESSING, (folder / files.PREPROCESSING).read_bytes())
    return refs.ShardsRef(
        classes=source.classes,
        height=source.height,
        width=source.width,
        counts=counts,
        mean=source.mean,
        std=source.std,
    )


@dataclass(frozen=True)
class _Share:
    """How a class's copies are spread: `each` of every source, one more of those with a digest up to `extra_up_to`."""

    each: int
    extra_up_to: str

    def replicas(self, digest: str) -> int:
        return self.each + (digest <= self.extra_up_to)


@dataclass(frozen=True)
class _ShardWork:
    """The source shard becomes `n_images` images in the shards `names` of `out`."""

    source: Path
    out: Path
    names: tuple[str, ...]
    n_images: int
    shares: tuple[_Share, ...]  # by class index
    config: BalanceConfig


def _cut(
    folder: Path, out: Path, rows: Sequence[PlanRow], source: refs.ShardsRef, config: BalanceConfig
) -> Iterator[_ShardWork]:
    """One piece of work a source shard."""
    names = shards.names(folder, _SPLIT)
    labels = [shards.read_labels(folder / name) for name in names]
    digests: list[list[str]] = [[] for _ in rows]
    for image_ids, class_indexes in labels:
        for image_id, class_index in zip(image_ids, class_indexes, strict=True):
            digests[class_index].append(_digest(config.seed, image_id))
    shares = tuple(_share(row.gets, found) for row, found in zip(rows, digests, strict=True))
    size = shards.images_that_fit(source.height, source.width)
    number = 0
    for name, (image_ids, class_indexes) in zip(names, labels, strict=True):
        n_images = sum(
            1 + shares[class_index].replicas(_digest(config.seed, image_id))
            for image_id, class_index in zip(image_ids, class_indexes, strict=True)
        )
        n_shards = math.ceil(n_images / size)
        made = tuple(shards.name(_SPLIT, each) for each in range(number, number + n_shards))
        number += n_shards
        yield _ShardWork(folder / name, out, made, n_images, shares, config)


def _share(gets: int, digests: list[str]) -> _Share:
    """Spread `gets` copies over the sources with these digests: the first in digest order get one more."""
    if not gets:
        return _Share(0, "")
    each, extra = divmod(gets, len(digests))
    return _Share(each, sorted(digests)[extra - 1] if extra else "")


def _digest(seed: int, image_id: str) -> str:
    return hashlib.sha256(f"{seed}\0{image_id}".encode()).hexdigest()


def _make_shards(work: _ShardWork) -> list[shard_checks.Summary]:
    """Write what becomes of one source shard; what is there and whole is kept. What they amount to."""
    source = shards.read(work.source)
    seed = work.config.seed
    rows: list[tuple[str, int, int | None]] = []  # image id, source row, replica (None: the source itself)
    for row, (image_id, class_index) in enumerate(zip(source.image_ids, source.class_indexes, strict=True)):
        rows.append((image_id, row, None))
        n_replicas = work.shares[class_index].replicas(_digest(seed, image_id))
        rows += [(f"{image_id}+{replica}", row, replica) for replica in range(n_replicas)]
    rows.sort(key=lambda each: hashlib.sha256(f"{seed}\0order\0{each[0]}".encode()).digest())
    for number, name in enumerate(work.names):
        piece = rows[len(rows) * number // len(work.names) : len(rows) * (number + 1) // len(work.names)]
        image_ids = [image_id for image_id, _, _ in piece]
        class_indexes = source.class_indexes[[row for _, row, _ in piece]]
        if shards.finished(work.out / name, image_ids, class_indexes) is None:
            pixels = np.empty((len(piece), *source.pixels.shape[1:]), np.uint8)
            for at, (_, row, replica) in enumerate(piece):
                image = source.pixels[row]
                if replica is not None:
                    chosen = augmentation.parameters(seed, source.image_ids[row], replica, work.config.augment)
                    image = augmentation.augment(image, chosen)
                pixels[at] = image
            shards.write(work.out / name, image_ids, class_indexes, pixels, source.classes)
    return [shard_checks.summary(work.out / name, _SPLIT, source) for name in work.names]


def _pass_on(source: Path, target: Path) -> None:
    """Give `source` a second name; copy it where the file system has no hard links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        aside = target.with_name(target.name + ".tmp")
        shutil.copyfile(source, aside)
        aside.replace(target)


def _write_plan(out: Path, rows: Sequence[PlanRow]) -> None:
    records = [{"class": row.class_name, "has": row.has, "needs": row.needs, "gets": row.gets} for row in rows]
    workspaces.write_atomically(out / "plan.json", json.dumps(records, indent=1).encode())
