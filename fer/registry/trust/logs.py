"""Signatures of a log: each of an entry and of all before it; and how far the log went when it was last read here.

A log that is taken back to an earlier state is whole, and signed; only who has seen more of it can tell.
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

from fer import errors
from fer.engine import disk
from fer.registry.log import Entry
from fer.registry.trust import keys, policy, signatures
from fer.registry.trust.policy import Policy, Verified

_KIND = "log"


class Seen(NamedTuple):
    """How far a log went: its last entry's number, from 1, and SHA-256 (hex)."""

    entry: int
    sha256: str


def seen(demands: Policy, name: str) -> Seen | None:
    """How far the log went when it was last read here; None if it was not, or nothing of that kind is demanded."""
    if demands.heads is None or not demands.required:
        return None
    try:
        document = json.loads((demands.heads / f"{name}.json").read_bytes())
        return Seen(max(1, int(document["entry"])), str(document["entry_sha256"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def signed(entry: Entry, before: Sequence[str], key: keys.PrivateKey) -> Entry:
    """The entry with the key's signature; `before` are the digests of all entries before it."""
    content = disk.seal(entry.model_dump(mode="json"))
    signature = signatures.sign(_message(entry.model_copy(update={"content": content}), before), key)
    return entry.model_copy(update={"signature": signature})


def verified(demands: Policy, entries: Sequence[Entry]) -> Verified:
    """What the signature of the last entry amounts to, which covers all of them."""
    if not entries:
        return Verified()
    last = entries[-1]
    message = _message(last, [entry.digest for entry in entries[:-1]])
    return demands.verified(message, () if last.signature is None else (last.signature,))


def require(
    demands: Policy,
    name: str,
    entries: Sequence[Entry],
    where: str,
    seen: Seen | None,
    *,
    has_older_alias: bool = False,
) -> None:
    """Raise IntegrityError if the log is not signed as is demanded, or does not go on from what was `seen` of it here
    before it was read now: others may write to it, and remember it, at any time.

    `has_older_alias`: there is a champion from before there was a log.
    """
    if not demands.is_active:
        return
    found = verified(demands, entries)
    if not entries and has_older_alias and demands.required:
        found = Verified(fault="no log, but a champion")
    if found.fault:
        raise policy.refused(
            f"The log of {name!r}",
            where,
            found.fault,
            f"do not use it before you know who wrote it: fer models log {name}; if it is as it should be, sign it: "
            f"fer models sign {name}; or trust the key: fer keys trust FILE.pub",
        )
    if not demands.required:
        return
    if seen is not None and (seen.entry > len(entries) or entries[seen.entry - 1].digest != seen.sha256):
        raise errors.IntegrityError(
            f"The log of {name!r} must go on from where it was when it was last read here.",
            received=f"{len(entries):,} entries, which do not go on from entry {seen.entry:,} with the SHA-256 "
            f"{seen.sha256}: {where}",
            todo=f"find out who took it back; if that was you, as by restoring a backup: fer models sign {name}",
        )
    if entries and (seen is None or seen.entry < len(entries)):
        remember(demands, name, entries)


def remember(demands: Policy, name: str, entries: Sequence[Entry]) -> None:
    """Take this for how far the log goes."""
    if demands.heads is None or not entries:
        return
    document = {"name": name, "entry": len(entries), "entry_sha256": entries[-1].digest}
    with contextlib.suppress(OSError):  # where nothing can be written, nothing is remembered
        demands.heads.mkdir(parents=True, exist_ok=True)
        disk.write(demands.heads / f"{name}.json", json.dumps(document).encode())


def _message(entry: Entry, before: Sequence[str]) -> bytes:
    earlier = hashlib.sha256("\n".join(before).encode()).hexdigest()
    statement = {"name": entry.name, "number": entry.number, "content": entry.content, "entries_before": earlier}
    return signatures.message(_KIND, statement)
