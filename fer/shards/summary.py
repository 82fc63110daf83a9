"""What a shard on the disk holds, in a few kilobytes.

A shard is summed up where it was made, in a worker, its labels by what is on the disk; only the summary comes back, so
that memory grows by 12 bytes per image.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xxhash

from fer import errors
from fer.engine.refs import Counts
from fer.images import properties
from fer.shards import parquet

_AT_ONCE_BYTES = 2**20  # of pixels, which stay in the processor's cache while all is asked of them


class Copies(NamedTuple):
    """How many augmented images a shard holds, and how many of these are not what they should be."""

    n_copies: int
    n_without_source: int
    n_of_other_class: int


@dataclass(frozen=True)
class ShardSummary:
    """What a shard on the disk holds.

    `ids` are 64-bit hashes of its image IDs, (N,) uint64: of a million images two hash alike by chance once in 40
    million times. `class_indexes` is (N,) int32. `content` is the sum, modulo 2^128, of 128-bit hashes of each image
    with its ID and class, whatever their order (a multiset hash; Clarke et al., ASIACRYPT 2003). `total` and `squares`
    are the sums over all pixels.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    height: int
    width: int
    n_bytes: int
    n_flat: int
    total: int
    squares: int
    content: int
    ids: np.ndarray
    class_indexes: np.ndarray
    copies: Copies | None


def id_hashes(image_ids: Sequence[str]) -> np.ndarray:
    """The hashes of `ShardSummary.ids`, (N,) uint64."""
    return np.array([xxhash.xxh3_64_intdigest(image_id.encode()) for image_id in image_ids], np.uint64)


def summarise(path: Path, split: str, shard: parquet.Shard, source: parquet.Shard | None = None) -> ShardSummary:
    """Sum up the `shard` of `split` that was read from `path` or just written there.

    Its labels are read back. `source` is the shard whose images and their copies it holds, if any.
    Raises IntegrityError if it can't be read or has other labels.
    """
    image_ids, class_indexes = parquet.read_labels(path)
    ids = id_hashes(image_ids)
    if image_ids != shard.image_ids or not np.array_equal(class_indexes, shard.class_indexes):
        raise errors.IntegrityError(
            f"The shard {path.name} must hold what was written.",
            received="other labels",
            todo="look after the disk, then run the same command again",
        )
    total = squares = n_flat = content = 0
    n_images, height, width = shard.pixels.shape
    for start in range(0, n_images, max(1, _AT_ONCE_BYTES // (height * width))):
        here = slice(start, start + max(1, _AT_ONCE_BYTES // (height * width)))
        pixels = shard.pixels[here]
        sums = properties.sums(pixels)
        total, squares = total + sums[0], squares + sums[1]
        n_flat += int((pixels.max(axis=(1, 2)) == pixels.min(axis=(1, 2))).sum())
        content += _content(ids[here], class_indexes[here], pixels)
    return ShardSummary(
        name=path.name,
        split=split,
        classes=shard.classes,
        height=height,
        width=width,
        n_bytes=path.stat().st_size,
        n_flat=n_flat,
        total=total,
        squares=squares,
        content=content % 2**128,
        ids=ids,
        class_indexes=class_indexes,
        copies=None if source is None else _copies(shard, source),
    )


def _content(ids: np.ndarray, class_indexes: np.ndarray, pixels: np.ndarray) -> int:
    """The sum of the images' hashes, each begun from that of its ID and its class."""
    begun = (ids ^ (class_indexes.astype(np.uint64) << 32)).tolist()
    return sum(map(xxhash.xxh3_128_intdigest, pixels, begun))


def digest(summaries: Sequence[ShardSummary], about: bytes) -> str:
    """SHA-256 (hex) of what the shards hold, and of `about`; how the images are ordered and cut changes nothing."""
    sha256 = hashlib.sha256(about)
    for split in sorted({summary.split for summary in summaries}):
        of_split = [summary for summary in summaries if summary.split == split]
        content = sum(summary.content for summary in of_split) % 2**128
        sha256.update(f"\0{split}\0{sum(len(summary.ids) for summary in of_split)}\0{content:032x}".encode())
    return sha256.hexdigest()


def _copies(shard: parquet.Shard, source: parquet.Shard) -> Copies:
    classes = dict(zip(source.image_ids, source.class_indexes.tolist(), strict=True))
    copies = [
        (classes.get(image_id.rpartition("+")[0]), class_index)
        for image_id, class_index in zip(shard.image_ids, shard.class_indexes.tolist(), strict=True)
        if "+" in image_id
    ]
    known = [(of_source, own) for of_source, own in copies if of_source is not None]
    return Copies(len(copies), len(copies) - len(known), sum(of_source != own for of_source, own in known))


def counts(summaries: Sequence[ShardSummary], classes: Sequence[str], splits: Sequence[str]) -> dict[str, Counts]:
    """Split -> class -> images that the shards hold."""
    by_split = {split: np.zeros(len(classes), np.int64) for split in splits}
    for summary in summaries:
        class_indexes = summary.class_indexes
        is_known = (class_indexes >= 0) & (class_indexes < len(classes))
        by_split[summary.split] += np.bincount(class_indexes[is_known], minlength=len(classes))
    return {split: dict(zip(classes, per_class.tolist(), strict=True)) for split, per_class in by_split.items()}
