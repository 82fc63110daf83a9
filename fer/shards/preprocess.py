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
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from data_contracts import files
from fer import errors
from fer.curation.refs import SplitRef
from fer.engine import disk, runners, stage
from fer.engine import workspace as workspaces
from fer.images import decode, encode, faces, prepare
from fer.ingest import image_files
from fer.ingest.refs import ManifestRef
from fer.progress import Progress
from fer.shards import checks as shard_checks
from fer.shards import incremental, parquet
from fer.shards.refs import ShardsRef

_Contrast = prepare.Contrast  # by its module it could not be named below a field of the same name
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
    contrast: _Contrast = Field(
        default="none",
        description="evened out after resizing: over the whole image (equalise), or within limits tile by tile (clahe)",
    )
    face: faces.Cut = Field(
        default="whole",
        description="what is taken of an image: all of it, its largest face (crop), or that turned until the eyes are "
        "level (align); all of it where no face is found",
    )
    face_margin: float = Field(
        default=0.1, ge=0, le=1, description="around a face framed as FER2013's are, as a fraction of its side"
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
    detector: str | None = Field(default=None, description="what found the faces that were cut out; null if none were")

    def is_kept(self) -> bool:
        """Whether this code still prepares images as it did then, but for rounding."""
        if self.detector != detector(self.config):
            return False
        now = probe(self.config)
        return len(now) == len(self.probe) and max(map(abs, np.subtract(now, self.probe))) <= _PROBE_TOLERANCE


def detector(config: PreprocessConfig) -> str | None:
    """What finds the faces that are cut out by this config; None if none are."""
    return None if config.face == "whole" else faces.DETECTOR


def probe(config: PreprocessConfig) -> tuple[int, ...]:
    """Some pixels of generated images after preprocessing: what tells one preprocessing code from another."""
    found: list[int] = []
    for height, width in _PROBES:
        rows, columns = np.mgrid[:height, :width]
        pattern = ((rows * 5) ^ (columns * 3)).astype(np.uint8)
        prepared = prepare_encoded(encode.png(pattern), config)
        found += prepared[:: max(1, config.height // 8), :: max(1, config.width // 8)].ravel().tolist()
    return tuple(found)


def load_record(folder: Path) -> Preprocessing:
    """Read `preprocessing.json` from a folder of shards or of a model. Raises IntegrityError."""
    path = folder / files.PREPROCESSING
    try:
        return Preprocessing.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise errors.IntegrityError(
            f"{files.PREPROCESSING} must be such as this version of the project can read.",
            received=f"{' '.join(str(each) for each in (path, *first['loc']))}: {first['msg']}",
            todo="use the version of this project that made it, or retrain under another name: --name NAME",
        ) from error


def prepare_encoded(data: bytes, config: PreprocessConfig, out: np.ndarray | None = None) -> np.ndarray:
    """Encoded image to a model's input, (H, W) uint8, in `out` if it is given: for training and prediction alike.

    Raises decode.UndecodableImage.
    """
    return prepare_pixels(faces.cut_out(decode.decode(data), config.face, config.face_margin), config, out)


def prepare_pixels(image: np.ndarray, config: PreprocessConfig, out: np.ndarray | None = None) -> np.ndarray:
    """What was taken of an image, grey (H, W) uint8, to a model's input, (H, W) uint8, in `out` if it is given."""
    return prepare.prepare(
        image, config.height, config.width, config.blur_kernel, config.blur_sigma, config.contrast, out
    )


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
    record = Preprocessing(
        config=config,
        classes=split.classes,
        height=config.height,
        width=config.width,
        mean=sums.mean,
        std=sums.std,
        probe=probe(config),
        detector=detector(config),
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


def _make_shard(place: runners.Place, piece: _Piece) -> shard_checks.Summary:
    """Write one shard, or keep it if it is there and whole; what it amounts to."""
    cut = piece.cut
    path = place.out / cut.name
    image_ids = cut.image_ids.to_pylist()
    found = parquet.finished(path, image_ids, cut.class_indexes)
    if found is None:
        found = parquet.Shard(image_ids, cut.class_indexes, _prepared(place.inputs, piece), piece.classes)
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
                prepare_encoded(data, piece.config, pixels[row])
            except decode.UndecodableImage as error:
                raise errors.IntegrityError(
                    "An accepted image must be decodable.",
                    received=f"{cut.image_ids[row]}: {error}",
                    todo="remove the index stage's output and run the same command again",
                ) from error
    return pixels
