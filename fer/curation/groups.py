"""Groups of images that must stay in one split, as in scikit-learn's GroupKFold.

*Duplicates* of an image are identical images and its near-duplicates; a *duplicate group* is all that they connect, in
however many steps, and a *split group* all that duplicates and subjects connect.

Everything is an array over N images, so that a million of them take seconds. Near-duplicates are a matter of pixels,
and inspection's pairs name one image of each set of identical ones: a pair holds for all images with those pixels.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.curation import KINDS
from fer import errors


@dataclass(frozen=True)
class LinkedBits:
    """For each image the bits of those that are linked with it, joined by `or`: (N,) uint8 per kind of link.

    `identical` has those of all images with its pixels, its own bits among them; `near`, `shifted` and `mirrored` those
    of near-duplicates, by data_contracts.curation.KINDS; `subject` those of all images of its subject, 0 where that is
    unknown.
    """

    identical: np.ndarray
    near: np.ndarray
    shifted: np.ndarray
    mirrored: np.ndarray
    subject: np.ndarray

    @property
    def duplicates(self) -> np.ndarray:
        """(N,) uint8: the bits of identical images and near-duplicates."""
        return self.identical | self.near | self.shifted | self.mirrored

    @property
    def all(self) -> np.ndarray:
        """(N,) uint8: the bits of duplicates and of images of the same subject."""
        return self.duplicates | self.subject


@dataclass(frozen=True)
class DuplicateGroups:
    """How N images are linked.

    `content` (N,) int64 numbers the distinct pixels in the order of `sha256s`; `pairs` (P, 2) int64 are near-duplicates
    among these, of the `kinds` (P,) int64 numbered as in data_contracts.curation.KINDS; `subject` (N,) int64 numbers
    the subjects, -1 where it is unknown.
    """

    content: np.ndarray
    sha256s: pa.Array
    pairs: np.ndarray
    kinds: np.ndarray
    subject: np.ndarray

    def linked_bits(self, bits: np.ndarray) -> LinkedBits:
        """For images that have these `bits`, (N,) uint8, the bits of those linked with each."""
        by_content = np.zeros(len(self.sha256s), np.uint8)
        np.bitwise_or.at(by_content, self.content, bits)
        near_duplicates = {}
        for number, kind in enumerate(KINDS[1:], start=1):
            by_kind = np.zeros_like(by_content)
            first, second = self.pairs[self.kinds == number].T
            np.bitwise_or.at(by_kind, first, by_content[second])
            np.bitwise_or.at(by_kind, second, by_content[first])
            near_duplicates[kind] = by_kind[self.content]
        by_subject = np.zeros(self.subject.max(initial=-1) + 2, np.uint8)  # the last is that of -1, unknown
        np.bitwise_or.at(by_subject, self.subject, bits)
        by_subject[-1] = 0
        return LinkedBits(identical=by_content[self.content], subject=by_subject[self.subject], **near_duplicates)

    def near_duplicate_sha256s(self) -> pa.ListArray:
        """(N,) the sorted pixel_sha256 of each image's near-duplicates."""
        both_ways = np.unique(np.concatenate([self.pairs, self.pairs[:, ::-1]]), axis=0)
        ends = np.searchsorted(both_ways[:, 0], np.arange(len(self.sha256s) + 1)).astype(np.int32)
        by_content = pa.ListArray.from_arrays(pa.array(ends), self.sha256s.take(pa.array(both_ways[:, 1])))
        return by_content.take(pa.array(self.content))

    @cached_property
    def split_group(self) -> np.ndarray:
        """(N,) int64: the number of each image's split group, which duplicates and subjects connect."""
        known = self.subject >= 0
        to_subjects = np.column_stack([self.content[known], self.subject[known] + len(self.sha256s)])
        n_nodes = len(self.sha256s) + int(self.subject.max(initial=-1)) + 1
        return _components(np.concatenate([self.pairs, to_subjects]), n_nodes)[self.content]

    @cached_property
    def duplicate_group(self) -> np.ndarray:
        """(N,) int64: the number of each image's duplicate group, which duplicates alone connect."""
        return _components(self.pairs, len(self.sha256s))[self.content]

    @cached_property
    def split_group_keys(self) -> list[str]:
        """The smallest pixel_sha256 of each split group; "" for a number that no image has."""
        smallest = np.full(self.split_group.max(initial=-1) + 1, len(self.sha256s))
        np.minimum.at(smallest, self.split_group, self.content)
        return pa.concat_arrays([self.sha256s, pa.array([""], self.sha256s.type)]).take(pa.array(smallest)).to_pylist()


def _components(edges: np.ndarray, n_nodes: int) -> np.ndarray:
    from scipy.sparse import coo_matrix, csgraph

    graph = coo_matrix((np.ones(len(edges), bool), tuple(edges.T)), shape=(n_nodes, n_nodes))
    return csgraph.connected_components(graph, directed=False)[1]


def read(images: pa.Table, pairs: pa.Table) -> DuplicateGroups:
    """The groups by `images`' image_id, pixel_sha256 and subject, and inspection's `pairs`: first, second and kind of
    data_contracts.curation.PAIRS.

    Raises IntegrityError for a pair of an image that is not among the images.
    """
    image_ids = images["image_id"].combine_chunks()
    first, second = (pc.index_in(pairs[name], value_set=image_ids) for name in ("first", "second"))
    kinds = pc.index_in(pairs["kind"], value_set=pa.array(KINDS))
    n_unknown = first.null_count + second.null_count + kinds.null_count
    if n_unknown:
        raise errors.IntegrityError(
            f"Near-duplicates must be among the images that were curated, and of the kinds {', '.join(KINDS)}.",
            received=f"{n_unknown:,} image IDs or kinds of pairs that are not",
            todo="run the same command again, so that inspection and curation see the same images",
        )
    rows = np.column_stack([first.to_numpy(), second.to_numpy()]).astype(np.int64).reshape(-1, 2)
    subject, _ = factorize(images["subject"])
    return of_rows(images["pixel_sha256"], rows, kinds.to_numpy().astype(np.int64), subject)


def of_rows(
    pixel_sha256s: pa.ChunkedArray, pairs: np.ndarray, kinds: np.ndarray, subject: np.ndarray | None = None
) -> DuplicateGroups:
    """The groups of N images by their `pixel_sha256s`, the `pairs` (P, 2) int64 of their rows, and these pairs' `kinds`
    (P,) int64. `subject` (N,) int64 numbers their subjects, -1 where it is unknown; None: of all.
    """
    content, sha256s = factorize(pixel_sha256s)
    of_contents = content[pairs]
    is_distinct = of_contents[:, 0] != of_contents[:, 1]
    subjects = np.full(len(content), -1) if subject is None else subject
    return DuplicateGroups(content, sha256s, of_contents[is_distinct], kinds[is_distinct], subjects)


def factorize(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """The place of each value among the sorted distinct ones, -1 for null, (N,) int64; and these."""
    encoded = column.combine_chunks().dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    place = np.empty(len(order) + 1, np.int64)
    place[order] = np.arange(len(order))
    place[-1] = -1
    return place[encoded.indices.fill_null(len(order)).to_numpy()], encoded.dictionary.take(pa.array(order))


def leaked(images: pa.Table, known_sha256s: pa.ChunkedArray) -> np.ndarray:
    """Which rows of a split.parquet (pixel_sha256 and near_duplicates are enough) are no unseen images to a model that
    was trained on images with the pixels `known_sha256s`: those and near-duplicates of those, (N,) bool.
    """
    known = known_sha256s.combine_chunks()
    near_duplicates = images["near_duplicates"].combine_chunks()
    rows = pc.list_parent_indices(near_duplicates).filter(pc.is_in(pc.list_flatten(near_duplicates), known))
    # By way of lists: Arrow's own way to NumPy imports pandas, which a run with cached stages needs for nothing else.
    is_leaked = np.array(pc.is_in(images["pixel_sha256"], known).to_pylist(), bool)
    is_leaked[np.array(rows.to_pylist(), np.int64)] = True
    return is_leaked
