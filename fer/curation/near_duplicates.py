"""Duplicates: pairs of images that show one photograph, by their thumbnails' grey levels.

Identical images by their contents; near ones by the correlation of their thumbnails as they are; shifted and mirrored
ones by the correlation of the parts that they share once they are aligned (`probes` proposes pairs, `alignment`
measures them).

For near ones all pairs are compared, by an exact bound first. For x, y centred and of unit length, and any orthonormal
basis of a few components, x·y = low·low + rest·rest <= low·low + |rest||rest| (Cauchy-Schwarz): the coordinates in the
basis and the length of the rest bound the correlation from above, so that no pair is lost. The basis is near the
principal components of the images; 31 to 63 of them take about the same time. Of 34,034 distinct images of FER2013 it
leaves 1 pair in 14,000 to be compared in full, and all pairs are found in 1/16 of the time of the plain product
(benchmarks/quality.py).

Cost: n² / 2 products of 48 numbers for near ones, about 1 s for 36 thousand images on 2 cores; over a minute for
shifted and mirrored ones, and estimated from that most of a day for a million. Memory: a few 10 MB and 6 kB per image
beside the thumbnails.
"""

import concurrent.futures
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from data_contracts import curation
from fer import errors
from fer.curation import alignment, principal_components, probes
from fer.engine.processes import process_pool
from fer.images import framings
from fer.progress import Progress, silent

T = TypeVar("T")

_ROWS, _COLUMNS = 512, 2048  # of a tile of products: 4 MB, which stay in the cache
_PREPARED_AT_ONCE = 4_096  # images
_COMPARED_AT_ONCE = 1_024  # pairs
_SLACK = 1e-3  # far above what float32 rounds off, of images of hardly any contrast too
_MAX_PAIRS = 5_000_000  # a few GB once `groups` holds them; FER2013 has 4 thousand


@dataclass(frozen=True)
class Pairs:
    """Row k: the images at `first[k]` < `second[k]` (int64) are duplicates of this `kind`, a number in
    data_contracts.curation.KINDS (int64), and `correlation` (float32). Sorted by first and second.
    """

    first: np.ndarray
    second: np.ndarray
    kind: np.ndarray
    correlation: np.ndarray


_IDENTICAL, _NEAR, _SHIFTED, _MIRRORED = range(len(curation.KINDS))


def find(
    thumbnails: np.ndarray,
    contents: Sequence[str],
    correlation: float,
    aligned: float | None = None,
    progress: Progress = silent,
) -> Pairs:
    """The duplicates among `thumbnails`, (n, pixels) uint8: from this `correlation` (Pearson's) on as they are, and
    from `aligned` on once one is moved, zoomed, turned or mirrored; None: such pairs are not looked for.

    Of images of equal `contents` (their pixels' digests) the first stands for all: it is paired with each of them, with
    correlation 1, and it alone with others. So 1,000 copies make 999 pairs, not half a million (see `groups.of_rows`).
    An image whose thumbnail is of one grey correlates with nothing, and is paired with its copies alone.
    Of near ones the result is the same on any machine: which pairs are compared depends on float32, which of them are
    near-duplicates on whole numbers alone. Of the others it depends on real numbers where an alignment ends within a
    hair of another step of its grid.
    Raises SourceError if there are more than 5 million pairs.
    """
    seen: dict[str, int] = {}
    stands_for = np.array([seen.setdefault(content, at) for at, content in enumerate(contents)], dtype=np.int64)
    copies = np.flatnonzero(stands_for != np.arange(len(stands_for)))
    parts = [(stands_for[copies], copies, np.full(len(copies), _IDENTICAL), np.ones(len(copies)))]
    chosen = np.flatnonzero(stands_for == np.arange(len(stands_for)))
    chosen = chosen[principal_components.has_contrast(thumbnails)[chosen]]
    n_pairs = len(copies)

    def count(n_more: int) -> None:
        nonlocal n_pairs
        n_pairs += n_more
        if n_pairs > _MAX_PAIRS:
            raise errors.SourceError(
                f"A dataset must have {_MAX_PAIRS:,} pairs of duplicates at most.",
                received=f"more among {len(contents):,} images at a correlation of {correlation} and above",
                todo="raise inspect.near_duplicate_correlation: nearly all images look alike",
            )

    for first, second, measured in _blocks(thumbnails, chosen, correlation, progress):
        parts.append((first, second, np.full(len(first), _NEAR), measured))
        count(len(first))
    if aligned is not None:
        codes = [first * len(contents) + second for first, second, _, _ in parts[1:]]
        near = np.concatenate([np.empty(0, np.int64), *codes])
        for part in _aligned(thumbnails, chosen, near, aligned, progress):
            parts.append(part)
            count(len(part[0]))
    first, second, kind, measured = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((second, first))
    return Pairs(first[order], second[order], kind[order], measured[order].astype(np.float32))


def _aligned(
    thumbnails: np.ndarray, chosen: np.ndarray, known: np.ndarray, correlation: float, progress: Progress
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """The shifted and mirrored pairs among `chosen` rows, (smaller, larger, kind, correlation), a batch per probe.

    Those that are `known`, as smaller * n + larger, are left out, and each comes once: from the first probe that leads
    to an alignment in which it correlates.
    """
    n = len(thumbnails)
    # Where the window is of one grey there is nothing to align; of 48 pixels the outer ones alone are then not.
    seen = chosen[principal_components.has_contrast(alignment.windows(thumbnails[chosen]))]
    aligner = alignment.Aligner(thumbnails[seen].reshape(len(seen), alignment.SIDE, alignment.SIDE))
    for number, candidates in enumerate(_ahead(probes.search(thumbnails[seen])), start=1):
        first, second = seen[candidates.first], seen[candidates.second]
        new = np.flatnonzero(~np.isin(first * n + second, known))
        view = framings.PROBES[candidates.probe]
        measured = aligner.align(
            candidates.first[new], candidates.second[new], candidates.mirrored[new], view
        ).correlation
        fits = measured >= correlation
        at = new[fits]
        yield first[at], second[at], np.where(candidates.mirrored[at], _MIRRORED, _SHIFTED), measured[fits]
        known = np.concatenate([known, first[at] * n + second[at]])
        progress(number, len(framings.PROBES), "near-duplicates that are moved or mirrored")


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, of which the next one is made while one is worked with."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def correlations(thumbnails: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pearson's correlation, float64, of the thumbnails at `one[k]` and `other[k]`, none of them of one grey.

    All sums are of whole numbers below 2^53, so that no order of adding changes a bit.
    """
    n = thumbnails.shape[1]
    measured = np.empty(len(one))
    for start in range(0, len(one), _COMPARED_AT_ONCE):
        at = slice(start, start + _COMPARED_AT_ONCE)
        x, y = thumbnails[one[at]].astype(np.float64), thumbnails[other[at]].astype(np.float64)
        sum_x, sum_y = x.sum(axis=1), y.sum(axis=1)
        both = n * np.einsum("ij,ij->i", x, y) - sum_x * sum_y
        own_x = n * np.einsum("ij,ij->i", x, x) - sum_x**2
        own_y = n * np.einsum("ij,ij->i", y, y) - sum_y**2
        measured[at] = both / (np.sqrt(own_x) * np.sqrt(own_y))
    return measured


def _blocks(
    thumbnails: np.ndarray, chosen: np.ndarray, correlation: float, progress: Progress
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The pairs among `chosen` rows, (smaller, larger, correlation): of _ROWS rows with all later ones at a time."""
    import threadpoolctl

    n = len(chosen)

    def block(top: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        parts = []
        n_pairs = 0
        for left in range(top, n, _COLUMNS):
            bound = described[top : top + _ROWS] @ columns[:, left : left + _COLUMNS]
            row, column = np.divmod(np.flatnonzero(bound >= correlation - _SLACK), bound.shape[1])
            later = column + left > row + top
            one, other = chosen[row[later] + top], chosen[column[later] + left]
            measured = correlations(thumbnails, one, other)
            near = measured >= correlation
            parts.append((one[near], other[near], measured[near]))
            n_pairs += int(near.sum())
            if n_pairs > _MAX_PAIRS:  # the caller gives up
                break
        one, other, measured = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return one, other, measured

    # A thread per core, each with BLAS of one thread: on busy cores several threads to one product wait for each other.
    threads = concurrent.futures.ThreadPoolExecutor(process_pool.usable_cores())
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        described = _described(thumbnails, chosen)  # (n, components + 1) float32
        columns = np.ascontiguousarray(described.T)
        try:
            for done, pairs in enumerate(threads.map(block, range(0, n, _ROWS)), start=1):
                yield pairs
                progress(min(done * _ROWS, n), n, "near-duplicates")
        finally:
            threads.shutdown(cancel_futures=True)


def _described(thumbnails: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Each chosen thumbnail's coordinates in the basis and the length of the rest, (n, components + 1) float32."""
    if not len(chosen):
        return np.empty((0, 1), np.float32)
    basis = principal_components.basis(thumbnails, chosen)
    described = np.empty((len(chosen), basis.shape[1] + 1), np.float32)
    for start in range(0, len(chosen), _PREPARED_AT_ONCE):
        at = slice(start, start + _PREPARED_AT_ONCE)
        low = principal_components.normalised(thumbnails[chosen[at]]) @ basis
        described[at, :-1] = low
        described[at, -1] = np.sqrt(np.maximum(0, 1 - np.einsum("ij,ij->i", low, low)))
    return described
