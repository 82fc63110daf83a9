"""The rule by which things stay or go, for outputs of stages, releases, fetched models, reports and logs alike.

A thing is live if a root names it (see `judge`), if it is in use, or if a live thing refers to it. What is not live
goes once it is older than the policy's age, unless it is one of the last few of its kind; and, where what is left takes
more room than the policy allows, what was used longest ago goes too.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic import Field

from fer.engine.records import Record

DAY_S = 86_400.0
_HOUR_S = 3_600.0


class Policy(Record):
    """What of the things that nothing needs stays all the same."""

    older_than_days: float = Field(default=30, ge=0, description="days since its last use after which a thing goes")
    keep_last: int = Field(default=3, ge=0, description="of each kind those that stay, whatever their age")
    max_bytes: int | None = Field(default=None, ge=0, description="bytes that all of it may take; None: any number")
    releases_older_than_days: float | None = Field(
        default=None,
        ge=0,
        description="days after which the files of a release that nothing needs go; None: of withdrawn ones alone",
    )
    grace_hours: float = Field(default=24, ge=0, description="hours since its last use in which no thing goes")


class Item(NamedTuple):
    """A thing that can be removed as a whole.

    `known_as` are the names and digests by which others refer to it, `refers_to` those that it refers to, and
    `compared_with` those of earlier data that it needs, but not what these were made of: else no data would ever go.
    `blobs` are the files that it takes room by (ID -> bytes), which others may share. `stays_s`: for how long it stays
    after its last use, in place of the policy's age and number, which hold where it is None.
    """

    name: str
    kind: str
    last_used: float  # seconds since 1970
    blobs: Mapping[str, int] = {}
    known_as: frozenset[str] = frozenset()
    refers_to: frozenset[str] = frozenset()
    compared_with: frozenset[str] = frozenset()
    stays_s: float | None = None

    @property
    def size_bytes(self) -> int:
        """The room that it takes, with what it shares with others."""
        return sum(self.blobs.values())


class Root(NamedTuple):
    """Why something is needed; `alone`: without what it was made of."""

    why: str
    alone: bool = False


class Fate(NamedTuple):
    """What is to become of a thing: why it stays, or, where that is empty, that it goes."""

    item: Item
    stays: str

    @property
    def goes(self) -> bool:
        """Whether it is to be removed."""
        return not self.stays


def judge(
    items: Sequence[Item], roots: Mapping[str, Root], policy: Policy, now: float, busy_since: float = float("inf")
) -> list[Fate]:
    """What is to become of each item, in their order.

    `roots`: name or digest -> why what is known as that is needed. `busy_since`: when the oldest run began that is at
    work (seconds since 1970): what was used since then is in use.
    """
    recent = min(busy_since, now - policy.grace_hours * _HOUR_S)
    used = [(item, Root(_IN_USE)) for item in items if _is_recent(item, recent, now)]
    live = _reached(items, [*_named(items, roots), *used])
    young = [item for item in items if now - item.last_used < _age_s(item, policy)]
    spared = [(item, Root(LAST)) for item in _last_of_kinds(items, policy)]
    spared += [(item, Root(YOUNG)) for item in young]
    spare = {name: why for name, why in _reached(items, spared).items() if name not in live}
    for name in _too_much(items, live, spare, policy.max_bytes):
        del spare[name]
    stays = live | spare
    return [Fate(item, stays.get(item.name, "")) for item in items]


def total_bytes(items: Iterable[Item]) -> int:
    """The room that things take together, shared files counted once."""
    return sum({blob: size for item in items for blob, size in item.blobs.items()}.values())


def closure(items: Sequence[Item], roots: Mapping[str, Root]) -> list[Item]:
    """The items that the roots name, and those that these refer to, at any remove."""
    reached = _reached(items, _named(items, roots))
    return [item for item in items if item.name in reached]


LAST, YOUNG = "one of the last of its kind", "not old enough"
_IN_USE = "in use, or was a short time ago"


def _named(items: Sequence[Item], roots: Mapping[str, Root]) -> list[tuple[Item, Root]]:
    return [(item, roots[name]) for item in items for name in sorted(item.known_as & roots.keys())]


def _age_s(item: Item, policy: Policy) -> float:
    return policy.older_than_days * DAY_S if item.stays_s is None else item.stays_s


def _is_recent(item: Item, recent: float, now: float) -> bool:
    return item.last_used >= recent if item.stays_s is None else now - item.last_used < item.stays_s


def _reached(items: Sequence[Item], begun: Iterable[tuple[Item, Root]]) -> dict[str, str]:
    """Name -> why, of the items that are begun with and of all that these need."""
    by_name: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        for name in item.known_as:
            by_name[name].append(item)
    reached: dict[str, str] = {}
    followed: set[str] = set()
    waiting = deque(begun)
    while waiting:
        item, root = waiting.popleft()
        reached.setdefault(item.name, root.why)
        if root.alone or item.name in followed:
            continue
        followed.add(item.name)
        for names, alone in ((item.refers_to, False), (item.compared_with, True)):
            because = Root(f"needed by {item.name}", alone)
            waiting += [(other, because) for name in sorted(names) for other in by_name[name]]
    return reached


def _last_of_kinds(items: Sequence[Item], policy: Policy) -> list[Item]:
    by_kind: dict[str, list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda item: item.last_used, reverse=True):
        if item.stays_s is None and len(by_kind[item.kind]) < policy.keep_last:
            by_kind[item.kind].append(item)
    return [item for kept in by_kind.values() for item in kept]


def _too_much(
    items: Sequence[Item], live: Mapping[str, str], spare: Mapping[str, str], max_bytes: int | None
) -> list[str]:
    """The names of what must go of the spare things, used longest ago first, for the rest to fit.

    None goes that another one which stays refers to.
    """
    if max_bytes is None:
        return []
    kept = {item.name: item for item in items if item.name in live or item.name in spare}
    holders = Counter(blob for item in kept.values() for blob in item.blobs)
    referred = Counter(name for item in kept.values() for name in item.refers_to | item.compared_with)
    room = total_bytes(kept.values())
    gone: list[str] = []
    waiting = sorted((item for item in kept.values() if item.name in spare), key=lambda item: item.last_used)
    while room > max_bytes:
        item = next((item for item in waiting if not any(referred[name] for name in item.known_as)), None)
        if item is None:
            break
        waiting.remove(item)
        gone.append(item.name)
        holders.subtract(item.blobs.keys())
        referred.subtract(item.refers_to | item.compared_with)
        room -= sum(size for blob, size in item.blobs.items() if not holders[blob])
    return gone
