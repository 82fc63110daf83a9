"""Which images must not be told apart by a split: identical ones, near-twins, and those of one subject.

Everything is an array over N images, so that a million of them take seconds. Near-twins are an affair of pixels, and
inspection's pairs name one image of each set of identical ones: a pair holds for all images with those pixels. (For
single images, with lists of IDs, there is `fer.curation.twins`.)
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.curation import KINDS
from fer import errors


@dataclass(frozen=True)
class Around:
    """For each image the bits of others, joined by `or`: (N,) uint8 each.

    `identical` has those of all images with its pixels, its own bits among them; `near`, `shifted` and `mirrored` those
    of near-twins with other pixels, by data_contracts.curation.KINDS; `subject` those of all images of its subject, 0
    where that is unknown.
    """

    identical: np.ndarray
    near: np.ndarray
    shifted: np.ndarray
    mirrored: np.ndarray
    subject: np.ndarray

    @property
    def twins(self) -> np.ndarray:
        return self.identical | self.near | self.shifted | self.mirrored

    @property
    def all(self) -> np.ndarray:
        return self.twins | self.subject


@dataclass(frozen=True)
class Relatives:
    """`content` (N,) numbers the distinct pixels in the order of `sha256s`; `pairs` (P, 2) are near-twins among them,
    of the `kinds` (P,) numbered as in data_contracts.curation.KINDS; `subject` (N,) numbers the subjects, -1 where it
    is unknown.
    """

    content: np.ndarray
    sha256s: pa.Array
    pairs: np.ndarray
    kinds: np.ndarray
    subject: np.ndarray

    def around(self, bits: np.ndarray) -> Around:
        """What lies around each image that has these bits, (N,) uint8."""
        of_content = np.zeros(len(self.sha256s), np.uint8)
        np.bitwise_or.at(of_content, self.content, bits)
        twins = {}
        for number, kind in enumerate(KINDS[1:], start=1):
            twins[kind] = np.zeros_like(of_content)
            first, second = self.pairs[self.kinds == number].T
            np.bitwise_or.at(twins[kind], first, of_content[second])
            np.bitwise_or.at(twins[kind], second, of_content[first])
        of_subject = np.zeros(self.subject.max(initial=-1) + 2, np.uint8)  # the last is that of -1, unknown
        np.bitwise_or.at(of_subject, self.subject, bits)
        of_subject[-1] = 0
        return Around(
            identical=of_content[self.content],
            subject=of_subject[self.subject],
            **{kind: found[self.content] for kind, found in twins.items()},
        )

    def near_duplicates(self) -> pa.ListArray:
        """(N,) the sorted pixel_sha256 of each image's near-twins with other pixels."""
        both = np.unique(np.concatenate([self.pairs, self.pairs[:, ::-1]]), axis=0)
        ends = np.searchsorted(both[:, 0], np.arange(len(self.sha256s) + 1)).astype(np.int32)
        of_content = pa.ListArray.from_arrays(pa.array(ends), self.sha256s.take(pa.array(both[:, 1])))
        return of_content.take(pa.array(self.content))

    @cached_property
    def unit(self) -> np.ndarray:
        """(N,) the number of each image's unit: all that twins and subjects connect with it, in however many steps."""
        known = self.subject >= 0
        to_subjects = np.column_stack([self.content[known], self.subject[known] + len(self.sha256s)])
        n_nodes = len(self.sha256s) + int(self.subject.max(initial=-1)) + 1
        return _components(np.concatenate([self.pairs, to_subjects]), n_nodes)[self.content]

    @cached_property
    def group(self) -> np.ndarray:
        """(N,) the number of each image's group: all that twins alone connect with it."""
        return _components(self.pairs, len(self.sha256s))[self.content]

    @cached_property
    def unit_keys(self) -> list[str]:
        """The smallest pixel_sha256 of each unit; "" for a number that no image has."""
        found = np.full(self.unit.max(initial=-1) + 1, len(self.sha256s))
        np.minimum.at(found, self.unit, self.content)
        return pa.concat_arrays([self.sha256s, pa.array([""], self.sha256s.type)]).take(pa.array(found)).to_pylist()


def _components(edges: np.ndarray, n_nodes: int) -> np.ndarray:
    from scipy.sparse import coo_matrix, csgraph

    graph = coo_matrix((np.ones(len(edges), bool), tuple(edges.T)), shape=(n_nodes, n_nodes))
    return csgraph.connected_components(graph, directed=False)[1]


def read(images: pa.Table, pairs: pa.Table) -> Relatives:
    """Of `images`' image_id, pixel_sha256 and subject, and inspection's `pairs`: first, second and kind of
    data_contracts.curation.PAIRS.

    Raises IntegrityError for a pair of an image that is not among the images.
    """
    content, sha256s = numbered(images["pixel_sha256"])
    subject, _ = numbered(images["subject"])
    ids = images["image_id"].combine_chunks()
    ends = [pc.index_in(pairs[name], value_set=ids) for name in ("first", "second")]
    kinds = pc.index_in(pairs["kind"], value_set=pa.array(KINDS))
    n_unknown = sum(each.null_count for each in (*ends, kinds))
    if n_unknown:
        raise errors.IntegrityError(
            f"Near-twins must be among the images that were curated, and of the kinds {', '.join(KINDS)}.",
            received=f"{n_unknown:,} image IDs or kinds of pairs that are not",
            todo="run the same command again, so that inspection and curation see the same images",
        )
    found = content[np.column_stack([each.to_numpy() for each in ends]).astype(np.int64).reshape(-1, 2)]
    distinct = found[:, 0] != found[:, 1]
    return Relatives(content, sha256s, found[distinct], kinds.to_numpy().astype(np.int64)[distinct], subject)


def numbered(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """The place of each value among the sorted distinct ones, -1 for null, (N,) int64; and these."""
    encoded = column.combine_chunks().dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    place = np.empty(len(order) + 1, np.int64)
    place[order] = np.arange(len(order))
    place[-1] = -1
    return place[encoded.indices.fill_null(len(order)).to_numpy()], encoded.dictionary.take(pa.array(order))


def met(images: pa.Table, sha256s: pa.ChunkedArray) -> np.ndarray:
    """Which rows of a split.parquet (pixel_sha256 and near_duplicates are enough) whoever met the images with these
    pixels has met: the same pixels, or a near-twin of theirs, (N,) bool.
    """
    known = sha256s.combine_chunks()
    twins = images["near_duplicates"].combine_chunks()
    of_twins = pc.list_parent_indices(twins).filter(pc.is_in(pc.list_flatten(twins), known))
    found = pc.is_in(images["pixel_sha256"], known).to_numpy().copy()
    found[of_twins.to_numpy()] = True
    return found
