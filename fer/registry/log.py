"""The log of a model: append-only entries, one for each registration and each move of its champion alias.

    models/<name>/log/00000012.json

An entry is made by one conditional put (`If-None-Match: *`) under the next number, so that the entries of all writers
stand in one order; none is changed or removed. The state of a model follows from its entries: its champion, the
versions that were withdrawn, and those that no run may promote.

Each entry holds the SHA-256 of the one before, and the alias that of its last one: who alters or takes out an entry has
to write all later ones and the alias anew, and whoever noted a digest of the log (`fer models log`) can tell.
"""

import datetime
import getpass
import hashlib
import itertools
import json
import os
import platform
import re
from collections.abc import Sequence
from typing import Literal, Self

import pydantic
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from fer.engine import disk
from fer.engine.records import Record
from fer.registry import names
from fer.registry.trust.signatures import Signature

Action = Literal["found", "register", "promote", "rollback", "withdraw", "repair", "lost", "sign", "clear"]
_PARTICIPLES = {"rollback": "rolled back", "withdraw": "withdrawn"}
_CLEARED = "cleared of its files"
MOST_CHARS = 1_000


class Copy(Record):
    """A copy of a version's manifest, beside its files, from which the manifest can be restored."""

    key: str
    sha256: str = Field(pattern=rf"^{names.SHA256}$")


class Act(Record):
    """An entry, except for its place in the log.

    `found` takes over an alias from before there was a log. `register` claims a version's number, before its manifest
    is written. `lost` stands where an entry can't be read any more. `sign` says that all before it is as it should be.
    `clear` says that the files of a version are removed from here on: it can't become champion any more.
    """

    action: Action
    by: str = Field(max_length=MOST_CHARS, description="user@host, or a run's name and ID")
    version: names.Version | None = Field(default=None, description="the version that it is about")
    model_digest: str | None = Field(default=None, description="of that version's model")
    from_version: names.Version | None = Field(default=None, description="the champion before; None: there was none")
    to_version: names.Version | None = Field(default=None, description="the champion afterwards")
    verdict: tuple[str, ...] = Field(default=(), description="the lines of the verdict that a run acted upon")
    reason: str = Field(default="", max_length=MOST_CHARS)
    waiver: bool = Field(default=False, description="promoted for this reason, without being shown to be better")
    override: bool = Field(default=False, description="promoted by a person although the gates refused it")
    status: names.Status | None = Field(default=None, description="of a version that is registered")
    registration_key: str | None = None
    manifest: Copy | None = None
    bill_sha256: str | None = Field(default=None, description="of the version's bill of materials")

    @property
    def moves(self) -> bool:
        """Whether another version is champion afterwards."""
        return self.from_version != self.to_version


class Entry(Act):
    """An entry of the log."""

    format_version: Literal[1] = 1
    name: names.Name
    alias: Literal["champion"] = "champion"
    number: int = Field(ge=1)
    id: str = Field(min_length=1, description="of this entry; of an older alias that is taken over, its SHA-256")
    at_utc: AwareDatetime
    before: str | None = Field(
        default=None,
        description="SHA-256 of the bytes of the entry before; empty for the first; null in logs from before entries "
        "were chained",
    )
    signature: Signature | None = Field(
        default=None, exclude_if=lambda signature: signature is None, description="of this entry and all before it"
    )
    digest: str = Field(default="", exclude=True, description="SHA-256 of the entry's own bytes; not among them")
    content: str = Field(default="", exclude=True, description="SHA-256 of what is signed of it; not in its bytes")

    @pydantic.model_validator(mode="after")
    def _copy_is_its_own(self) -> Self:
        if self.manifest is not None and not re.fullmatch(
            rf"models/{self.name}/files/[0-9a-f]+/\.manifest\.json", self.manifest.key
        ):
            raise ValueError(f"a manifest's copy must be under models/{self.name}/files/")
        return self


class Pointer(BaseModel):
    """The object of the champion alias: the state after the log's entry `entry`.

    Those from before there was a log have no `entry`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: names.Version | None
    previous: names.Version | None = None
    moved_utc: AwareDatetime | None = None
    id: str = Field(default="", description="of the entry that moved it")
    entry: int | None = Field(default=None, ge=0)
    entry_sha256: str = Field(default="", description="of the bytes of that entry")

    def goes_to(self, last: Entry) -> bool:
        """Whether the entry of its number is the one that it goes to, as far as it knows."""
        return last.number != self.entry or self.entry_sha256 in ("", last.digest)

    def agrees(self, other: "Pointer") -> bool:
        """Whether it is the same as `other`, which knows its entry's SHA-256; older ones don't."""
        return self in (other, other.model_copy(update={"entry_sha256": ""}))


def encoded(document: Entry | Pointer) -> bytes:
    """The bytes of an object of the registry, which holds its own SHA-256."""
    return disk.sealed(document.model_dump(mode="json"))


def entry(data: bytes) -> Entry | None:
    """The entry with these bytes; None if they are not as one was written. Older ones hold no SHA-256."""
    try:
        document, is_sealed = disk.unsealed(data)
        read = Entry.model_validate_json(json.dumps(document))
    except ValueError:
        return None
    if read.before is not None and not is_sealed:
        return None
    document.pop("signature", None)
    return read.model_copy(update={"digest": digest(data), "content": disk.seal(document)})


def digest(data: bytes) -> str:
    """SHA-256 (hex) of an object's bytes."""
    return hashlib.sha256(data).hexdigest()


def altered(entries: Sequence[Entry]) -> list[int]:
    """The numbers of those entries that are not what the entry after them says.

    What stood in the place of a `lost` entry nobody can say.
    """
    return [
        entry.number
        for entry, following in itertools.pairwise(entries)
        if following.number == entry.number + 1
        and "lost" not in (entry.action, following.action)
        and following.before != (None if following.before is None and entry.before is None else entry.digest)
    ]


def pointer(data: bytes) -> Pointer | None:
    """The alias with these bytes; None if they are not as one was written. Older ones hold no SHA-256."""
    try:
        document, is_sealed = disk.unsealed(data)
        read = Pointer.model_validate_json(json.dumps(document))
    except ValueError:
        return None
    return read if is_sealed or not read.entry_sha256 else None


class Log:
    """The entries of a model, in their order, and the state that follows from them."""

    def __init__(self, entries: Sequence[Entry]):
        self.entries = tuple(entries)
        self.withdrawn: dict[int, Entry] = {}
        self.cleared: dict[int, Entry] = {}
        self._bars: dict[int, Entry] = {}
        for entry in self.entries:
            if entry.version is None:
                continue
            if entry.action == "clear":
                self.cleared[entry.version] = entry
            if entry.action == "withdraw":
                self.withdrawn[entry.version] = entry
            if entry.action in _PARTICIPLES:
                self._bars[entry.version] = entry
            if entry.action == "promote":
                self.withdrawn.pop(entry.version, None)
                lifted = entry.model_digest
                self._bars = {
                    version: bar
                    for version, bar in self._bars.items()
                    if version != entry.version and (lifted is None or bar.model_digest != lifted)
                }

    @property
    def head(self) -> int:
        """The number of the last entry; 0 if there is none."""
        return self.entries[-1].number if self.entries else 0

    @property
    def champion(self) -> int | None:
        """The version that is champion, if one is."""
        return self.entries[-1].to_version if self.entries else None

    @property
    def last_move(self) -> Entry | None:
        """The entry that made the champion what it is."""
        return next((entry for entry in reversed(self.entries) if entry.moves), None)

    def pointer(self) -> Pointer:
        """The alias as it must be for these entries; the same one for whoever writes it. There must be entries."""
        moved = self.last_move
        return Pointer(
            version=self.champion,
            previous=moved.from_version if moved else None,
            moved_utc=(moved or self.entries[0]).at_utc,
            id=moved.id if moved else "",
            entry=self.head,
            entry_sha256=self.entries[-1].digest,
        )

    def lineage(self) -> list[int]:
        """The champions up to the present one, the oldest first, without those that were rolled back."""
        line: list[int] = []
        for entry in self.entries:
            if not entry.moves:
                continue
            if not line and entry.from_version is not None:
                line.append(entry.from_version)
            if entry.to_version is None:
                line = []
            elif entry.action in _PARTICIPLES and entry.to_version in line:
                del line[line.index(entry.to_version) + 1 :]
            else:
                line.append(entry.to_version)
        return line

    def bar(self, version: int | None, model_digest: str | None) -> Entry | None:
        """The entry that keeps a version, or whatever version has this model, from being promoted by a run."""
        if version is not None and (bar := self._bars.get(version) or self.withdrawn.get(version)):
            return bar
        same = (bar for bar in self._bars.values() if bar.model_digest == model_digest is not None)
        return next(same, None)

    def claim(self, registration_key: str) -> Entry | None:
        """The entry that claimed a number for this registration."""
        claims = (entry for entry in reversed(self.entries) if entry.action == "register")
        standing = (claim for claim in claims if claim.version not in self.cleared)  # a cleared one is made anew
        return next((claim for claim in standing if claim.registration_key == registration_key), None)

    def claims(self) -> dict[int, Entry]:
        """version -> the entry that claimed its number."""
        return {entry.version: entry for entry in self.entries if entry.action == "register" and entry.version}

    def highest_version(self) -> int:
        """The highest number of a version that an entry names; 0 if none does."""
        versions = (v for entry in self.entries for v in (entry.version, entry.from_version, entry.to_version))
        return max((version for version in versions if version is not None), default=0)


def describe(entry: Entry) -> str:
    """A sentence on a version that was rolled back, withdrawn or cleared: when, by whom, why."""
    reason = f": {entry.reason}" if entry.reason else ""
    participle = _CLEARED if entry.action == "clear" else _PARTICIPLES.get(entry.action, entry.action)
    return f"version {entry.version} was {participle} on {entry.at_utc:%Y-%m-%d %H:%M} UTC by {entry.by}{reason}"


def why_barred(entry: Entry, version: int | None = None) -> str:
    """A sentence on why `version`, or the entry's own, is not promoted by a run, and how to change that."""
    same = f"version {version} is the same model as version {entry.version}: " if version != entry.version else ""
    return f"{same if version else ''}{describe(entry)}; `fer models promote {entry.name}@{entry.version}` lifts it"


def identity(alias: bytes) -> str:
    """The ID of the state of an alias from before there was a log."""
    return hashlib.sha256(alias).hexdigest()


def now() -> datetime.datetime:
    """Now, in UTC."""
    return datetime.datetime.now(datetime.UTC)


def operator() -> str:
    """Who acts, where it is no run: user@host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in some containers
        user = f"uid {os.getuid()}"
    return f"{user}@{platform.node() or 'unknown'}"
