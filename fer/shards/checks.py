"""Shards against their contract, by what stands on the disk once they are written.

A shard is summed up where it was made, in a pool's worker, its labels by what stands on the disk; what comes back is a
Summary of a few kilobytes, so that memory grows by 12 bytes an image.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import xxhash

from data_contracts import shards as contract
from fer import errors
from fer.engine import contracts
from fer.engine.refs import Counts
from fer.images import properties
from fer.shards import parquet

_AT_ONCE_BYTES = 2**20  # of pixels, which stay in the processor's cache while all is asked of them
_SHARD = pa.schema(
    [("shard", pa.string()), ("split", pa.string()), ("has_classes", pa.bool_())]
    + [(name, pa.int64()) for name in ("height", "width", "n_images", "n_bytes", "n_repeated", "n_flat")]
    + [(name, pa.int64()) for name in ("lowest_class", "highest_class")]
)
_COPIES = pa.schema(
    [("shard", pa.string())] + [(name, pa.int64()) for name in ("n_copies", "n_without_source", "n_of_other_class")]
)


class Copies(NamedTuple):
    """How many augmented images a shard holds, and how many of these are not what they should be."""

    n_copies: int
    n_without_source: int
    n_of_other_class: int


@dataclass(frozen=True)
class Summary:
    """What a shard on the disk amounts to.

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
    """The hashes of `Summary.ids`."""
    return np.array([xxhash.xxh3_64_intdigest(each.encode()) for each in image_ids], np.uint64)


def summary(path: Path, split: str, found: parquet.Shard, source: parquet.Shard | None = None) -> Summary:
    """What the shard at `path` of `split` amounts to, which was read from there or just written there as `found`.

    Its labels are read back. `source` is the shard whose images and their copies it holds, if any.
    Raises IntegrityError if it can't be read or has other labels.
    """
    image_ids, class_indexes = parquet.read_labels(path)
    ids = id_hashes(image_ids)
    if image_ids != found.image_ids or not np.array_equal(class_indexes, found.class_indexes):
        raise errors.IntegrityError(
            f"The shard {path.name} must hold what was written.",
            received="other labels",
            todo="look after the disk, then run the same command again",
        )
    total = squares = n_flat = content = 0
    n_images, height, width = found.pixels.shape
    for start in range(0, n_images, max(1, _AT_ONCE_BYTES // (height * width))):
        here = slice(start, start + max(1, _AT_ONCE_BYTES // (height * width)))
        pixels = found.pixels[here]
        sums = properties.sums(pixels)
        total, squares = total + sums[0], squares + sums[1]
        n_flat += int((pixels.max(axis=(1, 2)) == pixels.min(axis=(1, 2))).sum())
        content += _content(ids[here], class_indexes[here], pixels)
    return Summary(
        name=path.name,
        split=split,
        classes=found.classes,
        height=height,
        width=width,
        n_bytes=path.stat().st_size,
        n_flat=n_flat,
        total=total,
        squares=squares,
        content=content % 2**128,
        ids=ids,
        class_indexes=class_indexes,
        copies=None if source is None else _copies(found, source),
    )


def _content(ids: np.ndarray, class_indexes: np.ndarray, pixels: np.ndarray) -> int:
    """The sum of the images' hashes, each begun from that of its ID and its class."""
    begun = (ids ^ (class_indexes.astype(np.uint64) << 32)).tolist()
    return sum(map(xxhash.xxh3_128_intdigest, pixels, begun))


def digest(summaries: Sequence[Summary], about: bytes) -> str:
    """SHA-256 (hex) of what the shards hold, and of `about`; how the images are ordered and cut changes nothing."""
    found = hashlib.sha256(about)
    for split in sorted({each.split for each in summaries}):
        here = [each for each in summaries if each.split == split]
        content = sum(each.content for each in here) % 2**128
        found.update(f"\0{split}\0{sum(len(each.ids) for each in here)}\0{content:032x}".encode())
    return found.hexdigest()


def _copies(found: parquet.Shard, source: parquet.Shard) -> Copies:
    classes = dict(zip(source.image_ids, source.class_indexes.tolist(), strict=True))
    copies = [
        (classes.get(image_id.rpartition("+")[0]), class_index)
        for image_id, class_index in zip(found.image_ids, found.class_indexes.tolist(), strict=True)
        if "+" in image_id
    ]
    known = [(of_source, own) for of_source, own in copies if of_source is not None]
    return Copies(len(copies), len(copies) - len(known), sum(of_source != own for of_source, own in known))


def counts(summaries: Sequence[Summary], classes: Sequence[str], splits: Sequence[str]) -> dict[str, Counts]:
    """Split -> class -> images that the shards hold."""
    found = {each: np.zeros(len(classes), np.int64) for each in splits}
    for each in summaries:
        within = (each.class_indexes >= 0) & (each.class_indexes < len(classes))
        found[each.split] += np.bincount(each.class_indexes[within], minlength=len(classes))
    return {split: dict(zip(classes, per_class.tolist(), strict=True)) for split, per_class in found.items()}


def check(
    out: Path,
    dataset: str,
    summaries: Sequence[Summary],
    promised: Mapping[str, Counts],
    classes: tuple[str, ...],
    size: tuple[int, int],
) -> None:
    """Hold the shards in `out` of images of `size` (height, width) against their contract; see `contracts.check`.

    `promised` is split -> class -> images. Raises ContractViolation.
    """
    found = counts(summaries, classes, list(promised))
    rows = {
        "shards": pa.Table.from_pylist(_shards(summaries, classes), _SHARD),
        "splits": pa.table({"split": list(found), "n_images": [sum(each.values()) for each in found.values()]}),
        "counts": pa.Table.from_pylist(
            [
                {"split": split, "label": label, "n_images": n, "n_promised": promised[split].get(label, 0)}
                for split, per_class in found.items()
                for label, n in per_class.items()
            ]
        ),
    }
    copies = [{"shard": each.name} | each.copies._asdict() for each in summaries if each.copies is not None]
    if copies:
        rows["copies"] = pa.Table.from_pylist(copies, _COPIES)
    names = {"counts": lambda row: f"{row['label']} in {row['split']}", "splits": lambda row: str(row["split"])}
    height, width = size
    rules = [each for each in contract.rules(classes, height=height, width=width) if each.frame in rows]
    frames = {name: contracts.Frame(table, names.get(name, _shard_name)) for name, table in rows.items()}
    contracts.check(out, dataset, frames, rules)


def _shard_name(row: dict[str, Any]) -> str:
    return str(row["shard"])


def _shards(summaries: Sequence[Summary], classes: tuple[str, ...]) -> list[dict[str, Any]]:
    repeated = _repeated(summaries)
    return [
        {
            "shard": each.name,
            "split": each.split,
            "has_classes": each.classes == classes,
            "height": each.height,
            "width": each.width,
            "n_images": len(each.class_indexes),
            "n_bytes": each.n_bytes,
            "n_repeated": n_repeated,
            "n_flat": each.n_flat,
            "lowest_class": int(each.class_indexes.min()) if len(each.class_indexes) else None,
            "highest_class": int(each.class_indexes.max()) if len(each.class_indexes) else None,
        }
        for each, n_repeated in zip(summaries, repeated, strict=True)
    ]


def _repeated(summaries: Sequence[Summary]) -> list[int]:
    """Of each shard, how many rows have an image_id that another row, of any shard, has too."""
    ids = np.sort(np.concatenate([each.ids for each in summaries])) if summaries else np.empty(0, np.uint64)
    several = np.unique(ids[1:][ids[1:] == ids[:-1]])
    return [int(np.isin(each.ids, several).sum()) if len(several) else 0 for each in summaries]
