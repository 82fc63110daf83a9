"""A model's log and its champion alias in the store: read together, and moved so that a kill in between loses nothing.

A move is one entry of the log, under the next number; writing it decides. The alias then follows by compare-and-swap
(`If-Match`). A writer that dies between the two leaves an alias that is behind: readers go by the log, and the next
writer brings the alias up. The alias object is made before the first entry and never removed, and it says up to which
entry it goes: so an alias that is gone was lost, and a log that ends before its alias was lost in part. Neither is
taken for "no champion yet".
"""

import concurrent.futures
import contextlib
import re
import uuid
from collections.abc import Callable, Sequence
from typing import NamedTuple

from fer import errors
from fer.engine.store import objectstore
from fer.registry import log as registry_log
from fer.registry import names
from fer.registry.clearing import cleared
from fer.registry.log import Act, Entry, Log, Pointer
from fer.registry.trust import logs
from fer.registry.trust.policy import Policy

_READERS = 8


class State(NamedTuple):
    """The log and the champion; `id` names this state of the champion."""

    log: Log
    champion: int | None
    id: str
    behind: bool = False  # the log goes on where the alias ends
    is_new: bool = False  # neither is there yet
    older_alias: Pointer | None = None  # from before there was a log


Decision = Callable[[State], Act | None]  # the entry to write; None: nothing to write


class Ledger:
    """The log and the alias of the model `name`, signed as `policy` demands.

    `had_champion` is asked where there is no log: a sentence if the versions prove that there was a champion, or None.
    """

    def __init__(
        self,
        store: objectstore.ObjectStore,
        name: str,
        had_champion: Callable[[], str | None],
        policy: Policy | None = None,
    ):
        self.store = store
        self.name = name
        self.policy = policy or Policy()
        self.alias_key = names.alias_key(name, names.CHAMPION)
        self._had_champion = had_champion

    def read(self) -> State:
        """The present state. Raises IntegrityError if the alias or an entry was lost or altered, or the log is not
        signed as is demanded."""
        seen = logs.seen(self.policy, self.name)
        state = self._read()
        where, has_older = self.store.uri(names.log_key(self.name, state.log.head or 1)), state.older_alias is not None
        logs.require(self.policy, self.name, state.log.entries, where, seen, has_older_alias=has_older)
        return state

    def _read(self) -> State:
        alias = self.store.get(self.alias_key)  # before the log, which may be ahead of it but never behind
        log = Log(self.entries())
        if alias is None:
            proof = f"the log goes to entry {log.head}" if log.head else self._had_champion()
            if proof is None:
                return State(log, None, "", is_new=True)
            if self.store.get(self.alias_key) is not None:  # made since
                return self._read()
            raise self._lost("nothing", proof)
        pointer = registry_log.pointer(alias.data)
        if pointer is None:
            raise self._lost("something else")
        if pointer.entry is not None and pointer.entry > log.head:
            first = self.store.uri(names.log_key(self.name, log.head + 1))
            raise self.damaged(first, f"{log.head} entries, though the alias goes to {pointer.entry}: nothing")
        if pointer.entry and not pointer.goes_to(log.entries[pointer.entry - 1]):
            where = self.store.uri(names.log_key(self.name, pointer.entry))
            raise self.damaged(where, "another entry than the one that the alias goes to")
        if not agree(pointer, alias.data, log):
            raise self._lost(f"version {pointer.version}", f"the log says version {log.champion}")
        if not log.head:
            identity = "" if pointer.entry == 0 else registry_log.identity(alias.data)
            return State(log, pointer.version, identity, older_alias=pointer if pointer.entry is None else None)
        return State(log, log.champion, log.pointer().id, behind=(pointer.entry or 0) < log.head)

    def entries(self) -> list[Entry]:
        """The entries in their order. Raises IntegrityError if one is missing or damaged."""
        numbers = self.numbers()
        if numbers != list(range(1, len(numbers) + 1)):
            numbers = self.numbers()  # a listing may have met two new entries halfway
        for expected, number in enumerate(numbers, 1):
            if number != expected:
                raise self.damaged(self.store.uri(names.log_key(self.name, expected)), "nothing")
        with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
            entries = list(readers.map(self.entry, numbers))
        for number, entry in zip(numbers, entries, strict=True):
            if entry is None:
                raise self.damaged(self.store.uri(names.log_key(self.name, number)), "something else")
        found = [entry for entry in entries if entry is not None]
        for number in registry_log.altered(found):
            where = self.store.uri(names.log_key(self.name, number))
            raise self.damaged(where, f"another entry than the one that entry {number + 1} followed")
        return found

    def numbers(self) -> list[int]:
        """The numbers of the entries that are there, damaged ones among them."""
        prefix = f"models/{self.name}/log/"
        keys = (listed.key.removeprefix(prefix) for listed in self.store.list(prefix))
        return sorted(int(match[1]) for key in keys if (match := re.fullmatch(r"([0-9]{8})\.json", key)))

    def entry(self, number: int) -> Entry | None:
        """The entry of that number; None if it is missing or damaged."""
        stored = self.store.get(names.log_key(self.name, number))
        entry = registry_log.entry(stored.data) if stored else None
        return entry if entry is not None and (entry.name, entry.number) == (self.name, number) else None

    def move(self, decide: Decision) -> Entry | None:
        """Write the entry that `decide` makes of the state, and bring the alias up to it; the entry.

        `decide` is asked again with the new state if another writer's entry came in between; it may raise. If it
        returns None, nothing is written.
        """
        while True:
            state = self._ready()
            act = decide(state)
            if act is None:
                if state.behind:
                    self._follow()
                return None
            if act.to_version != state.champion:
                cleared.require_files(state.log, act.to_version, "A version that becomes champion must have its files.")
            written = self.append(act, state.log.head + 1, entries=state.log.entries)
            if written is not None:
                self._follow()
                return written

    def append(
        self, act: Act, number: int, entry_id: str | None = None, entries: Sequence[Entry] | None = None
    ) -> Entry | None:
        """Write an entry, signed if there is a key; None if there is another one of that number.

        `entries` are those before it; None: they are read. Raises ConfigError if a key is needed, or can't be read.
        """
        key = self.policy.signing_key()
        before = self.store.get(names.log_key(self.name, number - 1)) if number > 1 else None
        entry = Entry(
            **dict(act),
            name=self.name,
            number=number,
            id=entry_id or uuid.uuid4().hex,
            at_utc=registry_log.now(),
            before="" if before is None else registry_log.digest(before.data),
        )
        if key is not None:
            earlier = self.entries()[: number - 1] if entries is None else entries
            entry = logs.signed(entry, [other.digest for other in earlier], key)
        place, data = names.log_key(self.name, number), registry_log.encoded(entry)
        entry = entry.model_copy(update={"digest": registry_log.digest(data)})
        try:
            self.store.put_if_absent(place, data)
        except errors.StoreConflict:
            return None
        except errors.StoreUnavailable:
            written = self.store.get(place)  # only the answer may have been lost
            if written is None:
                raise
            return entry if written.data == data else None
        return entry

    def update_alias(self) -> None:
        """Bring the alias up to the end of the log, if it is behind. Raises what the store raises."""
        while True:
            alias = self.store.get(self.alias_key)
            wanted = Log(self.entries()).pointer()
            current = registry_log.pointer(alias.data) if alias else None
            if current is not None and current.entry is not None and current.entry >= (wanted.entry or 0):
                return
            data = registry_log.encoded(wanted)
            try:
                if alias is None:
                    self.store.put_if_absent(self.alias_key, data)
                else:
                    self.store.put_if_match(self.alias_key, data, alias.etag)
            except errors.StoreConflict:
                continue  # another writer moved it meanwhile
            return

    def damaged(self, where: str, received: str) -> errors.IntegrityError:
        """The error of a registry that is not as it was written."""
        return errors.IntegrityError(
            "What the registry holds must be as it was written.",
            received=f"{received} at {where}",
            todo=f"see what can be restored: fer models repair {self.name}; a newer version of this project may have "
            "written it",
        )

    def _follow(self) -> None:
        with contextlib.suppress(errors.StoreUnavailable):  # the entry has decided; the next writer brings it up
            self.update_alias()

    def _ready(self) -> State:
        """The state, with an alias object and, if that is from before there was a log, an entry that takes it over."""
        state = self.read()
        if state.is_new:
            with contextlib.suppress(errors.StoreConflict):
                data = registry_log.encoded(Pointer(version=None, entry=0))
                self.store.put_if_absent(self.alias_key, data)
            return self.read()
        if state.older_alias is not None:
            version = state.older_alias.version
            by = registry_log.operator()
            adoption = Act(action="found", by=by, version=version, to_version=version, reason="older than the log")
            self.append(adoption, 1, state.id, entries=())
            self._follow()
            return self.read()
        return state

    def _lost(self, received: str, although: str | None = None) -> errors.IntegrityError:
        return errors.IntegrityError(
            f"The alias {self.name}@champion must be as it was left.",
            received=f"{received} at {self.store.uri(self.alias_key)}" + (f", though {although}" if although else ""),
            todo=f"see what it was and put it back: fer models repair {self.name}",
        )


def agree(pointer: Pointer, data: bytes, log: Log) -> bool:
    """Whether the alias, whose bytes are `data`, is what the log's first entries amount to, or was taken over by it."""
    if pointer.entry is None:
        identity = registry_log.identity(data)
        return not log.head or any(entry.action == "found" and entry.id == identity for entry in log.entries)
    until = Log(log.entries[: pointer.entry])
    return pointer.version is None if not until.head else pointer.agrees(until.pointer())
