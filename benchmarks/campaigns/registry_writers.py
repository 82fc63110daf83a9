"""Many processes that promote, roll back and register at once on the real embedded store, while it is disturbed.

    python -m benchmarks.campaigns.registry_writers                                # a trial of each kind, 60 s each
    python -m benchmarks.campaigns.registry_writers --writers 16 --seconds 20      # smaller ones
    python -m benchmarks.campaigns.registry_writers --kind "the store answers 503"
    python -m benchmarks.campaigns.registry_writers --table       # no trial: docs/reference/registry-writers.md

Each writer notes what it was told of each act, before it begins the next. When all have ended, the store is whole again
and the log is read, a trial is held if: every acknowledged act is in the log, under its number and ID; no number was
acknowledged twice, and no state of the champion was left by two acknowledged acts, so that each round had one winner;
each entry begins where the one before ended, so that none overwrote another; the chain of digests holds and the alias
is where the log ends, or behind it; every version that a reader saw could be fetched whole at once, every acknowledged
one still can, and nothing is left that `fer models repair` could not put right.
"""

import argparse
import contextlib
import dataclasses
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from benchmarks.campaigns import faulty_proxy, trials
from fer import errors
from fer.engine import disk
from fer.engine.store import process, seaweedfs
from fer.engine.store.credentials import Credentials
from fer.engine.store.objectstore import ObjectStore
from fer.registry import log as registry_log
from fer.registry import moves, registry, repair
from fer.registry.manifest import Manifest, Registration

_PAGE = trials.ROOT / "docs" / "reference" / "registry-writers.md"
_MODEL, _BUCKET = "faces", "fer-models"
_VERSIONS = 6  # to begin with
_ACTS = (("promote", 4), ("promote as a run", 4), ("roll back", 2), ("register", 1), ("read", 3))
_PAUSE_S = 0.02
_DISTURB_EVERY_S = 1.5
_SILENCE_S = 2.0
_GRACE_S, _READY_S = 60.0, 120.0  # in which writers end, and in which they are ready
_END = "end"  # the file that says until when (seconds since 1970)
_SAID: dict[str, faulty_proxy.Fault] = {
    "the store answers 503": "503",
    "the store resets connections": "reset",
    "the store does not answer": "silence",
    "the store breaks off its answers": "truncated",
}
_CLIENTS, _STORE = "`kill -9` of clients", "`kill -9` of the store"
KINDS = (trials.UNDISTURBED, *_SAID, _CLIENTS, _STORE)


def main() -> None:
    """Read the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("registry-writers.jsonl"), help="a line for each trial")
    parser.add_argument("--writers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kind", choices=KINDS, action="append", help="of the trials; without it one of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true", help=f"write {_PAGE.relative_to(trials.ROOT)}, make no trial")
    arguments = parser.parse_args()
    if arguments.table:
        _PAGE.write_text(_page(trials.read(arguments.results)))
        return
    failed = False
    for kind in arguments.kind or KINDS:
        draw = random.Random(arguments.seed)  # noqa: S311 - no secret: the same seed disturbs at the same moments
        line = trial(kind, arguments.writers, arguments.seconds, draw)
        trials.append(arguments.results, line)
        failed = failed or not line["held"]
    sys.exit(failed)


def trial(kind: str, n_writers: int, seconds: float, draw: random.Random) -> dict[str, Any]:
    """One trial, as a line of the results."""
    with tempfile.TemporaryDirectory(prefix="fer-writers-") as folder:
        home = Path(folder)
        try:
            with _served(home) as proxy:
                place = Place(home, proxy)
                for number in range(_VERSIONS):
                    _register(place.models(proxied=False), f"first {number}")
                place.models(proxied=False).promote(_MODEL, 1, None)
                began = time.monotonic()
                n_killed = _at_work(place, kind, n_writers, seconds, draw)
                lasted_s = time.monotonic() - began
                faults, figures = _judged(place)
        finally:
            process.stop(home / "store")
    about = {"kind": kind, "disturbed": kind != trials.UNDISTURBED, "writers": n_writers, "seconds": round(lasted_s, 1)}
    disturbed = {"met": proxy.met, "killed": n_killed}
    return about | disturbed | figures | {"held": not faults, "faults": faults[:10]}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a trial goes on."""

    home: Path
    proxy: faulty_proxy.FaultyProxy

    def models(self, *, proxied: bool) -> registry.Registry:
        """The registry, by the proxy or without it."""
        endpoint, credentials = seaweedfs.access(self.home)
        return registry.Registry(ObjectStore(self.proxy.url if proxied else endpoint, _BUCKET, credentials))

    def journal(self, number: int) -> Path:
        """What a writer notes."""
        return self.home / f"journal-{number:05d}.jsonl"


@contextlib.contextmanager
def _served(home: Path) -> Iterator[faulty_proxy.FaultyProxy]:
    """The embedded store behind a proxy that can spoil its answers."""
    seaweedfs.up(home)
    endpoint, credentials = seaweedfs.access(home)
    ObjectStore(endpoint, _BUCKET, credentials).ensure_bucket()

    def target() -> tuple[str, int]:
        parts = urlsplit(seaweedfs.access(home)[0])
        return str(parts.hostname), int(parts.port or 0)

    with faulty_proxy.serving(target) as proxy:
        yield proxy


def _at_work(place: Place, kind: str, n_writers: int, seconds: float, draw: random.Random) -> int:
    """Let the writers write for so long while the store is disturbed; how many processes were killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["boto3", "botocore.session", "fer.registry.moves", "fer.registry.repair", "benchmarks.campaigns.trials"]
    )
    endpoint, credentials = seaweedfs.access(place.home)
    assert credentials is not None
    keys = (credentials.access_key_id, credentials.secret_access_key.get_secret_value())
    url = endpoint if kind in (trials.UNDISTURBED, _CLIENTS, _STORE) else place.proxy.url
    numbers = iter(range(10**5))
    n_killed = 0

    def writer() -> Any:
        number = next(numbers)
        begun = context.Process(target=write, args=(url, keys, str(place.journal(number)), number), daemon=True)
        begun.start()
        return begun

    writers = [writer() for _ in range(n_writers)]
    ready_by = time.monotonic() + _READY_S
    while len(list(place.home.glob("journal-*"))) < n_writers and time.monotonic() < ready_by:
        time.sleep(trials.POLL_S)
    end = time.time() + seconds
    disk.write(place.home / _END, str(end).encode())
    while time.time() < end:
        time.sleep(_DISTURB_EVERY_S * draw.uniform(0.5, 1.5))
        if kind in _SAID:
            fault = _SAID[kind]
            place.proxy.spoil(fault, times=draw.randint(1, 2 * n_writers))
            if fault == "silence":
                threading.Timer(_SILENCE_S, place.proxy.heal).start()
        elif kind == _CLIENTS:
            for at in draw.sample(range(n_writers), max(1, n_writers // 8)):
                writers[at].kill()
                writers[at] = writer()
                n_killed += 1
        elif kind == _STORE and end - time.time() > 2 * _DISTURB_EVERY_S and draw.random() < 0.3:
            for pid in process.pids(place.home / "store"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    n_killed += 1
            seaweedfs.up(place.home)
    place.proxy.heal()
    deadline = time.monotonic() + _GRACE_S
    for one in writers:
        one.join(max(0.1, deadline - time.monotonic()))
        if one.is_alive():
            one.kill()
    return n_killed


def write(endpoint: str, keys: tuple[str, str], journal: str, number: int) -> None:
    """A writer's process: be ready, act until the time that is told, and note each act and what came of it."""
    store = ObjectStore(endpoint, _BUCKET, Credentials(keys[0], SecretStr(keys[1])))
    draw = random.Random(number)  # noqa: S311 - no secret: the same writer draws the same acts
    with contextlib.suppress(errors.FerError):  # disturbed already
        registry.Registry(store).log(_MODEL)
    descriptor = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(**line: Any) -> None:
        os.write(descriptor, (json.dumps(line) + "\n").encode())

    told = Path(journal).with_name(_END)
    while not told.exists():
        time.sleep(_PAUSE_S)
    end = float(told.read_text())
    names, weights = zip(*_ACTS, strict=True)
    while time.time() < end:
        models = registry.Registry(store)
        act = draw.choices(names, weights)[0]
        note(act=act, begun=time.time())
        try:
            note(act=act, **_ACT[act](models, draw, number))
        except errors.StoreUnavailable as error:
            note(act=act, unknown=type(error).__name__)
        except (errors.StoreConflict, errors.ConfigError) as error:
            note(act=act, refused=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - noted as a fault: the trial is not held then
            note(act=act, failed=f"{type(error).__name__}: {error}"[:500])
        time.sleep(draw.uniform(0, _PAUSE_S))


def _entry(entry: registry_log.Entry | None) -> dict[str, Any]:
    if entry is None:
        return {"nothing": True}
    return {"number": entry.number, "id": entry.id, "from": entry.from_version, "to": entry.to_version}


def _promote(models: registry.Registry, draw: random.Random, writer: int) -> dict[str, Any]:
    return _entry(moves.promote(models, _MODEL, draw.choice(models.numbers(_MODEL)), by=f"writer {writer}"))


def _promote_as_run(models: registry.Registry, draw: random.Random, writer: int) -> dict[str, Any]:
    """Decided by the champion as it was read, some time before: of all who read the same, one may win."""
    seen = models.alias(_MODEL)
    version = draw.choice(models.numbers(_MODEL))
    time.sleep(draw.uniform(0, 5 * _PAUSE_S))
    reached = models.promote(_MODEL, version, seen, by=f"writer {writer}")
    if seen is not None and (reached.version == seen.version or reached.state == seen.state):
        return {"nothing": True}
    was = None if seen is None else seen.state
    return {"id": reached.state, "to": reached.version, "seen": was, "by": f"writer {writer}"}


def _roll_back(models: registry.Registry, draw: random.Random, writer: int) -> dict[str, Any]:
    return _entry(moves.rollback(models, _MODEL, by=f"writer {writer}"))


def _register_one(models: registry.Registry, draw: random.Random, writer: int) -> dict[str, Any]:
    made = _register(models, f"{writer} {draw.random()}")
    return {"version": made.version, "key": made.registration_key}


def _read(models: registry.Registry, draw: random.Random, writer: int) -> dict[str, Any]:
    """Fetch the champion, or any version that is there: it must be whole."""
    version = draw.choice([*models.numbers(_MODEL)[-2:], *models.numbers(_MODEL)])
    manifest = models.get(_MODEL, str(version))
    with tempfile.TemporaryDirectory() as folder:
        models.fetch(manifest, Path(folder))
    return {"read": version}


_ACT: dict[str, Callable[[registry.Registry, random.Random, int], dict[str, Any]]] = {
    "promote": _promote,
    "promote as a run": _promote_as_run,
    "roll back": _roll_back,
    "register": _register_one,
    "read": _read,
}


def _register(models: registry.Registry, key: str) -> Manifest:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_text(key)
        registration = Registration(
            status="released",
            reasons=(),
            registration_key=key,
            model_digest=key,
            recipe={},
            inputs={},
            code_fingerprint="",
            metrics={"accuracy": 1.0, "accuracy_interval": [0.9, 1.0], "macro": {"f1": 1.0}},
            environment={},
            champion_at_registration=None,
        )
        return models.register(_MODEL, {"model.keras": path, "other.json": path}, registration)


def _judged(place: Place) -> tuple[list[str], dict[str, Any]]:
    """What was not as it must be, and how much was done."""
    models = place.models(proxied=False)
    noted = [
        json.loads(line)
        for path in sorted(place.home.glob("journal-*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    done = [line for line in noted if "begun" not in line]
    told = [line for line in done if "id" in line]
    registered = [line for line in done if "version" in line]
    faults = [f"{line['act']}: {line['failed']}" for line in done if "failed" in line]
    state = models.ledger(_MODEL).read()  # raises where the chain or the alias is broken
    entries = {entry.id: entry for entry in state.log.entries}
    for line in told:
        entry = entries.get(line["id"])
        if entry is None or entry.to_version != line["to"] or line.get("number", entry.number) != entry.number:
            faults.append(f"acknowledged, and not in the log: {line}")
    # Who wanted what another one has just made champion is told so, and has won nothing.
    acknowledged = [line for line in told if line["id"] in entries and line.get("by") in (None, entries[line["id"]].by)]
    twice = [one for one, count in Counter(line["id"] for line in acknowledged).items() if count > 1]
    faults += [f"acknowledged to two: entry {entries[one].number}" for one in twice if one in entries]
    left_by = Counter(line["seen"] for line in acknowledged if "seen" in line)
    faults += [f"two won the same round: {seen}" for seen, count in left_by.items() if count > 1]
    faults += [
        f"entry {after.number} begins at {after.from_version}, the one before ends at {before.to_version}"
        for before, after in zip(state.log.entries, state.log.entries[1:], strict=False)
        if after.from_version != before.to_version
    ]
    versions = {manifest.registration_key: manifest for manifest in models.versions(_MODEL)}
    for line in registered:
        if line["key"] not in versions or versions[line["key"]].version != line["version"]:
            faults.append(f"registered, and not there: {line}")
    with tempfile.TemporaryDirectory() as folder:
        for manifest in versions.values():
            try:
                models.fetch(manifest, Path(folder) / str(manifest.version))
            except errors.FerError as error:
                faults.append(f"version {manifest.version} is not whole: {error}")
    models.ledger(_MODEL).update_alias()
    found = repair.repair(models, _MODEL, apply=True)
    found += repair.repair(models, _MODEL, apply=False)
    faults += [f"to be repaired: {finding.what}" for finding in found if not finding.fix]
    moved = sum(entry.moves for entry in state.log.entries)
    return faults, {
        "acts": len(done),
        "acknowledged": len(acknowledged) + len(registered),
        "moves": moved,
        "versions": len(versions),
        "read_whole": sum("read" in line for line in done),
        "refused": sum("refused" in line for line in done),
        "unknown": sum("unknown" in line for line in done) + len(noted) - 2 * len(done),
        "repairs": len(found),
    }


def _page(lines: list[dict[str, Any]]) -> str:
    rows = [
        "# Registry writers",
        "",
        "Processes promoted, rolled back, registered and read one model at once, on the embedded store, while it was",
        "disturbed. A trial is held if every acknowledged act is in the log, each round had one winner, no entry",
        "overwrote another, and no version was ever seen in part. *Unknown* are acts whose answer was lost: they may",
        "have happened, once or not at all.",
        "",
        "| what was done to it | trials | held | processes | seconds | acknowledged | moves | read whole | unknown |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind in KINDS:
        ours = [line for line in lines if line["kind"] == kind]
        if not ours:
            continue
        total = {name: sum(line[name] for line in ours) for name in ("acknowledged", "moves", "read_whole", "unknown")}
        rows.append(
            f"| {kind} | {len(ours)} | {sum(line['held'] for line in ours)} | {max(line['writers'] for line in ours)} "
            f"| {sum(line['seconds'] for line in ours):,.0f} | {total['acknowledged']:,} | {total['moves']:,} "
            f"| {total['read_whole']:,} | {total['unknown']:,} |"
        )
    return "\n".join([*rows, "", *trials.footer(lines, "registry_writers")]) + "\n"


if __name__ == "__main__":
    main()
