"""On which side of the split each image stands: drawn by lot, kept from the last split, given up for a twin's sake.

Sides are an array of N small integers: TRAIN, VALIDATION, TEST in the order of files.SPLITS, or NONE.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data_contracts import files
from fer import relatives

NONE = -1
TRAIN, VALIDATION, TEST = range(3)
ON_TWO_SIDES = "near-twin of images on two sides"
_ONE_SIDE = np.array([NONE, TRAIN, VALIDATION, NONE, TEST, NONE, NONE, NONE])  # the side that bits name alone


@dataclass(frozen=True)
class History:
    """`side` (N,) is where each image, or another with its pixels, stood in the last accepted split; `known` (N,) is
    whether its own image_id did.
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


def give_way(near: relatives.Relatives, sides: np.ndarray) -> Excluded:
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
                (around.subject, f"same subject as an image in {name}"),
            ):
                at = (sides == side) & (found & (1 << further) > 0)
                sides[at] = NONE
                taken.append((at, reason))
    return taken


def draw(
    near: relatives.Relatives, pool: np.ndarray, label: np.ndarray, history: History | None, lot: Lot
) -> tuple[np.ndarray, Excluded]:
    """The side of each image in `pool` (N,) bool, NONE for the others, and what had to be left out.

    A unit (twins and subjects, see `relatives`) is never divided. Where it goes is told by a hash of the seed and its
    smallest pixel_sha256: below `test_share` to test, the next `validation_share` to validation. So nothing moves when
    data is added, but the shares are met as by the toss of a coin: of n units a share p comes as p·n with a standard
    deviation of √(n·p·(1-p)): 19 in 4,000 and 7 in 540 at a tenth. Ranking or filling up each class to its count would
    be closer, and would move images with every addition.

    A class without an image on a side gets the unit whose hash is nearest (see `_serve_classes`). With a history,
    images stay where they stood, and new ones join their relatives; a new one that has some on two sides is left out.
    """
    unit = near.unit
    place = _places(near.unit_keys, lot.seed)
    by_lot = np.full(len(place), TRAIN)
    if TEST in lot.drawn:
        by_lot[place < lot.test_share] = TEST
    if VALIDATION in lot.drawn:
        by_lot[(place >= lot.test_share) & (place < lot.test_share + lot.validation_share)] = VALIDATION
    before = np.full(len(pool), NONE)
    if history is not None:
        before = np.where(pool & np.isin(history.side, (TRAIN, *lot.drawn)), history.side, NONE)
    unit_bits = np.zeros(len(place), np.uint8)
    np.bitwise_or.at(unit_bits, unit, bits(before))
    sides = np.where(pool, np.where(unit_bits == 0, by_lot, _ONE_SIDE[unit_bits])[unit], NONE)
    taken: Excluded = []
    if history is not None:
        bridging = pool & (sides == NONE)
        taken.append((_join(near, sides, bridging, before, by_lot), ON_TWO_SIDES))
        taken.append((_newcomers_between(near, sides, history.known), ON_TWO_SIDES))
        taken += give_way(near, sides)
    _serve_classes(sides, unit, label, place, unit_bits == 0, lot.drawn)
    return sides, taken


def _join(
    near: relatives.Relatives, sides: np.ndarray, bridging: np.ndarray, before: np.ndarray, by_lot: np.ndarray
) -> np.ndarray:
    """Set the `sides` of images whose unit stood on more than one; those that have to be left out, (N,) bool.

    The old ones stay; step by step the new ones next to images of one side join it, and those next to images of two
    are left out. Those that only ones left out connect with the others are free, and go by lot.
    """
    sides[bridging] = before[bridging]
    refused = np.zeros(len(sides), bool)
    waiting = bridging & (sides == NONE)
    while waiting.any():
        found = near.around(bits(sides)).all
        reached = waiting & (found > 0)
        if not reached.any():
            sides[waiting] = by_lot[near.unit[waiting]]
            break
        sides[reached] = _ONE_SIDE[found[reached]]
        refused |= reached & (sides == NONE)
        waiting &= ~reached
    return refused


def _newcomers_between(near: relatives.Relatives, sides: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Take from `sides` the images that are new and would drive a known one from its side; which, (N,) bool.

    Such is a copy of an old image that says that it shows a subject of another side.
    """
    around = near.around(bits(np.where(known, sides, NONE))).all
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
