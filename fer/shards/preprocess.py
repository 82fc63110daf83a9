"""Encoded images to shards of grey (H, W) uint8 pixels, shard by shard.

The images of each split are cut in shards in the order of image_id, which is a hash: every shard is a random sample of
its split. Shards that an earlier output has are kept (see `incremental`): of a dataset that grows, only what is new is
decoded. Nothing here grows with the data but some bytes an image.
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
from fer.shards import checks as shard_checks
from fer.shards import incremental, parquet, preprocessing
from fer.shards.preprocessing import PreprocessConfig
from fer.shards.refs import ShardsRef


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
    """Write `{split}-*.parquet` of each split's images and `preprocessing.json`. Shards already there are kept.

    Beside them `contract.json` and `data_docs/` say how the shards keep their contract. The digest is that of the
    images, however they are cut in shards.
    Raises SourceError without train images, IntegrityError for bytes that can't be decoded any more, ContractViolation.
    """
    per_split = {each: sum(split.counts.get(each, {}).values()) for each in files.SPLITS}
    if not per_split["train"]:
        raise errors.SourceError(
            "The train split must hold images.",
            received=f"images per split: {per_split}",
            todo="check the source's split folders and the split settings",
        )
    rows = workspace.folder(split) / files.SPLIT
    per_shard = parquet.images_that_fit(config.height, config.width, config.images_per_shard)
    made_by = "\n".join([preprocess.code, config.model_dump_json(), *split.classes])
    kept = incremental.keep(workspace, rows, made_by, per_shard, out)
    try:
        made = runner.run(
            _make_shard,
            _pieces(incremental.cuts(rows, kept, per_shard), workspace.folder(manifest), split.classes, config),
            inputs=(manifest, *kept.inputs),
            out=out,
            workspace=workspace,
            n_images=sum(per_split.values()) - kept.n_linked,
            progress=progress,
            note="images prepared",
        )
    finally:
        vars(_kept).clear()
    summaries = sorted([*kept.linked, *made], key=lambda each: each.name)
    incremental.remove_others(out, summaries)
    size = (config.height, config.width)
    shard_checks.check(out, "shards", summaries, split.counts, split.classes, size)
    sums = sum((Sums.of(each) for each in summaries if each.split == "train"), Sums())
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
    told = record.model_dump_json(indent=1).encode()
    disk.write(out / files.PREPROCESSING, told)
    incremental.remember(out, summaries, made_by)
    return ShardsRef(
        digest=shard_checks.digest(summaries, told),
        classes=split.classes,
        height=config.height,
        width=config.width,
        counts=shard_checks.counts(summaries, split.classes, files.SPLITS),
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
    def of(cls, shard: shard_checks.Summary) -> "Sums":
        """The sums over the pixels of a shard."""
        return cls(len(shard.ids) * shard.height * shard.width, shard.total, shard.squares)

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        return self.total / self.n

    @property
    def std(self) -> float:
        return math.sqrt((self.n * self.squares - self.total**2) / self.n**2)


@dataclass(frozen=True)
class _Piece:
    """The shard to be made of `cut`. `spans` (N, 2) int64 says where the encoded bytes lie in their part's file."""

    cut: incremental.Cut
    spans: np.ndarray
    classes: tuple[str, ...]
    config: PreprocessConfig

    @property
    def names(self) -> tuple[str, ...]:
        return (self.cut.name,)

    @property
    def n_images(self) -> int:
        return len(self.cut.image_ids)


def _pieces(
    cuts: Iterable[incremental.Cut], manifest: Path, classes: tuple[str, ...], config: PreprocessConfig
) -> Iterator[_Piece]:
    spans: dict[int, np.ndarray] = {}  # of the images of each part
    for cut in cuts:
        here = np.zeros((len(cut.image_ids), 2), np.int64)
        is_encoded = cut.kept_in < 0
        for part in np.unique(cut.parts[is_encoded]).tolist():
            if part not in spans:
                spans[part] = image_files.spans(manifest / files.IMAGES / files.encoded(part))
            rows = is_encoded & (cut.parts == part)
            here[rows] = spans[part][cut.rows[rows]]
        yield _Piece(cut, here, classes, config)


def _make_shard(folders: runners.Folders, piece: _Piece) -> shard_checks.Summary:
    """Write one shard, or keep it if it is there and whole; what it amounts to."""
    cut = piece.cut
    path = folders.out / cut.name
    image_ids = cut.image_ids.to_pylist()
    found = parquet.finished(path, image_ids, cut.class_indexes)
    if found is None:
        found = parquet.Shard(image_ids, cut.class_indexes, _prepared(folders.inputs, piece), piece.classes)
        parquet.write(path, found.image_ids, found.class_indexes, found.pixels, found.classes)
    return shard_checks.summary(path, cut.split, found)


_kept = threading.local()  # a Dask worker may have several threads


def _room(n_bytes: int) -> np.ndarray:
    """(n_bytes,) uint8, the same memory in each call: to get new memory takes longer than to fill it."""
    room: np.ndarray | None = getattr(_kept, "room", None)
    if room is None or len(room) < n_bytes:
        room = _kept.room = np.empty(n_bytes, np.uint8)
    return room[:n_bytes]


def _prepared(folders: Sequence[Path], piece: _Piece) -> np.ndarray:
    """The inputs of a piece, (N, H, W) uint8, until the next call; `folders` are of manifest and earlier shards."""
    cut = piece.cut
    pixels = _room(len(cut.image_ids) * piece.config.height * piece.config.width)
    pixels = pixels.reshape(-1, piece.config.height, piece.config.width)
    for source in np.unique(cut.kept_in[cut.kept_in >= 0]).tolist():
        rows = np.flatnonzero(cut.kept_in == source)
        pixels[rows] = parquet.read(folders[1] / cut.sources[source]).pixels[cut.kept_at[rows]]
    is_encoded = cut.kept_in < 0
    for part in np.unique(cut.parts[is_encoded]).tolist():
        rows = np.flatnonzero(is_encoded & (cut.parts == part))
        found = image_files.read(folders[0] / files.IMAGES / files.encoded(part), piece.spans[rows])
        for row, data in zip(rows.tolist(), found, strict=True):
            try:
                preprocessing.prepare_encoded(data, piece.config, pixels[row])
            except decode.UndecodableImage as error:
                raise errors.IntegrityError(
                    "An accepted image must be decodable.",
                    received=f"{cut.image_ids[row]}: {error}",
                    todo="remove the index stage's output and run the same command again",
                ) from error
    return pixels
