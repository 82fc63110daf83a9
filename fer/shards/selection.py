"""Some images of a split: which ones, and their pixels a batch at a time."""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np

from fer.shards import parquet


def choose(image_ids: Iterable[str], at_most: int, seed: int) -> list[str]:
    """At most so many of the images, sorted, by hashes of the seed and their ids: nearly the same ones of a split that
    grew."""

    def rank(image_id: str) -> bytes:
        return hashlib.sha256(f"{seed}\0{image_id}".encode()).digest()

    return sorted(sorted(image_ids, key=rank)[:at_most])


def image_ids(folder: Path, split: str) -> list[str]:
    """The ids of a split's images, in the shards' order. Raises IntegrityError."""
    return [image_id for name in parquet.names(folder, split) for image_id in parquet.read_labels(folder / name)[0]]


def batches(folder: Path, split: str, chosen: Collection[str], at_once: int) -> Iterator[parquet.Shard]:
    """The chosen images of a split in the shards' order, `at_once` at a time: memory stays flat, however large it is.

    Raises IntegrityError.
    """
    chosen = frozenset(chosen)
    held: list[parquet.Shard] = []
    n_held = 0
    for group in parquet.row_groups(folder, split):
        for part in parquet.slices(group, at_once):
            held.append(_rows(part, np.flatnonzero([image_id in chosen for image_id in part.image_ids])))
            n_held += len(held[-1].image_ids)
            if n_held >= at_once:
                joined = _joined(held)
                yield _rows(joined, np.arange(at_once))
                held, n_held = [_rows(joined, np.arange(at_once, n_held))], n_held - at_once
    if n_held:
        yield _joined(held)


def _rows(shard: parquet.Shard, rows: np.ndarray) -> parquet.Shard:
    return parquet.Shard(
        [shard.image_ids[row] for row in rows], shard.class_indexes[rows], shard.pixels[rows], shard.classes
    )


def _joined(parts: list[parquet.Shard]) -> parquet.Shard:
    return parquet.Shard(
        [image_id for part in parts for image_id in part.image_ids],
        np.concatenate([part.class_indexes for part in parts]),
        np.concatenate([part.pixels for part in parts]),
        parts[0].classes,
    )
