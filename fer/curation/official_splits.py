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
            f"{name}: {each['with_split']:,} with, {each['without_split']:,} without" for name, each in sources.items()
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
    code, raw = groups.numbered(raw_splits)
    meant = [names.get(each.lower(), f"{each}?") for each in raw.to_pylist()]
    numbers = {name: at for at, name in enumerate(sorted(set(meant)), start=1)}
    return np.array([*(numbers[name] for name in meant), 0])[code]


def sides_of(images: pa.Table, used: np.ndarray, names: Mapping[str, str]) -> np.ndarray:
    """The official side of each image. Raises SourceError for a split of an image in use that is not in `names`."""
    code, raw = groups.numbered(images["raw_split"])
    ours = [names.get(each.lower()) for each in raw.to_pylist()]
    unknown = {name: int(((code == at) & used).sum()) for at, name in enumerate(raw.to_pylist()) if ours[at] is None}
    refused = sorted(((-count, name) for name, count in unknown.items() if count))[:5]
    if refused:
        raise errors.SourceError(
            f"The source's splits must be known: {', '.join(sorted(names))}.",
            received=", ".join(f"{archives.shown(name)} ({-count:,} images)" for count, name in refused),
            todo="set split.official for it, or split.use_official=false to draw the splits anew",
        )
    return np.array(
        [*(assignment.NONE if each is None else files.SPLITS.index(each) for each in ours), assignment.NONE]
    )[code]


def matrix(near: groups.Relatives, official: np.ndarray) -> dict[str, dict[str, dict[str, int]]]:
    """Of each official split, how many images have a twin or their subject in each other one: `twins`, of these by the
    closest kind `identical`, `near`, `shifted` and `mirrored`, and `subject`.
    """
    if (official == assignment.NONE).all():
        return {}
    around = near.around(assignment.bits(official))

    def counted(side: int, other: int) -> dict[str, int]:
        has = {
            kind: (official == side) & (getattr(around, kind) & (1 << other) > 0)
            for kind in ("twins", *KINDS, "subject")
        }
        counts = {kind: int(has[kind].sum()) for kind in ("twins", "subject")}
        closer = np.zeros(len(official), bool)
        for kind in KINDS:
            counts[kind] = int((has[kind] & ~closer).sum())
            closer |= has[kind]
        return counts

    return {
        name: {other: counted(side, at) for at, other in enumerate(files.SPLITS) if at != side}
        for side, name in enumerate(files.SPLITS)
    }


def leaks(near: groups.Relatives, official: np.ndarray) -> tuple[Leak, ...]:
    """Of validation and test, as the source has them, the images with a twin in train. (In FER2013 280 PublicTest and
    288 PrivateTest images are identical to one in Training.)
    """
    found = matrix(near, official)
    return tuple(
        Leak(split=name, **{kind: found[name]["train"][kind] for kind in ("twins", *KINDS)})
        for side, name in enumerate(files.SPLITS)
        if side != assignment.TRAIN and (official == side).any()
    )


def closer(found: np.ndarray, around: np.ndarray) -> np.ndarray:
    """(N,) whether the bits `around` an image have a side closer to training than its own."""
    return (found != assignment.NONE) & (around & ((1 << np.maximum(found, 0)) - 1) > 0)
