"""The splits that a source comes with: what they are called, and what leaks between them."""

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa

from data_contracts import files
from data_contracts.curation import KINDS
from fer import errors, plain_text
from fer.curation import assignment, groups
from fer.curation.refs import Leak
from fer.ingest.naming import split_names

_SHOWN = 5  # folders that an error names
HERE = "."


def are_complete(images: pa.Table, used: np.ndarray, sources: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the images `used` (N,) bool have splits, all of them. Raises SourceError if only some have.

    `sources` says how many images of each source have one, and in which folders those without are.
    """
    n_with = int((images["raw_split"].is_valid().to_numpy() & used).sum())
    n_without = int(used.sum()) - n_with
    if not n_with:
        return False
    if n_without:
        raise _incomplete(n_with, n_without, sources)
    return True


def _incomplete(n_with: int, n_without: int, sources: Mapping[str, Mapping[str, Any]]) -> errors.SourceError:
    by_source = "; ".join(
        f"{name}: {counts['with_split']:,} with, {counts['without_split']:,} without"
        for name, counts in sources.items()
    )
    folders = {folder: n for counts in sources.values() for folder, n in counts.get("folders_without", {}).items()}
    most = sorted(folders.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
    received = f"{n_with:,} images with a split and {n_without:,} without"
    received += f" ({by_source})" if len(sources) > 1 else ""
    where = [f"{plain_text.quoted(name)} ({n:,})" for name, n in most if name != HERE]
    received += f", these in {', '.join(where)}" if where else ""
    todo = "put every image into a split folder"
    if names := [folder.rpartition("/")[2] for folder, _ in most if folder != HERE]:
        example = json.dumps({name: split_names.likely(name, "validation") for name in names}, ensure_ascii=False)
        todo = f"say which split these are, e.g. --set {shlex.quote(f'split.official={example}')}"
    return errors.SourceError(
        "Every image of a source with splits must have one.",
        received=received,
        todo=f"{todo}, leave them out by index.exclude, or draw the splits anew: --set split.use_official=false",
    )


def folders_without(paths: pa.Array, raw_labels: pa.Array, has_split: np.ndarray) -> dict[str, int]:
    """Where the images without a split are, as far up as none with one is -> how many; the most frequent first.

    HERE stands for folders in which others have one, and for folders that only name the label.
    """
    above: set[str] = set()
    for path in paths.filter(pa.array(has_split)).to_pylist():
        above.update(_folders(path))
    without = pa.array(~has_split)
    counts: Counter[str] = Counter()
    for path, label in zip(paths.filter(without).to_pylist(), raw_labels.filter(without).to_pylist(), strict=True):
        folder = next((folder for folder in _folders(path) if folder not in above), HERE)
        counts[HERE if folder.rpartition("/")[2] == label else folder] += 1
    return dict(counts.most_common(_SHOWN))


def _folders(path: str) -> Iterator[str]:
    """The paths of the folders above a file, from the top down."""
    return accumulate(path.split("/")[:-1], "{}/{}".format)


def numbered(raw_splits: pa.ChunkedArray, declared: Mapping[str, split_names.Split]) -> np.ndarray:
    """(N,) a number from 1 on for each split of the source, 0 for none. `declared` are names of splits beside those
    known; what is neither is told apart by itself.
    """
    code, raw = groups.factorize(raw_splits)
    names = split_names.SplitNames(declared)
    ours = [names.ours(name) or f"{name}?" for name in raw.to_pylist()]
    numbers = {name: number for number, name in enumerate(sorted(set(ours)), start=1)}
    return np.array([*(numbers[name] for name in ours), 0])[code]


def splits_of(images: pa.Table, used: np.ndarray, declared: Mapping[str, split_names.Split]) -> np.ndarray:
    """The official split of each image, (N,) int64, see `assignment`.

    Raises SourceError for a split of an image in use that is neither known nor `declared`.
    """
    code, raw = groups.factorize(images["raw_split"])
    names = split_names.SplitNames(declared)
    ours = [names.ours(name) for name in raw.to_pylist()]
    unknown = {name: int(((code == at) & used).sum()) for at, name in enumerate(raw.to_pylist()) if ours[at] is None}
    refused = sorted(((-count, name) for name, count in unknown.items() if count))[:5]
    if refused:
        example = json.dumps({name: "test" for _, name in refused}, ensure_ascii=False)
        raise errors.SourceError(
            "The source's splits must be known, such as train, val, dev or test.",
            received=", ".join(f"{plain_text.quoted(name)} ({-count:,} images)" for count, name in refused),
            todo=f"say which they are, e.g. --set {shlex.quote(f'split.official={example}')}, or draw the splits anew: "
            "--set split.use_official=false",
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
