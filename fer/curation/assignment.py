"""On which side of the split each image stands: drawn by lot, kept from the last split, given up for a twin's sake.

Sides are an array of N small integers: TRAIN, VALIDATION, TEST in the order of files.SPLITS, or NONE.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data_contracts import files
from fer.curation import groups

NONE = -1
TRAIN, VALIDATION, TEST = range(3)
ON_TWO_SIDES = "near-twin of images on two sides"
_ONE_SIDE = np.array([NONE, TRAIN, VALIDATION, NONE, TEST, NONE, NONE, NONE])  # the side that bits name alone


@dataclass(frozen=True)
class History:
    """`side` (N,) is where each image, or another with its pixels, stood in the accepted splits; `known` (N,) is
    whether its own image_id did. An image that is put aside for now has one too.
    """

    side: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class Lot:
    """What decides a drawing: which sides are drawn beside train, how large they are, and the seed."""

    drawn: tuple[int, ...]
    test_share: float
    validation_share: float
    seed: int


Excluded = list[tuple[np.ndarray, str]]  # which images (N,), and why


def bits(sides: np.ndarray) -> np.ndarray:
    """(N,) uint8: 1 for TRAIN, 2 for VALIDATION, 4 for TEST, 0 for NONE."""
    return np.where(sides == NONE, 0, 1 << np.maximum(sides, 0)).astype(np.uint8)


def give_way(near: groups.Relatives, sides: np.ndarray) -> Excluded:
    """Take from `sides`, in place, what has a relative further from training; what was taken, with the reason.

    Validation gives way to test first, and train to what is left: a score must not count what was learned by heart.
    """
    taken: Excluded = []
    for side in (VALIDATION, TRAIN):
        around = near.around(bits(sides))
        for further in range(TEST, side, -1):
            name = files.SPLITS[further]
            for found, reason in (
                (around.identical, f"identical to an image in {name}"),
                (around.near, f"near-twin of an image in {name}"),
                (around.shifted, f"shifted near-twin of an image in {name}"),
                (around.mirrored, f"mirrored near-twin of an image in {name}"),
                (around.subject, f"same subject as an image in {name}"),
            ):
                at = (sides == side) & (found & (1 << further) > 0)
                sides[at] = NONE
                taken.append((at, reason))
    return taken


def draw(
    near: groups.Relatives,
    pool: np.ndarray,
    aside: np.ndarray,
    label: np.ndarray,
    history: History | None,
    lot: Lot,
) -> tuple[np.ndarray, Excluded]:
    """The side of each image in `pool` (N,) bool, NONE for the others, and what had to be left out.

    `aside` (N,) bool are images that are put aside for now, and whose sides their twins still heed.

    A unit (twins and subjects, see `relatives`) is never divided. With a history, images stay where they stood, and new
    ones join their relatives, whether these are in the pool today or not; a new one that has some on two sides is left
    out. The others fill each class up to its shares, in the order of a hash of the seed and the unit's smallest
    pixel_sha256 (see `_fill`). A class without an image on a side gets the unit that is next in that order (see
    `_serve_classes`). Without a history, more data can move a few images near the shares' ends.
    """
    unit = near.unit
    place = _places(near.unit_keys, lot.seed)
    before = np.full(len(pool), NONE)
    if history is not None:
        before = np.where((pool | aside) & np.isin(history.side, (TRAIN, *lot.drawn)), history.side, NONE)
    unit_bits = np.zeros(len(place), np.uint8)
    np.bitwise_or.at(unit_bits, unit, bits(before))
    sides = np.where(pool, _ONE_SIDE[unit_bits][unit], NONE)
    taken: Excluded = []
    if history is not None:
        taken.append((_join(near, sides, pool & (sides == NONE) & (unit_bits[unit] > 0), before), ON_TWO_SIDES))
        taken.append((_newcomers_between(near, sides, before, history.known), ON_TWO_SIDES))
        taken += give_way(near, sides)
    refused = np.logical_or.reduce([at for at, _ in taken]) if taken else np.zeros(len(pool), bool)
    _fill(sides, pool & (sides == NONE) & ~refused, unit, label, place, lot)
    _serve_classes(sides, unit, label, place, unit_bits == 0, lot.drawn)
    return sides, taken


def _fill(
    sides: np.ndarray, waiting: np.ndarray, unit: np.ndarray, label: np.ndarray, place: np.ndarray, lot: Lot
) -> None:
    """Give the `waiting` (N,) bool their `sides`: each class its share of test, then of validation, the rest to train.

    Units of several images come first, in the order of their places, and get no more than the share of all such
    images; one is taken where that brings the counts of its classes closer to it, so that one that is too large stays
    in train. Images by themselves then fill up each class to the image.
    """
    alone = np.bincount(unit, minlength=len(place))[unit] == 1
    used = waiting | (sides != NONE)
    n_labels = int(label.max(initial=-1)) + 1
    shares = {TEST: lot.test_share, VALIDATION: lot.validation_share}
    for side in sorted(lot.drawn, reverse=True):  # test first
        wanted = shares[side] * np.bincount(label[used & ~alone], minlength=n_labels)
        has = np.bincount(label[(sides == side) & ~alone], minlength=n_labels)
        for members in _units(np.flatnonzero(waiting & ~alone & (sides == NONE)), unit, place):
            classes, counts = np.unique(label[members], return_counts=True)
            gap = wanted[classes] - has[classes]
            if abs(gap - counts).sum() < abs(gap).sum():
                sides[members] = side
                has[classes] += counts
        gap = shares[side] * np.bincount(label[used], minlength=n_labels)
        gap -= np.bincount(label[sides == side], minlength=n_labels)
        for its in range(n_labels):
            singles = np.flatnonzero(waiting & alone & (sides == NONE) & (label == its))
            chosen = np.argsort(place[unit[singles]], kind="stable")[: max(0, round(gap[its]))]
            sides[singles[chosen]] = side
    sides[waiting & (sides == NONE)] = TRAIN


def _units(rows: np.ndarray, unit: np.ndarray, place: np.ndarray) -> list[np.ndarray]:
    """`rows` by their units, these in the order of their places."""
    in_order = rows[np.lexsort((unit[rows], place[unit[rows]]))]
    ends = np.flatnonzero(np.diff(unit[in_order])) + 1
    return np.split(in_order, ends) if len(in_order) else []


def _join(near: groups.Relatives, sides: np.ndarray, bridging: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Set the `sides` of images whose unit stood on more than one; those that have to be left out, (N,) bool.

    The old ones stay; step by step the new ones next to images of one side join it, and those next to images of two
    are left out. Those that only ones left out connect with the others are free, and stay without a side.
    """
    sides[bridging] = before[bridging]
    refused = np.zeros(len(sides), bool)
    waiting = bridging & (sides == NONE)
    while waiting.any():
        found = near.around(bits(_standing(sides, before))).all
        reached = waiting & (found > 0)
        if not reached.any():
            break
        sides[reached] = _ONE_SIDE[found[reached]]
        refused |= reached & (sides == NONE)
        waiting &= ~reached
    return refused


def _standing(sides: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Where images stand now, or stood if they are put aside for now."""
    return np.where(sides == NONE, before, sides)


def _newcomers_between(near: groups.Relatives, sides: np.ndarray, before: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Take from `sides` the images that are new and would drive a known one from its side; which, (N,) bool.

    Such is a copy of an old image that says that it shows a subject of another side.
    """
    around = near.around(bits(np.where(known, _standing(sides, before), NONE))).all
    between = ~known & (sides != NONE) & (around & ~bits(sides) > 0)
    sides[between] = NONE
    return between


def _places(keys: list[str], seed: int) -> np.ndarray:
    """A number in [0, 1) for each unit's key: the first 64 bits of a SHA-256."""
    digests = b"".join(hashlib.sha256(f"{seed}\0{key}".encode()).digest()[:8] for key in keys)
    return np.frombuffer(digests, ">u8") / 2**64


def _serve_classes(
    sides: np.ndarray,
    unit: np.ndarray,
    label: np.ndarray,
    place: np.ndarray,
    movable: np.ndarray,
    drawn: tuple[int, ...],
) -> None:
    """Give each class an image on each side, as far as its units reach: test first, then train, then validation.

    Test and validation get the unit with the smallest hash, train that with the largest, of those that may move and
    leave no such gap behind.
    """
    order = np.argsort(unit, kind="stable")
    starts = np.searchsorted(unit[order], np.arange(len(place) + 1))
    used = sides != NONE
    n_labels = int(label.max(initial=-1)) + 1
    counts = np.bincount(label[used] * 3 + sides[used], minlength=n_labels * 3).reshape(n_labels, 3)
    units = [np.unique(unit[used & (label == each)]) for each in range(n_labels)]
    wanted = [[side for side in (TEST, TRAIN, VALIDATION) if side in (TRAIN, *drawn)][: len(each)] for each in units]
    for its, its_units, its_sides in zip(range(n_labels), units, wanted, strict=True):
        for side in its_sides:
            if counts[its, side]:
                continue
            for number in _nearest(its_units[movable[its_units]], place, side):
                members = order[starts[number] : starts[number + 1]]
                members = members[sides[members] != NONE]
                moved = np.bincount(label[members], minlength=n_labels)
                if not _leaves_gap(counts[:, sides[members[0]]], moved, wanted, sides[members[0]]):
                    counts[:, sides[members[0]]] -= moved
                    counts[:, side] += moved
                    sides[members] = side
                    break


def _nearest(units: np.ndarray, place: np.ndarray, side: int) -> Iterator[int]:
    ranked = units[np.argsort(place[units], kind="stable")]
    yield from (int(each) for each in (ranked[::-1] if side == TRAIN else ranked))


def _leaves_gap(counts: np.ndarray, moved: np.ndarray, wanted: list[list[int]], side: int) -> bool:
    """Whether a class that should have images on `side`, of which it has `counts`, would lose the last of them."""
    emptied = np.flatnonzero((moved > 0) & (counts == moved))
    return any(side in wanted[each] for each in emptied)
