"""Balancing: how many images each class of the train split shall have, and the shards that have them.

Every image of a class is there as often as any other, or once more; which images are is decided by (seed, image id)
alone. Source shards are read one at a time, and their images and copies are merged and shuffled; memory stays that of a
shard. A shard's rows are a random sample of the split or, where it grew, of what was added at one time.
"""

import functools
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import xxhash
from pydantic import Field, field_validator

from data_contracts import files
from fer.engine import disk, outputs, runners, stage
from fer.engine import workspace as workspaces
from fer.engine.records import Record
from fer.images import augment as augmentation
from fer.progress import Progress
from fer.shards import checks, incremental, parquet, summary
from fer.shards.refs import ShardsRef
from fer.shards.summary import ShardSummary

_SPLIT = "train"
_COPIES_AT_ONCE = 256

Strategy = Literal["undersample", "augment-to-target", "oversample", "class-weights", "none"]


class BalanceConfig(Record):
    """How many images each class of the train split should have, and how they come to it."""

    strategy: Strategy | tuple[Strategy, ...] = Field(
        default="augment-to-target",
        description="one or several: augment-to-target (augmented copies up to the target) or oversample (unchanged "
        "copies), undersample (a class over the target keeps a random part), class-weights (rare classes count more "
        "in the loss), or none",
    )
    target: Literal["auto", "max", "median", "min"] | int = Field(
        default="auto",
        description="images per class: as many as the largest, the median or the smallest class, or a number; auto: "
        "max where classes are filled up, min where they are cut, median where both",
    )
    max_growth: float | None = Field(
        default=None,
        ge=1,
        allow_inf_nan=False,
        description="a class is filled up to this many times its size at most; empty: no limit",
    )
    augment: augmentation.AugmentConfig = Field(
        default=augmentation.AugmentConfig(), description="how far an augmented copy may be from its source"
    )
    seed: int = Field(default=0, ge=0, description="of the choice of images, the copies and the order")

    @field_validator("strategy")
    @classmethod
    def _compatible(cls, value: Strategy | tuple[Strategy, ...]) -> Strategy | tuple[Strategy, ...]:
        """One name, or several in the order of their work."""
        chosen = {value} if isinstance(value, str) else set(value)
        if not chosen:
            raise ValueError("must name a strategy; 'none' leaves the classes as they are")
        if "none" in chosen and len(chosen) > 1:
            raise ValueError("'none' leaves the classes as they are, so it can't go with another strategy")
        if {"augment-to-target", "oversample"} <= chosen:
            raise ValueError("'augment-to-target' and 'oversample' both fill the classes up: only one of them can")
        ordered = tuple(strategy for strategy in get_args(Strategy) if strategy in chosen)
        return ordered if len(ordered) > 1 else ordered[0]

    @field_validator("target")
    @classmethod
    def _positive(cls, value: str | int) -> str | int:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be 'auto', 'max', 'median', 'min' or a number over 0")
        return value

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """The strategies in the order of their work."""
        return (self.strategy,) if isinstance(self.strategy, str) else self.strategy

    @property
    def fills_up(self) -> bool:
        """Whether classes under the target get copies."""
        return not {"augment-to-target", "oversample"}.isdisjoint(self.strategies)

    @property
    def cuts_down(self) -> bool:
        """Whether classes over the target lose images."""
        return "undersample" in self.strategies


@dataclass(frozen=True)
class PlanRow:
    """A class has `has` images and is `needs` short of the target; it loses `loses` and gets `gets` copies.

    In the loss each of its images counts `weight`; the mean over all images is 1.
    """

    class_name: str
    has: int
    needs: int
    loses: int = 0
    gets: int = 0
    weight: float = 1.0

    @property
    def becomes(self) -> int:
        """How many images the class has after balancing."""
        return self.has - self.loses + self.gets

    def record(self) -> dict[str, str | int | float]:
        """The row of the balance plan as it is shown and written: column -> value."""
        counts = {"has": self.has, "needs": self.needs, "loses": self.loses, "gets": self.gets}
        return {"class": self.class_name} | counts | {"becomes": self.becomes, "weight": self.weight}


def plan(source: ShardsRef, config: BalanceConfig) -> tuple[PlanRow, ...]:
    """The balance plan: a row per class of the train split, in the order of the classes.

    A class without images gets none. Weights are the inverses of the classes' shares after all else.
    """
    counts = [source.counts[_SPLIT].get(label, 0) for label in source.classes]
    target = _target([count for count in counts if count], config)
    rows = []
    for class_name, has in zip(source.classes, counts, strict=True):
        reached = target if config.max_growth is None else math.floor(min(target, has * config.max_growth))
        rows.append(
            PlanRow(
                class_name,
                has,
                needs=max(target - has, 0),
                loses=max(has - target, 0) if config.cuts_down else 0,
                gets=max(reached - has, 0) if config.fills_up and has else 0,
            )
        )
    if "class-weights" not in config.strategies:
        return tuple(rows)
    n_images, n_classes = sum(row.becomes for row in rows), sum(row.becomes > 0 for row in rows)
    return tuple(replace(row, weight=n_images / (n_classes * row.becomes)) if row.becomes else row for row in rows)


def title(config: BalanceConfig) -> str:
    """The title of the table of the balance plan."""
    return f"train images by class, {' + '.join(config.strategies)}, target {config.target}"


def table(rows: Sequence[PlanRow]) -> list[dict[str, str | int | float]]:
    """The balance plan as it is shown: a record per class, and their sum."""
    sums = {name: sum(getattr(row, name) for row in rows) for name in ("has", "needs", "loses", "gets", "becomes")}
    mean = sum(row.weight * row.becomes for row in rows) / max(sums["becomes"], 1)
    return [*(row.record() for row in rows), {"class": "all", **sums, "weight": mean}]


def _target(counts: Sequence[int], config: BalanceConfig) -> int:
    """Images per class, given the `counts` of the classes that have any."""
    if isinstance(config.target, int):
        return config.target
    rule = config.target
    if rule == "auto":
        rule = ("median" if config.fills_up else "min") if config.cuts_down else "max"
    if not counts:
        return 0
    return {"max": max(counts), "median": math.ceil(statistics.median(counts)), "min": min(counts)}[rule]


@stage.stage("balance", resumable=True)
def balance(
    out: Path,
    source: ShardsRef,
    config: BalanceConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
    runner: runners.Runner,
) -> ShardsRef:
    """Write balanced `train-*.parquet`, `plan.json` and the source's `preprocessing.json`.

    A copy's image_id is its source's with `+0`, `+1`, ... Shards already there are kept. Beside them `contract.json`
    and `data_docs/` report the contract. The digest is that of the images and weights, in whatever shards they are.
    Raises ContractViolation.
    """
    folder = workspace.folder(source)
    rows = plan(source, config)
    run = functools.partial(
        runner.run,
        place=runners.Place(workspace, (source,), out),
        n_images=sum(row.becomes for row in rows),
        progress=progress,
        text="images balanced",
    )
    if all(row.becomes == row.has for row in rows):
        by_item = run(_summaries, _link_all(folder, out))
    else:
        by_item = run(_make_shards, _work_items(folder, rows, source, config))
    summaries = [shard for item_summaries in by_item for shard in item_summaries]
    incremental.remove_other_shards(out, summaries)
    counts = {_SPLIT: {row.class_name: row.becomes for row in rows}}
    size = (source.height, source.width)
    checks.check(out, "balanced shards", summaries, counts, source.classes, size)
    disk.write(out / "plan.json", json.dumps([row.record() for row in rows], indent=1).encode())
    preprocessing = (folder / files.PREPROCESSING).read_bytes()
    disk.write(out / files.PREPROCESSING, preprocessing)
    weights = {row.class_name: row.weight for row in rows} if "class-weights" in config.strategies else {}
    return ShardsRef(
        digest=summary.digest(summaries, preprocessing + json.dumps(weights).encode()),
        classes=source.classes,
        height=source.height,
        width=source.width,
        counts=counts,
        mean=source.mean,
        std=source.std,
        class_weights=weights,
    )


class _Repeats(NamedTuple):
    """How often an image shall be there, by class index: `times`, and once more if its key is under `more_below`.

    `times` is (classes,) int64, `more_below` (classes,) uint64.
    """

    times: np.ndarray
    more_below: np.ndarray

    def of(self, keys: np.ndarray, class_indexes: np.ndarray) -> np.ndarray:
        """(N,) int64 of images with these keys, (N,) uint64."""
        return self.times[class_indexes] + (keys < self.more_below[class_indexes])


@dataclass(frozen=True)
class _WorkItem:
    """The source shards `sources` become `n_images` images in the shards `names`."""

    sources: tuple[str, ...]
    names: tuple[str, ...]
    n_images: int
    repeats: _Repeats
    config: BalanceConfig


@dataclass(frozen=True)
class _Linked:
    """The source shard `source` is in the output as it is, and nothing is left to be written."""

    source: str
    n_images: int
    names: tuple[str, ...] = ()


def _link_all(folder: Path, out: Path) -> Iterator[_Linked]:
    """Give all shards in `folder` a second name in `out`."""
    record = outputs.read_record(folder)
    for name in parquet.names(folder, _SPLIT):
        outputs.link(folder, name, out, name, record)
        yield _Linked(name, len(parquet.read_labels(folder / name)[0]))


def _summaries(folders: runners.Folders, item: _Linked) -> list[ShardSummary]:
    path = folders.inputs[0] / item.source
    return [summary.summarise(path, _SPLIT, parquet.read(path))]


def _work_items(folder: Path, rows: Sequence[PlanRow], source: ShardsRef, config: BalanceConfig) -> Iterator[_WorkItem]:
    """A work item per source shard, or per as many consecutive small ones as together fit one output shard."""
    names = parquet.names(folder, _SPLIT)
    repeats, sizes = _repeats(folder, names, rows, config.seed)
    at_most = parquet.images_that_fit(source.height, source.width)
    first = n_shards = 0
    while first < len(names):
        last = first + 1
        while last < len(names) and sum(sizes[first : last + 1]) <= at_most:
            last += 1
        n_images = sum(sizes[first:last])
        numbers = range(n_shards, n_shards + math.ceil(n_images / at_most))
        if numbers:
            out_names = tuple(parquet.name(_SPLIT, number) for number in numbers)
            yield _WorkItem(tuple(names[first:last]), out_names, n_images, repeats, config)
        first, n_shards = last, n_shards + len(numbers)


def _repeats(folder: Path, names: Sequence[str], rows: Sequence[PlanRow], seed: int) -> tuple[_Repeats, list[int]]:
    """How often each class's images shall be there, and how many images each of the source's shards then gives."""
    labels = []
    for name in names:
        image_ids, class_indexes = parquet.read_labels(folder / name)
        labels.append((_keys(f"{seed}", image_ids), class_indexes))
    repeats = _Repeats(np.zeros(len(rows), np.int64), np.zeros(len(rows), np.uint64))
    for class_index, row in enumerate(rows):
        class_keys = np.concatenate([keys[class_indexes == class_index] for keys, class_indexes in labels])
        if len(class_keys):
            repeats.times[class_index], n_more = divmod(row.becomes, len(class_keys))
            repeats.more_below[class_index] = np.partition(class_keys, n_more)[n_more]
    return repeats, [int(repeats.of(keys, class_indexes).sum()) for keys, class_indexes in labels]


def _keys(salt: str, image_ids: Sequence[str]) -> np.ndarray:
    """A random number of 64 bits for each image, (N,) uint64: the same for the same salt and ID."""
    return np.array([xxhash.xxh3_64_intdigest(f"{salt}\0{image_id}".encode()) for image_id in image_ids], np.uint64)


def _make_shards(folders: runners.Folders, item: _WorkItem) -> list[ShardSummary]:
    """Write the shards of a work item, keep those that are there and whole, and sum them up."""
    seed = item.config.seed
    source, times = _repeated([folders.inputs[0] / name for name in item.sources], item)
    rows = np.repeat(np.arange(len(times)), times)
    replicas = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times) - 1  # -1: the image itself
    image_ids = [
        source.image_ids[row] + (f"+{replica}" if replica >= 0 else "")
        for row, replica in zip(rows.tolist(), replicas.tolist(), strict=True)
    ]
    order = np.argsort(_keys(f"{seed}\0order", image_ids), kind="stable")
    summaries = []
    for name, chosen in zip(item.names, np.array_split(order, len(item.names)), strict=True):
        path = folders.out / name
        chosen_ids = [image_ids[row] for row in chosen]
        class_indexes = source.class_indexes[rows[chosen]]
        shard = parquet.finished(path, chosen_ids, class_indexes)
        if shard is None:
            pixels = _pixels(source, rows[chosen], replicas[chosen], item.config)
            shard = parquet.Shard(chosen_ids, class_indexes, pixels, source.classes)
            parquet.write(path, shard.image_ids, shard.class_indexes, shard.pixels, shard.classes)
        summaries.append(summary.summarise(path, _SPLIT, shard, source))
    return summaries


def _repeated(paths: Sequence[Path], item: _WorkItem) -> tuple[parquet.Shard, np.ndarray]:
    """The images of the shards at `paths` that stay, in one shard, and how often each is repeated, (N,) int64."""
    shards: list[parquet.Shard] = []
    times: list[np.ndarray] = []
    for path in paths:
        shard = parquet.read(path)
        shard_times = item.repeats.of(_keys(f"{item.config.seed}", shard.image_ids), shard.class_indexes)
        if not shard_times.all():
            rows = np.flatnonzero(shard_times)
            image_ids = [shard.image_ids[row] for row in rows]
            shard = replace(
                shard, image_ids=image_ids, class_indexes=shard.class_indexes[rows], pixels=shard.pixels[rows]
            )
        shards.append(shard)
        times.append(shard_times[shard_times > 0])
    if len(shards) == 1:
        return shards[0], times[0]
    joined = parquet.Shard(
        [image_id for shard in shards for image_id in shard.image_ids],
        np.concatenate([shard.class_indexes for shard in shards]),
        np.concatenate([shard.pixels for shard in shards]),
        shards[0].classes,
    )
    return joined, np.concatenate(times)


def _pixels(source: parquet.Shard, rows: np.ndarray, replicas: np.ndarray, config: BalanceConfig) -> np.ndarray:
    """The images of `source`'s `rows`, (N, H, W) uint8; augmented where they are copies and shall be."""
    pixels = source.pixels[rows]
    if "augment-to-target" in config.strategies:
        copies = np.flatnonzero(replicas >= 0)
        for batch in np.split(copies, range(_COPIES_AT_ONCE, len(copies), _COPIES_AT_ONCE)):
            image_ids = [source.image_ids[row] for row in rows[batch]]
            size = pixels.shape[1:]
            draws = augmentation.draw(config.seed, image_ids, replicas[batch].tolist(), config.augment, *size)
            pixels[batch] = augmentation.apply(pixels[batch], draws)
    return pixels
