"""Encoded images to shards of grey (H, W) uint8 pixels, shard by shard.

The images of each split fill shards in the order of image_id, which is a hash: every shard is a random sample of its
split. Shards that an earlier output has are reused (see `incremental`): of a dataset that grows, only what is new is
decoded. Nothing here grows with the data except some bytes per image.
"""

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_contracts import files
from fer import errors
from fer.curation.refs import SplitRef
from fer.engine import disk, runners, stage
from fer.engine import workspace as workspaces
from fer.images import decode
from fer.ingest import image_files
from fer.ingest.refs import ManifestRef
from fer.progress import Progress
from fer.shards import checks, incremental, parquet, preprocessing, summary
from fer.shards.preprocessing import PreprocessConfig
from fer.shards.refs import ShardsRef
from fer.shards.summary import ShardSummary


@stage.stage("preprocess", resumable=True)
def preprocess(
    out: Path,
    manifest: ManifestRef,
    split: SplitRef,
    config: PreprocessConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
    runner: runners.Runner,
) -> ShardsRef:
    """Write `{split}-*.parquet` of each split's images and `preprocessing.json`. Shards already there are reused.

    Beside them `contract.json` and `data_docs/` report the contract. The digest is that of the images, in whatever
    shards they are.
    Raises SourceError without train images, IntegrityError for bytes that can't be decoded any more, ContractViolation.
    """
    per_split = {name: sum(split.counts.get(name, {}).values()) for name in files.SPLITS}
    if not per_split["train"]:
        raise errors.SourceError(
            "The train split must hold images.",
            received=f"images per split: {per_split}",
            todo="check the source's split folders and the split settings",
        )
    rows = workspace.folder(split) / files.SPLIT
    per_shard = parquet.images_that_fit(config.height, config.width, config.images_per_shard)
    made_by = "\n".join([preprocess.code(config), config.model_dump_json(), *split.classes])
    reuse = incremental.plan_reuse(workspace, rows, made_by, per_shard, out)
    try:
        new = runner.run(
            _make_shard,
            _work_items(
                incremental.plan_shards(rows, reuse, per_shard), workspace.folder(manifest), split.classes, config
            ),
            place=runners.Place(workspace, (manifest, *reuse.inputs), out),
            n_images=sum(per_split.values()) - reuse.n_linked,
            progress=progress,
            text="images prepared",
        )
    finally:
        vars(_buffers).clear()
    summaries = sorted([*reuse.linked, *new], key=lambda shard: shard.name)
    incremental.remove_other_shards(out, summaries)
    size = (config.height, config.width)
    checks.check(out, "shards", summaries, split.counts, split.classes, size)
    sums = sum((Sums.of(shard) for shard in summaries if shard.split == "train"), Sums())
    record = preprocessing.Preprocessing(
        config=config,
        classes=split.classes,
        height=config.height,
        width=config.width,
        mean=sums.mean,
        std=sums.std,
        probe=preprocessing.probe(config),
        detector=preprocessing.detector(config),
    )
    record_json = record.model_dump_json(indent=1).encode()
    disk.write(out / files.PREPROCESSING, record_json)
    incremental.write_summaries(out, summaries, made_by)
    return ShardsRef(
        digest=summary.digest(summaries, record_json),
        classes=split.classes,
        height=config.height,
        width=config.width,
        counts=summary.counts(summaries, split.classes, files.SPLITS),
        mean=sums.mean,
        std=sums.std,
    )


@dataclass(frozen=True)
class Sums:
    """Exact sums over pixels, in Python's integers: merged in any order they give the same mean and std."""

    n: int = 0
    total: int = 0
    squares: int = 0

    @classmethod
    def of(cls, shard: ShardSummary) -> "Sums":
        """The sums over the pixels of a shard."""
        return cls(len(shard.ids) * shard.height * shard.width, shard.total, shard.squares)

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """Of the pixels, 0-255."""
        return self.total / self.n

    @property
    def std(self) -> float:
        """Standard deviation of the pixels, 0-255."""
        return math.sqrt((self.n * self.squares - self.total**2) / self.n**2)


@dataclass(frozen=True)
class _WorkItem:
    """The shard to be made by `plan`. `spans` (N, 2) int64 says where the encoded bytes lie in their part's file."""

    plan: incremental.ShardPlan
    spans: np.ndarray
    classes: tuple[str, ...]
    config: PreprocessConfig

    @property
    def names(self) -> tuple[str, ...]:
        """The file of the shard."""
        return (self.plan.name,)

    @property
    def n_images(self) -> int:
        """How many images the shard has."""
        return len(self.plan.image_ids)


def _work_items(
    plans: Iterable[incremental.ShardPlan], manifest: Path, classes: tuple[str, ...], config: PreprocessConfig
) -> Iterator[_WorkItem]:
    spans: dict[int, np.ndarray] = {}  # of the images of each part
    for plan in plans:
        plan_spans = np.zeros((len(plan.image_ids), 2), np.int64)
        is_encoded = plan.source < 0
        for part in np.unique(plan.parts[is_encoded]).tolist():
            if part not in spans:
                spans[part] = image_files.spans(manifest / files.IMAGES / files.image_part(part))
            rows = is_encoded & (plan.parts == part)
            plan_spans[rows] = spans[part][plan.rows[rows]]
        yield _WorkItem(plan, plan_spans, classes, config)


def _make_shard(folders: runners.Folders, item: _WorkItem) -> ShardSummary:
    """Write one shard, or keep it if it is there and whole, and sum it up."""
    plan = item.plan
    path = folders.out / plan.name
    image_ids = plan.image_ids.to_pylist()
    shard = parquet.finished(path, image_ids, plan.class_indexes)
    if shard is None:
        shard = parquet.Shard(image_ids, plan.class_indexes, _prepared(folders.inputs, item), item.classes)
        parquet.write(path, shard.image_ids, shard.class_indexes, shard.pixels, shard.classes)
    return summary.summarise(path, plan.split, shard)


_buffers = threading.local()  # a Dask worker may have several threads


def _buffer(n_bytes: int) -> np.ndarray:
    """(n_bytes,) uint8, the same memory in each call: to allocate new memory takes longer than to fill it."""
    buffer: np.ndarray | None = getattr(_buffers, "pixels", None)
    if buffer is None or len(buffer) < n_bytes:
        buffer = _buffers.pixels = np.empty(n_bytes, np.uint8)
    return buffer[:n_bytes]


def _prepared(folders: Sequence[Path], item: _WorkItem) -> np.ndarray:
    """The inputs of a shard, (N, H, W) uint8, until the next call; `folders` are of manifest and earlier shards."""
    plan = item.plan
    pixels = _buffer(len(plan.image_ids) * item.config.height * item.config.width)
    pixels = pixels.reshape(-1, item.config.height, item.config.width)
    for source in np.unique(plan.source[plan.source >= 0]).tolist():
        rows = np.flatnonzero(plan.source == source)
        pixels[rows] = parquet.read(folders[1] / plan.sources[source]).pixels[plan.source_row[rows]]
    is_encoded = plan.source < 0
    for part in np.unique(plan.parts[is_encoded]).tolist():
        rows = np.flatnonzero(is_encoded & (plan.parts == part))
        encoded = image_files.read(folders[0] / files.IMAGES / files.image_part(part), item.spans[rows])
        for row, data in zip(rows.tolist(), encoded, strict=True):
            try:
                preprocessing.prepare_encoded(data, item.config, pixels[row])
            except decode.UndecodableImage as error:
                raise errors.IntegrityError(
                    "An accepted image must be decodable.",
                    received=f"{plan.image_ids[row]}: {error}",
                    todo="remove the index stage's output and run the same command again",
                ) from error
    return pixels
