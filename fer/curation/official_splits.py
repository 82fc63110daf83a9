"""The splits that a source comes with: what they are called, and what leaks between them."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from data_contracts import files
from data_contracts.curation import KINDS
from fer import errors
from fer.curation import assignment, groups
from fer.curation.refs import Leak
from fer.ingest import archives


def are_complete(images: pa.Table, used: np.ndarray, sources: Mapping[str, Mapping[str, int]]) -> bool:
    """Whether the images `used` (N,) bool have splits, all of them. Raises SourceError if only some have.

    `sources` says how many images of each source have one.
    """
    n_with = int((images["raw_split"].is_valid().to_numpy() & used).sum())
    n_without = int(used.sum()) - n_with
    if not n_with:
        return False
    if n_without:
        by_source = "; ".join(
            f"{name}: {counts['with_split']:,} with, {counts['without_split']:,} without"
            for name, counts in sources.items()
        )
        raise errors.SourceError(
            "Every image of a source with splits must have one.",
            received=f"{n_with:,} images with a split and {n_without:,} without"
            + (f" ({by_source})" if len(sources) > 1 else ""),
            todo="put every image into a split folder, or draw the splits anew: --set split.use_official=false",
        )
    return True


def numbered(raw_splits: pa.ChunkedArray, names: Mapping[str, str]) -> np.ndarray:
    """(N,) a number from 1 on for each split of the source, 0 for none. `names` (in lower case -> ours) says which are
    one; those that it does not know are told apart by themselves.
    """
    code, raw = groups.factorize(raw_splits)
    ours = [names.get(name.lower(), f"{name}?") for name in raw.to_pylist()]
    numbers = {name: number for number, name in enumerate(sorted(set(ours)), start=1)}
    return np.array([*(numbers[name] for name in ours), 0])[code]


def splits_of(images: pa.Table, used: np.ndarray, names: Mapping[str, str]) -> np.ndarray:
    """The official split of each image, (N,) int64, see `assignment`.

    Raises SourceError for a split of an image in use that is not in `names`.
    """
    code, raw = groups.factorize(images["raw_split"])
    ours = [names.get(name.lower()) for name in raw.to_pylist()]
    unknown = {name: int(((code == at) & used).sum()) for at, name in enumerate(raw.to_pylist()) if ours[at] is None}
    refused = sorted(((-count, name) for name, count in unknown.items() if count))[:5]
    if refused:
        raise errors.SourceError(
            f"The source's splits must be known: {', '.join(sorted(names))}.",
            received=", ".join(f"{archives.quoted(name)} ({-count:,} images)" for count, name in refused),
            todo="set split.official for it, or split.use_official=false to draw the splits anew",
        )
    numbers = (assignment.NONE if name is None else files.SPLITS.index(name) for name in ours)
    return np.array([*numbers, assignment.NONE])[code]


def matrix(links: groups.DuplicateGroups, official: np.ndarray) -> dict[str, dict[str, dict[str, int]]]:
    """Of each official split, how many images have a duplicate or their subject in each other one: `duplicates`, of
    these by the closest kind `identical`, `near`, `shifted` and `mirrored`, and `subject`.
    """
    if (official == assignment.NONE).all():
        return {}
    linked = links.linked_bits(assignment.bits(official))

    def counted(split: int, other: int) -> dict[str, int]:
        has = {
            kind: (official == split) & (getattr(linked, kind) & (1 << other) > 0)
            for kind in ("duplicates", *KINDS, "subject")
        }
        counts = {kind: int(has[kind].sum()) for kind in ("duplicates", "subject")}
        has_closer = np.zeros(len(official), bool)
        for kind in KINDS:
            counts[kind] = int((has[kind] & ~has_closer).sum())
            has_closer |= has[kind]
        return counts

    return {
        name: {other: counted(split, at) for at, other in enumerate(files.SPLITS) if at != split}
        for split, name in enumerate(files.SPLITS)
    }


def leaks(links: groups.DuplicateGroups, official: np.ndarray) -> tuple[Leak, ...]:
    """Of validation and test, as the source has them, the images with a duplicate in train. (In FER2013 280 PublicTest
    and 288 PrivateTest images are identical to one in Training.)
    """
    counts = matrix(links, official)
    return tuple(
        Leak(split=name, **{kind: counts[name]["train"][kind] for kind in ("duplicates", *KINDS)})
        for split, name in enumerate(files.SPLITS)
        if split != assignment.TRAIN and (official == split).any()
    )


def closer(splits: np.ndarray, linked_bits: np.ndarray) -> np.ndarray:
    """(N,) bool: whether the `linked_bits` of an image, (N,) uint8, have a split closer to training than its own."""
    return (splits != assignment.NONE) & (linked_bits & ((1 << np.maximum(splits, 0)) - 1) > 0)
