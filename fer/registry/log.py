"""The log of a model: append-only entries, one for each registration and each move of its champion alias.

    models/<name>/log/00000012.json

An entry is made by one conditional put (`If-None-Match: *`) under the next number, so that the entries of all writers
stand in one order; none is changed or removed. What is true of a model – its champion, what was withdrawn, what may not
become champion by itself – is what its entries come to.
"""

import datetime
import getpass
import hashlib
import os
import platform
import re
from collections.abc import Sequence
from typing import Literal, Self

import pydantic
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from fer.engine.records import Record
from fer.registry import names

Action = Literal["found", "register", "promote", "rollback", "withdraw", "repair", "lost"]
_DONE = {"rollback": "rolled back", "withdraw": "withdrawn"}
MOST_CHARS = 1_000


class Copy(Record):
    """A copy of a version's manifest, beside its files, from which the manifest can be restored."""

    key: str
    sha256: str = Field(pattern=rf"^{names.SHA256}$")


class Act(Record):
    """What an entry says but for its place in the log.

    `found` takes over an alias from before there was a log. `register` claims a version's number, before its manifest
    is written. `lost` stands where an entry can't be read any more.
    """

    action: Action
    by: str = Field(max_length=MOST_CHARS, description="user@host, or a run's name and ID")
    version: names.Version | None = Field(default=None, description="the version that it is about")
    model_digest: str | None = Field(default=None, description="of that version's model")
    from_version: names.Version | None = Field(default=None, description="the champion before; None: there was none")
    to_version: names.Version | None = Field(default=None, description="the champion afterwards")
    verdict: tuple[str, ...] = Field(default=(), description="the lines of the verdict that a run acted upon")
    reason: str = Field(default="", max_length=MOST_CHARS)
    status: names.Status | None = Field(default=None, description="of a version that is registered")
    registration_key: str | None = None
    manifest: Copy | None = None

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
    id: str = Field(min_length=1, description="its own; of `found`, the SHA-256 of the alias that was found")
    at_utc: AwareDatetime

    @pydantic.model_validator(mode="after")
    def _copy_is_its_own(self) -> Self:
        if self.manifest is not None and not re.fullmatch(
            rf"models/{self.name}/files/[0-9a-f]+/\.manifest\.json", self.manifest.key
        ):
            raise ValueError(f"a manifest's copy must be under models/{self.name}/files/")
        return self


class Pointer(BaseModel):
    """The object of the champion alias: what the log came to at its entry `entry`.

    Those from before there was a log have no `entry`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: names.Version | None
    previous: names.Version | None = None
    moved_utc: AwareDatetime | None = None
    id: str = Field(default="", description="of the entry that moved it")
    entry: int | None = Field(default=None, ge=0)


class Log:
    """The entries of a model, in their order, and what they come to."""

    def __init__(self, entries: Sequence[Entry]):
        self.entries = tuple(entries)
        self.withdrawn: dict[int, Entry] = {}
        self._bars: dict[int, Entry] = {}
        for each in self.entries:
            if each.version is None:
                continue
            if each.action == "withdraw":
                self.withdrawn[each.version] = each
            if each.action in _DONE:
                self._bars[each.version] = each
            if each.action == "promote":
                self.withdrawn.pop(each.version, None)
                lifted = each.model_digest
                self._bars = {
                    version: bar
                    for version, bar in self._bars.items()
                    if version != each.version and (lifted is None or bar.model_digest != lifted)
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
        return next((each for each in reversed(self.entries) if each.moves), None)

    def pointer(self) -> Pointer:
        """The alias as it must be for these entries; the same one for whoever writes it. There must be entries."""
        moved = self.last_move
        return Pointer(
            version=self.champion,
            previous=moved.from_version if moved else None,
            moved_utc=(moved or self.entries[0]).at_utc,
            id=moved.id if moved else "",
            entry=self.head,
        )

    def lineage(self) -> list[int]:
        """The champions up to the present one, the oldest first, without those that were left by going back."""
        line: list[int] = []
        for each in self.entries:
            if not each.moves:
                continue
            if not line and each.from_version is not None:
                line.append(each.from_version)
            if each.to_version is None:
                line = []
            elif each.action in _DONE and each.to_version in line:
                del line[line.index(each.to_version) + 1 :]
            else:
                line.append(each.to_version)
        return line

    def bar(self, version: int | None, model_digest: str | None) -> Entry | None:
        """The entry that keeps a version, or whatever version has this model, from being promoted by a run."""
        if version is not None and (found := self._bars.get(version) or self.withdrawn.get(version)):
            return found
        same = (each for each in self._bars.values() if each.model_digest == model_digest is not None)
        return next(same, None)

    def claim(self, registration_key: str) -> Entry | None:
        """The entry that claimed a number for this registration."""
        claims = (each for each in reversed(self.entries) if each.action == "register")
        return next((each for each in claims if each.registration_key == registration_key), None)

    def claims(self) -> dict[int, Entry]:
        """version -> the entry that claimed its number."""
        return {each.version: each for each in self.entries if each.action == "register" and each.version}

    def highest_version(self) -> int:
        """The highest number of a version that an entry names; 0 if none does."""
        named = (each for entry in self.entries for each in (entry.version, entry.from_version, entry.to_version))
        return max((each for each in named if each is not None), default=0)


def said(entry: Entry) -> str:
    """A sentence on a version that was rolled back or withdrawn: when, by whom, why."""
    reason = f": {entry.reason}" if entry.reason else ""
    done = _DONE.get(entry.action, entry.action)
    return f"version {entry.version} was {done} on {entry.at_utc:%Y-%m-%d %H:%M} UTC by {entry.by}{reason}"


def why_barred(entry: Entry, version: int | None = None) -> str:
    """A sentence on why `version`, or the entry's own, is not promoted by a run, and how to change that."""
    same = f"version {version} is the same model as version {entry.version}: " if version != entry.version else ""
    return f"{same if version else ''}{said(entry)}; `fer models promote {entry.name}@{entry.version}` lifts it"


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
