"""What of a model in the registry was lost or damaged, and what of it can be put back."""

import contextlib
import uuid
from collections.abc import Callable
from typing import NamedTuple

from fer import errors
from fer.engine.store import objectstore
from fer.registry import ledger as registry_ledger
from fer.registry import log as registry_log
from fer.registry import names, registry
from fer.registry.log import Act, Entry, Log, Pointer

_DAMAGED = "damaged, or was written by a newer version of this project"
_MOST_LOST = 10_000  # entries; an alias that claims more was altered


class Finding(NamedTuple):
    """Something that is not as it was written, and its repair; `fix` is empty where nothing can be done."""

    what: str
    fix: str = ""


class _Repairs(NamedTuple):
    findings: list[Finding]
    writes: list[Callable[[], object]]


def repair(models: registry.Registry, name: str, *, apply: bool, by: str | None = None) -> list[Finding]:
    """Find what was lost or damaged; with `apply`, put back what can be put back.

    Entries of the log that are gone become entries that say so; manifests come back from their copies; the alias is
    written anew from the log. What is overwritten is kept under `models/<name>/damaged/`. Raises StoreConflict if
    another writer changed it meanwhile.
    """
    ledger = models.ledger(name)
    who = by or registry_log.operator()
    repairs = _Repairs([], [])
    log = _log(ledger, who, repairs)
    _manifests(models, name, log, repairs)
    _alias(models, ledger, log, who, repairs)
    if apply:
        for write in repairs.writes:
            write()
    return repairs.findings


def _log(ledger: registry_ledger.Ledger, by: str, repairs: _Repairs) -> Log:
    """The log with entries in place of the lost ones."""
    alias = ledger.store.get(ledger.alias_key)
    pointer = registry_log.pointer(alias.data) if alias is not None else None
    numbers = ledger.numbers()
    head = max(numbers, default=0)
    promised = pointer.entry if pointer is not None and pointer.entry is not None else 0
    if promised <= head + _MOST_LOST:
        head = max(head, promised)
    known = {number: ledger.entry(number) for number in numbers}
    known |= dict.fromkeys(registry_log.altered([entry for entry in known.values() if entry is not None]))
    last = known.get(head)
    if pointer is not None and last is not None and not pointer.goes_to(last):
        known[head] = None
    entries: list[Entry] = []
    for number in range(1, head + 1):
        entry = known.get(number)
        if entry is None:
            before = entries[-1].to_version if entries else None
            later = (known.get(later_number) for later_number in range(number, head + 1))
            following = next((entry for entry in later if entry is not None), None)
            if following is not None:
                after = following.from_version
            else:
                after = pointer.version if pointer is not None and promised >= number else before
            entry = _placeholder(ledger.name, number, by, before, after)
            key = names.log_key(ledger.name, number)
            repairs.findings.append(
                Finding(
                    f"entry {number} of the log is {_DAMAGED if number in numbers else 'missing'}: "
                    f"{ledger.store.uri(key)}",
                    "an entry that says so takes its place; what it said is not known, so look whether a version was "
                    "rolled back or withdrawn there",
                )
            )
            repairs.writes.append(_replaces(ledger, key, registry_log.encoded(entry)))
        entries.append(entry)
    return Log(entries)


def _manifests(models: registry.Registry, name: str, log: Log, repairs: _Repairs) -> None:
    sizes = {listed.key: listed.size_bytes for listed in models.store.list(f"models/{name}/files/")}
    claims, numbers = log.claims(), models.numbers(name)
    alias = models.store.get(models.ledger(name).alias_key)
    pointer = registry_log.pointer(alias.data) if alias is not None else None
    champions = {*log.lineage(), *([pointer.version] if pointer and pointer.version and not log.head else [])}
    for version in sorted({*claims, *numbers, *champions}):
        key = names.version_key(name, version)
        manifest = None
        with contextlib.suppress(errors.IntegrityError):
            manifest = models.get(name, str(version)) if version in numbers else None
        if manifest is not None:
            lost = [file for file, stored in manifest.files.items() if sizes.get(stored.key) != stored.size_bytes]
            if lost and version not in log.cleared:
                repairs.findings.append(Finding(f"{name}@{version}: {', '.join(lost)} missing or cut short"))
            continue
        what = f"the manifest of {name}@{version} is {_DAMAGED if version in numbers else 'missing'}"
        copy = models.copy(claims[version]) if version in claims else None
        if copy is None:
            repairs.findings.append(Finding(f"{what}, and there is no copy of it: {models.store.uri(key)}"))
        else:
            repairs.findings.append(Finding(f"{what}: {models.store.uri(key)}", "it is restored from its copy"))
            repairs.writes.append(_replaces(models.ledger(name), key, copy))


def _alias(models: registry.Registry, ledger: registry_ledger.Ledger, log: Log, by: str, repairs: _Repairs) -> None:
    alias = ledger.store.get(ledger.alias_key)
    pointer = registry_log.pointer(alias.data) if alias is not None else None
    if alias is not None and pointer is not None and registry_ledger.agree(pointer, alias.data, log):
        if log.head and (pointer.entry or 0) < log.head:
            repairs.findings.append(Finding(_behind(pointer, log), "the alias is brought up to it"))
            repairs.writes.append(ledger.update_alias)
        return
    champion, why = log.champion, "the log names it"
    if not log.head:
        champion, why = (
            _newest_release(models, ledger.name),
            "no log tells, so it is the newest that was released; if it was another, promote that one by name",
        )
        if alias is None and champion is None:
            return
    state = (
        "gone"
        if alias is None
        else _DAMAGED
        if pointer is None
        else f"at version {pointer.version}, which does not fit the log"
    )
    to = f"version {champion}" if champion else "no version"
    repairs.findings.append(Finding(f"the alias {ledger.name}@champion is {state}", f"it leads to {to} again: {why}"))
    act = Act(
        action="repair",
        by=by,
        version=champion,
        from_version=log.champion,
        to_version=champion,
        reason=f"the alias was {state}",
    )
    repairs.writes.append(lambda: _rebuild(ledger, act, log.head + 1, alias))


def _rebuild(ledger: registry_ledger.Ledger, act: Act, number: int, alias: objectstore.Object | None) -> None:
    if ledger.append(act, number) is None:
        raise errors.StoreConflict(
            "A log must stay as it was found while it is repaired.",
            received=f"another entry {number}",
            todo=f"run it again: fer models repair {ledger.name}",
        )
    wanted = registry_log.encoded(Log(ledger.entries()).pointer())
    _write(ledger, ledger.alias_key, wanted, alias)


def _replaces(ledger: registry_ledger.Ledger, key: str, data: bytes) -> Callable[[], object]:
    return lambda: _write(ledger, key, data, ledger.store.get(key))


def _write(ledger: registry_ledger.Ledger, key: str, data: bytes, stored: objectstore.Object | None) -> None:
    """Write in the place of the `stored` object, of which a copy is kept."""
    if stored is None:
        ledger.store.put_if_absent(key, data)
        return
    ledger.store.put(f"models/{ledger.name}/damaged/{uuid.uuid4().hex}/{key.rsplit('/', 1)[-1]}", stored.data)
    ledger.store.put_if_match(key, data, stored.etag)


def _placeholder(name: str, number: int, by: str, before: int | None, after: int | None) -> Entry:
    return Entry(
        action="lost",
        by=by,
        from_version=before,
        to_version=after,
        reason="this entry was lost; what it said is not known",
        name=name,
        number=number,
        id=uuid.uuid4().hex,
        at_utc=registry_log.now(),
    )


def _newest_release(models: registry.Registry, name: str) -> int | None:
    released = []
    for version in models.numbers(name):
        try:
            manifest = models.get(name, str(version))
        except errors.IntegrityError:
            continue
        released += [version] if manifest.status == "released" else []
    return max(released, default=None)


def _behind(pointer: Pointer, log: Log) -> str:
    return f"the alias ends at entry {pointer.entry or 0} of the log, which goes to {log.head}"
