"""Which split each image belongs to: drawn, kept from the last split, or left out because of a duplicate.

A split is a small integer: TRAIN, VALIDATION, TEST in the order of files.SPLITS, or NONE; those of N images are an
array (N,) int64.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data_contracts import files
from fer.curation import groups

NONE = -1
TRAIN, VALIDATION, TEST = range(3)
IN_TWO_SPLITS = "near-duplicate of images in two splits"
_SINGLE_SPLIT = np.array([NONE, TRAIN, VALIDATION, NONE, TEST, NONE, NONE, NONE])  # the split that bits name alone


@dataclass(frozen=True)
class History:
    """`split` (N,) is that of each image, or of another with its pixels, in the accepted splits; `known` (N,) bool is
    whether its own image_id had one. An image that is put aside for now has one too.

    `was_tested` (N,) bool: it, or another with its pixels, was in test before a rotation, and has another split since.
    `rotates`: this is the rotation; test is to be drawn anew from what is not one of these.
    """

    split: np.ndarray
    known: np.ndarray
    was_tested: np.ndarray
    rotates: bool = False


@dataclass(frozen=True)
class SplitSettings:
    """What decides how splits are drawn: which are drawn beside train, their shares of the images, and the seed."""

    drawn: tuple[int, ...]
    test_share: float
    validation_share: float
    seed: int


Excluded = list[tuple[np.ndarray, str]]  # which images (N,), and why


def bits(splits: np.ndarray) -> np.ndarray:
    """(N,) uint8: 1 for TRAIN, 2 for VALIDATION, 4 for TEST, 0 for NONE."""
    return np.where(splits == NONE, 0, 1 << np.maximum(splits, 0)).astype(np.uint8)


def resolve_leaks(links: groups.DuplicateGroups, splits: np.ndarray) -> Excluded:
    """Take from `splits`, in place, what is linked with an image further from training; what was taken, and why.

    Validation is resolved against test first, and train against what is left: a score must not count what was learned
    by heart.
    """
    excluded: Excluded = []
    for split in (VALIDATION, TRAIN):
        linked = links.linked_bits(bits(splits))
        for further in range(TEST, split, -1):
            name = files.SPLITS[further]
            for linked_bits, reason in (
                (linked.identical, f"identical to an image in {name}"),
                (linked.near, f"near-duplicate of an image in {name}"),
                (linked.shifted, f"shifted near-duplicate of an image in {name}"),
                (linked.mirrored, f"mirrored near-duplicate of an image in {name}"),
                (linked.subject, f"same subject as an image in {name}"),
            ):
                leaking = (splits == split) & (linked_bits & (1 << further) > 0)
                splits[leaking] = NONE
                excluded.append((leaking, reason))
    return excluded


def draw(
    links: groups.DuplicateGroups,
    pool: np.ndarray,
    put_aside: np.ndarray,
    label: np.ndarray,
    history: History | None,
    settings: SplitSettings,
) -> tuple[np.ndarray, Excluded]:
    """The split of each image in `pool` (N,) bool, NONE for the others, and what had to be left out.

    `put_aside` (N,) bool are images that are put aside for now; their earlier splits still bind what is linked with
    them. `label` (N,) int64 numbers the classes.

    A split group (see `groups`) is never divided. With a history, images keep their split, and new ones join what they
    are linked with, whether that is in the pool today or not; a new one that is linked with two splits is left out. The
    others fill each class up to its shares, in the order of a hash of the seed and the group's smallest pixel_sha256
    (see `_fill_split`). In a rotation test is filled first, from what was never tested (see `_renew_test`). A class
    without an image in a split gets the group that is next in that order (see `_serve_classes`). Without a history,
    more data can move a few images near the shares' ends.
    """
    group = links.split_group
    place = places(links.split_group_keys, settings.seed)
    before = np.full(len(pool), NONE)
    if history is not None:
        is_kept = (pool | put_aside) & np.isin(history.split, (TRAIN, *settings.drawn))
        before = np.where(is_kept, history.split, NONE)
    group_bits = np.zeros(len(place), np.uint8)
    np.bitwise_or.at(group_bits, group, bits(before))
    splits = np.where(pool, _SINGLE_SPLIT[group_bits][group], NONE)
    excluded: Excluded = []
    if history is not None:
        bridging = pool & (splits == NONE) & (group_bits[group] > 0)
        excluded.append((_join(links, splits, bridging, before), IN_TWO_SPLITS))
        excluded.append((_newcomers_between(links, splits, before, history.known), IN_TWO_SPLITS))
        excluded += resolve_leaks(links, splits)
    refused = np.logical_or.reduce([rows for rows, _ in excluded]) if excluded else np.zeros(len(pool), bool)
    waiting = pool & (splits == NONE) & ~refused
    if history is not None and history.rotates and TEST in settings.drawn:
        _renew_test(splits, waiting, history.was_tested, _Drawn(group, label, place), settings.test_share)
        waiting &= splits == NONE
    _fill(splits, waiting, _Drawn(group, label, place), settings)
    _serve_classes(splits, group, label, place, group_bits == 0, settings.drawn)
    return splits, excluded


@dataclass(frozen=True)
class _Drawn:
    """Of N images each one's split group and class, (N,) int64; and the place in the draw of each of G groups, (G,)."""

    group: np.ndarray
    label: np.ndarray
    place: np.ndarray


def _fill(splits: np.ndarray, waiting: np.ndarray, drawn: _Drawn, settings: SplitSettings) -> None:
    """Give the `waiting` (N,) bool their `splits`: each class its share of test, then of validation; train the rest."""
    used = waiting | (splits != NONE)
    shares = {TEST: settings.test_share, VALIDATION: settings.validation_share}
    for split in sorted(settings.drawn, reverse=True):  # test first
        _fill_split(splits, waiting, used, split, shares[split], drawn)
    splits[waiting & (splits == NONE)] = TRAIN


def _fill_split(
    splits: np.ndarray, waiting: np.ndarray, used: np.ndarray, split: int, share: float, drawn: _Drawn
) -> None:
    """Fill one split up to its share of the `used` (N,) bool from those `waiting` that have no split.

    Groups of several images come first, in the order of their places, and get no more than the share of all such
    images; one is taken where that brings the counts of its classes closer to it, so that one that is too large stays
    where it is. Images by themselves then fill up each class to the image.
    """
    group, label, place = drawn.group, drawn.label, drawn.place
    alone = np.bincount(group, minlength=len(place))[group] == 1
    n_labels = int(label.max(initial=-1)) + 1
    wanted = share * np.bincount(label[used & ~alone], minlength=n_labels)
    counts = np.bincount(label[(splits == split) & ~alone], minlength=n_labels)
    for members in _members_by_group(np.flatnonzero(waiting & ~alone & (splits == NONE)), group, place):
        classes, added = np.unique(label[members], return_counts=True)
        gap = wanted[classes] - counts[classes]
        if abs(gap - added).sum() < abs(gap).sum():
            splits[members] = split
            counts[classes] += added
    gap = share * np.bincount(label[used], minlength=n_labels)
    gap -= np.bincount(label[splits == split], minlength=n_labels)
    for class_index in range(n_labels):
        singles = np.flatnonzero(waiting & alone & (splits == NONE) & (label == class_index))
        chosen = np.argsort(place[group[singles]], kind="stable")[: max(0, round(gap[class_index]))]
        splits[singles[chosen]] = split


def _renew_test(splits: np.ndarray, waiting: np.ndarray, was_tested: np.ndarray, drawn: _Drawn, share: float) -> None:
    """Give test its share of groups of which no image was tested: of those `waiting` (N,) bool, which no model has
    learned, and then, as far as they don't reach, of those in train, which the champion has. Validation stays.
    """
    used = waiting | (splits != NONE)
    tested_groups = np.zeros(len(drawn.place), bool)
    tested_groups[drawn.group[was_tested]] = True
    is_fresh = ~tested_groups[drawn.group]
    _fill_split(splits, waiting & is_fresh, used, TEST, share, drawn)
    learned = is_fresh & (splits == TRAIN)
    splits[learned] = NONE
    _fill_split(splits, learned, used, TEST, share, drawn)
    splits[learned & (splits == NONE)] = TRAIN


def _members_by_group(rows: np.ndarray, group: np.ndarray, place: np.ndarray) -> list[np.ndarray]:
    """`rows` by their groups, these in the order of their places."""
    in_order = rows[np.lexsort((group[rows], place[group[rows]]))]
    ends = np.flatnonzero(np.diff(group[in_order])) + 1
    return np.split(in_order, ends) if len(in_order) else []


def _join(links: groups.DuplicateGroups, splits: np.ndarray, bridging: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Set the `splits` of images whose group was in more than one; those that have to be left out, (N,) bool.

    The old ones stay; step by step the new ones linked with images of one split join it, and those linked with images
    of two are left out. Those that only ones left out connect with the others are free, and stay without a split.
    """
    splits[bridging] = before[bridging]
    refused = np.zeros(len(splits), bool)
    waiting = bridging & (splits == NONE)
    while waiting.any():
        linked = links.linked_bits(bits(_current_or_before(splits, before))).all
        reached = waiting & (linked > 0)
        if not reached.any():
            break
        splits[reached] = _SINGLE_SPLIT[linked[reached]]
        refused |= reached & (splits == NONE)
        waiting &= ~reached
    return refused


def _current_or_before(splits: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The split of each image now, or the one `before` if it is put aside for now."""
    return np.where(splits == NONE, before, splits)


def _newcomers_between(
    links: groups.DuplicateGroups, splits: np.ndarray, before: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """Take from `splits` the images that are new and would drive a known one from its split; which, (N,) bool.

    Such is a copy of an old image that says that it shows a subject of another split.
    """
    linked = links.linked_bits(bits(np.where(known, _current_or_before(splits, before), NONE))).all
    between = ~known & (splits != NONE) & (linked & ~bits(splits) > 0)
    splits[between] = NONE
    return between


def places(keys: list[str], seed: int) -> np.ndarray:
    """A number in [0, 1) for each group's key, (G,) float64: the first 64 bits of a SHA-256."""
    digests = b"".join(hashlib.sha256(f"{seed}\0{key}".encode()).digest()[:8] for key in keys)
    return np.frombuffer(digests, ">u8") / 2**64


def _serve_classes(
    splits: np.ndarray,
    group: np.ndarray,
    label: np.ndarray,
    place: np.ndarray,
    movable: np.ndarray,
    drawn: tuple[int, ...],
) -> None:
    """Give each class an image in each split, as far as its groups reach: test first, then train, then validation.

    Test and validation get the group with the smallest hash, train that with the largest, of those that may move and
    leave no such gap behind.
    """
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(place) + 1))
    used = splits != NONE
    n_labels = int(label.max(initial=-1)) + 1
    counts = np.bincount(label[used] * 3 + splits[used], minlength=n_labels * 3).reshape(n_labels, 3)
    groups_of = [np.unique(group[used & (label == class_index)]) for class_index in range(n_labels)]
    wanted = [
        [split for split in (TEST, TRAIN, VALIDATION) if split in (TRAIN, *drawn)][: len(class_groups)]
        for class_groups in groups_of
    ]
    for class_index, class_groups in enumerate(groups_of):
        for split in wanted[class_index]:
            if counts[class_index, split]:
                continue
            for number in _nearest(class_groups[movable[class_groups]], place, split):
                members = order[starts[number] : starts[number + 1]]
                members = members[splits[members] != NONE]
                moved = np.bincount(label[members], minlength=n_labels)
                origin = splits[members[0]]
                if not _leaves_gap(counts[:, origin], moved, wanted, origin):
                    counts[:, origin] -= moved
                    counts[:, split] += moved
                    splits[members] = split
                    break


def _nearest(numbers: np.ndarray, place: np.ndarray, split: int) -> Iterator[int]:
    """The groups with these numbers, that which `split` gets first before the others."""
    ranked = numbers[np.argsort(place[numbers], kind="stable")]
    yield from (ranked[::-1] if split == TRAIN else ranked).tolist()


def _leaves_gap(counts: np.ndarray, moved: np.ndarray, wanted: list[list[int]], split: int) -> bool:
    """Whether a class that should have images in `split`, of which it has `counts`, would lose the last of them."""
    emptied = np.flatnonzero((moved > 0) & (counts == moved))
    return any(split in wanted[class_index] for class_index in emptied)
