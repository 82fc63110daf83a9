"""Encoded images to shards of grey (H, W) uint8 pixels, by a process pool over shards.

The rows of each split stand in the order of sha256(image_id), so that every shard is a random sample of its split.
A shard's encoded bytes therefore lie all over the index stage's Parquet parts, which can only be decoded in whole: the
parts are first copied, once, to an uncompressed Arrow file, whose memory map gives any row without reading the rest
(0.06 s for FER2013).
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, field_validator

from data_contracts import files
from fer import errors, images, parallel, refs, shard_checks, shards, stage
from fer import workspace as workspaces
from fer.progress import Progress

_ROWS = "rows.arrow.tmp"  # `.tmp`: the workspace removes what a killed attempt left of them
_ENCODED = "encoded.arrow.tmp"
_BATCH_IMAGES = 256
_PROBES = ((48, 48), (31, 40), (300, 260))  # (H, W): about as large as usual inputs, smaller and larger
_PROBE_TOLERANCE = 2  # grey levels: builds of OpenCV round differently


class PreprocessConfig(BaseModel):
    """How an encoded image becomes a model's input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    height: int = Field(default=48, ge=8, le=1_024, description="pixels, after resizing")
    width: int = Field(default=48, ge=8, le=1_024, description="pixels, after resizing")
    blur_kernel: int = Field(
        default=3, ge=0, le=31, description="side of the Gaussian blur's kernel in pixels, odd; 0: no blur"
    )
    blur_sigma: float = Field(
        default=0.0, ge=0, le=10, description="of the Gaussian blur, in pixels; 0: chosen from the kernel's size"
    )
    images_per_shard: int = Field(
        default=2_048, ge=1, le=4_096, description="at most; large images get fewer, 64 MiB of pixels a shard"
    )

    @field_validator("blur_kernel")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value and value % 2 == 0:
            raise ValueError("must be odd, or 0 for no blur")
        return value


class Preprocessing(BaseModel):
    """The content of `preprocessing.json`: what a model's input went through. `mean` and `std` are of 0-255 pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: PreprocessConfig
    classes: tuple[str, ...]
    height: int
    width: int
    mean: float
    std: float
    probe: tuple[int, ...] = Field(description="what `probe` gave when this was written")

    def is_kept(self) -> bool:
        """Whether this code still prepares images as it did then, but for rounding."""
        now = probe(self.config)
        return len(now) == len(self.probe) and max(map(abs, np.subtract(now, self.probe))) <= _PROBE_TOLERANCE


def probe(config: PreprocessConfig) -> tuple[int, ...]:
    """Some pixels of generated images after preprocessing: what tells one preprocessing code from another."""
    found: list[int] = []
    for height, width in _PROBES:
        rows, columns = np.mgrid[:height, :width]
        pattern = ((rows * 5) ^ (columns * 3)).astype(np.uint8)
        prepared = prepare_encoded(images.encode_png(pattern), config)
        found += prepared[:: max(1, config.height // 8), :: max(1, config.width // 8)].ravel().tolist()
    return tuple(found)


def load_record(folder: Path) -> Preprocessing:
    """Read `preprocessing.json` from a folder of shards or of a model."""
    return Preprocessing.model_validate_json((folder / files.PREPROCESSING).read_bytes())


def prepare_encoded(data: bytes, config: PreprocessConfig) -> np.ndarray:
    """Encoded image to a model's input, (H, W) uint8: for training and for prediction alike.

    Raises images.UndecodableImage.
    """
    return images.prepare(images.decode(data), config.height, config.width, config.blur_kernel, config.blur_sigma)


@stage.stage("preprocess", resumable=True)
def preprocess(
    out: Path,
    manifest: refs.ManifestRef,
    split: refs.SplitRef,
    config: PreprocessConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> refs.ShardsRef:
    """Write `{split}-*.parquet` of each split's images and `preprocessing.json`. Shards already there are kept.

    Beside them `contract.json` and `data_docs/` say how the shards keep their contract.
    Raises SourceError without train images, IntegrityError for bytes that can't be decoded any more, ContractViolation.
    """
    rows = _rows_in_order(workspace.folder(split) / files.SPLIT)
    per_split = {each: int(pc.sum(pc.equal(rows["split"], each)).as_py() or 0) for each in files.SPLITS}
    if not per_split["train"]:
        raise errors.SourceError(
            "The train split must hold images.",
            received=f"images per split: {per_split}",
            todo="check the source's split folders and the split settings",
        )
    work = list(_cut(out, per_split, split.classes, config))
    try:
        _spool(out, workspace.folder(manifest) / files.IMAGES, rows)
        ends = np.cumsum([0] + [each.stop - each.start for each in work])
        done = parallel.map_ordered(
            _make_shard,
            work,
            progress=lambda n_shards, _, note="": progress(int(ends[n_shards]), rows.num_rows, note),
            note="images prepared",
        )
    finally:
        for spooled in out.glob("*.arrow.tmp"):
            spooled.unlink()
    summaries = [summary for summary, _ in done]
    size = (config.height, config.width)
    shard_checks.check(out, "shards", summaries, split.counts, split.classes, size)
    sums = sum((each for item, (_, each) in zip(work, done, strict=True) if item.split == "train"), Sums())
    record = Preprocessing(
        config=config,
        classes=split.classes,
        height=config.height,
        width=config.width,
        mean=sums.mean,
        std=sums.std,
        probe=probe(config),
    )
    workspaces.write_atomically(out / files.PREPROCESSING, record.model_dump_json(indent=1).encode())
    return refs.ShardsRef(
        classes=split.classes,
        height=config.height,
        width=config.width,
        counts=shard_checks.counts(summaries, split.classes, files.SPLITS),
        mean=sums.mean,
        std=sums.std,
    )


def _rows_in_order(path: Path) -> pa.Table:
    """The rows of all splits, each split's in the order of sha256(image_id)."""
    rows = pq.read_table(path, columns=["image_id", "class_index", "split", "part", "row"])
    rows = rows.filter(pc.is_in(rows["split"], pa.array(files.SPLITS)))
    keys = [
        (files.SPLITS.index(split), hashlib.sha256(image_id.encode()).digest())
        for split, image_id in zip(rows["split"].to_pylist(), rows["image_id"].to_pylist(), strict=True)
    ]
    return rows.take(pa.array(sorted(range(len(keys)), key=keys.__getitem__), pa.int64()))


@dataclass(frozen=True)
class Sums:
    """Exact sums over pixels, in Python's integers: merged in any order they give the same mean and std."""

    n: int = 0
    total: int = 0
    squares: int = 0

    @classmethod
    def of(cls, pixels: np.ndarray) -> "Sums":
        """The sums over (N, H, W) uint8."""
        total = squares = 0
        for chunk in np.array_split(
            pixels, max(1, math.ceil(pixels.size / 2**20))
        ):  # the squares take twice the memory
            total += int(chunk.sum(dtype=np.uint64))
            squares += int(np.square(chunk, dtype=np.uint16).sum(dtype=np.uint64))
        return cls(pixels.size, total, squares)

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        return self.total / self.n

    @property
    def std(self) -> float:
        return math.sqrt((self.n * self.squares - self.total**2) / self.n**2)


@dataclass(frozen=True)
class _ShardWork:
    """Rows `start` to `stop` of the spooled rows become the shard `name` in `out`."""

    out: Path
    name: str
    split: str
    start: int
    stop: int
    classes: tuple[str, ...]
    config: PreprocessConfig


def _cut(
    out: Path, per_split: dict[str, int], classes: tuple[str, ...], config: PreprocessConfig
) -> Iterator[_ShardWork]:
    size = shards.images_that_fit(config.height, config.width, config.images_per_shard)
    start = 0
    for split, n_images in per_split.items():
        end = start + n_images
        for number, first in enumerate(range(start, end, size)):
            last = min(first + size, end)
            yield _ShardWork(out, shards.name(split, number), split, first, last, classes, config)
        start = end


def _spool(out: Path, parts: Path, rows: pa.Table) -> None:
    """Copy the encoded bytes of the parts that `rows` are in, and the rows with their place among these bytes."""
    numbers = rows["part"].to_numpy()
    places = rows["row"].to_numpy().astype(np.int64)
    n_spooled = 0
    schema = pa.schema([("data", pa.binary())])
    with pa.ipc.new_file(out / _ENCODED, schema) as file:
        for number in np.unique(numbers):
            places[numbers == number] += n_spooled
            with pq.ParquetFile(parts / files.part(number)) as part:
                for batch in part.iter_batches(_BATCH_IMAGES, columns=["data"], use_threads=False):
                    file.write_batch(batch.cast(schema))
                    n_spooled += batch.num_rows
    rows = rows.select(["image_id", "class_index"]).append_column("place", pa.array(places)).combine_chunks()
    with pa.ipc.new_file(out / _ROWS, rows.schema) as file:
        file.write_table(rows)


def _spooled(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _make_shard(work: _ShardWork) -> tuple[shard_checks.Summary, Sums]:
    """Write one shard, or keep it if it is there and whole; what it amounts to."""
    rows = _spooled(work.out / _ROWS).slice(work.start, work.stop - work.start)
    image_ids = rows["image_id"].to_pylist()
    class_indexes = rows["class_index"].to_numpy()
    path = work.out / work.name
    kept = shards.finished(path, image_ids, class_indexes)
    if kept is None:
        pixels = _prepared(work, rows)
        shards.write(path, image_ids, class_indexes, pixels, work.classes)
    else:
        pixels = kept.pixels
    return shard_checks.summary(path, work.split), Sums.of(pixels)


def _prepared(work: _ShardWork, rows: pa.Table) -> np.ndarray:
    """The model's inputs of `rows`, (N, H, W) uint8."""
    pixels = np.empty((rows.num_rows, work.config.height, work.config.width), np.uint8)
    encoded = _spooled(work.out / _ENCODED)["data"]
    places = rows["place"].to_numpy()
    for at in np.argsort(places):  # the disk is read in one direction
        try:
            pixels[at] = prepare_encoded(encoded[int(places[at])].as_py(), work.config)
        except images.UndecodableImage as error:
            raise errors.IntegrityError(
                "An accepted image must be decodable.",
                received=f"{rows['image_id'][int(at)]}: {error}",
                todo="remove the index stage's output and run the same command again",
            ) from error
    return pixels
