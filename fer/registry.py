"""The model registry: immutable versions of models, and aliases that move, in an object store.

    models/<name>/files/<upload>/<file>     a version's files, under a prefix that no other upload has
    models/<name>/versions/00007.json       the version's manifest: the version exists once this does
    models/<name>/aliases/champion.json     a pointer to a version

A manifest is written by one conditional put (`If-None-Match: *`), an alias moved by compare-and-swap (`If-Match`), so
that of several writers exactly one wins, and a writer that dies in the middle leaves files that nothing refers to.
"""

import concurrent.futures
import contextlib
import datetime
import json
import re
import uuid
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import pydantic
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from fer import errors, objectstore, workspace
from fer.progress import Progress, silent

CHAMPION = "champion"
_NAME = r"[a-z0-9][a-z0-9-]{0,62}"
_FILE = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"
_SHA256 = r"[0-9a-f]{64}"
_READERS = 8

Name = Annotated[str, Field(pattern=rf"^{_NAME}$")]


class File(BaseModel):
    """One file of a version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    sha256: str = Field(pattern=rf"^{_SHA256}$")
    size_bytes: int = Field(ge=0)


class Registration(BaseModel):
    """What a version says about itself: how it came about, how good it is, what the gates said."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    status: Literal["released", "rejected"]
    reasons: tuple[str, ...] = Field(description="the verdict's lines")
    registration_key: str = Field(min_length=1, description="a second registration with it is the first one")
    model_digest: str
    recipe: dict[str, Any]
    inputs: dict[str, str] = Field(description="stage -> digest of its output; of weights, which they are")
    code_fingerprint: str
    metrics: dict[str, Any]
    environment: dict[str, str] = Field(description="of the training: library -> version; what else decides its bits")
    champion_at_registration: int | None = Field(description="the version that it was compared with")


class Manifest(Registration):
    """A version."""

    format_version: Literal[1] = 1
    name: Name
    version: int = Field(ge=1)
    created_utc: AwareDatetime
    files: dict[Annotated[str, Field(pattern=rf"^{_FILE}$")], File]

    @pydantic.model_validator(mode="after")
    def _files_are_its_own(self) -> Self:
        for file in self.files.values():
            if not file.key.startswith(f"models/{self.name}/files/") or ".." in file.key:
                raise ValueError(f"a file's key must be under models/{self.name}/files/")
        return self


class Alias(NamedTuple):
    """What an alias points to; `etag` names this very state of it."""

    version: int
    etag: str


class Spec(NamedTuple):
    """A model and which version of it: a number, or an alias."""

    name: str
    which: str


def parse_spec(text: str) -> Spec:
    """`name`, `name@alias` or `name@3`; without `@`, the champion. Raises ConfigError."""
    found = re.fullmatch(rf"({_NAME})(?:@([1-9][0-9]{{0,8}}|{_NAME}))?", text)
    if found is None:
        raise errors.ConfigError(
            "A model must be NAME, NAME@ALIAS or NAME@VERSION.", received=text, todo=f"for example demo@{CHAMPION}"
        )
    return Spec(found[1], found[2] or CHAMPION)


class Registry:
    """The registry in `store`."""

    def __init__(self, store: objectstore.ObjectStore):
        self.store = store

    def register(
        self, name: str, files: dict[str, Path], registration: Registration, progress: Progress = silent
    ) -> Manifest:
        """Upload the files and add the next version; or return the version that has this registration's key.

        What killed uploads left is removed first, a day later: nobody would do it by hand.
        Raises ConfigError for names that are not valid, StoreError where the store fails: then no version came about,
        or, if only the store's answer was lost, the same call finds it.
        """
        _check(name, _NAME, "A model's name")
        for file in files:
            _check(file, _FILE, "A file's name")
        with contextlib.suppress(errors.StoreError):  # no reason not to register
            self.remove_orphans(name)
        known = self.versions(name)
        for manifest in known:
            if manifest.registration_key == registration.registration_key:
                return manifest
        prefix = f"models/{name}/files/{uuid.uuid4().hex}/"
        uploaded = self._upload(prefix, files, progress)
        version = max((manifest.version for manifest in known), default=0) + 1
        while True:
            made = Manifest(
                **dict(registration),
                name=name,
                version=version,
                created_utc=datetime.datetime.now(datetime.UTC),
                files=uploaded,
            )
            data = made.model_dump_json(indent=1).encode()
            try:
                self.store.put_if_absent(_version_key(name, version), data)
            except errors.StoreConflict:
                other = self._version(name, version)
                if other is not None and other.registration_key == registration.registration_key:
                    self._remove(prefix)
                    return other
                version += 1  # one at a time, so that no other writer's version goes unseen
            else:
                return Manifest.model_validate_json(data)  # as `get` would give it: lists for tuples

    def names(self) -> tuple[str, ...]:
        """The models that have a version, sorted."""
        return tuple(
            name for name in sorted(self.store.folders("models/")) if any(self.store.list(f"models/{name}/versions/"))
        )

    def versions(self, name: str) -> list[Manifest]:
        """The model's versions, oldest first; none for an unknown model."""
        _check(name, _NAME, "A model's name")
        prefix = f"models/{name}/versions/"
        numbers = sorted(
            int(found[1])
            for listed in self.store.list(prefix)
            if (found := re.fullmatch(r"([0-9]+)\.json", listed.key.removeprefix(prefix)))
        )
        with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
            manifests = readers.map(lambda version: self._version(name, version), numbers)
            return [each for each in manifests if each is not None]

    def get(self, name: str, which: str = CHAMPION) -> Manifest:
        """The version with this number or alias. Raises ConfigError if there is none."""
        _check(name, _NAME, "A model's name")
        version = int(which) if re.fullmatch(r"[1-9][0-9]{0,8}", which) else None
        if version is None:
            alias = self.alias(name, which)
            if alias is None:
                raise errors.ConfigError(
                    f"The model {name!r} must have the alias {which!r}.",
                    received="no such alias",
                    todo="see `fer models list`; `fer retrain` makes a champion when its gates pass",
                )
            version = alias.version
        manifest = self._version(name, version)
        if manifest is None:
            raise errors.ConfigError(
                "The version must be in the registry.", received=f"{name}@{version}", todo="see `fer models list`"
            )
        return manifest

    def alias(self, name: str, alias: str = CHAMPION) -> Alias | None:
        """What the alias points to, or None if there is no such alias."""
        found = self.store.get(_alias_key(name, alias))
        if found is None:
            return None
        try:
            return Alias(int(json.loads(found.data)["version"]), found.etag)
        except (ValueError, KeyError, TypeError):
            raise self._damaged(_alias_key(name, alias)) from None

    def promote(self, name: str, version: int, expected: Alias | None, alias: str = CHAMPION) -> Alias:
        """Point the alias to `version`, if it still is as `expected` (None: not there).

        Nothing happens if it points there already, even if it was just moved there. Raises StoreConflict if another one
        moved it elsewhere, ConfigError if the version is not there or was rejected.
        """
        if self.get(name, str(version)).status != "released":
            raise errors.ConfigError(
                "A version that is promoted must have passed its gates.",
                received=f"{name}@{version}, which was rejected",
                todo=f"see why: `fer models show {name}@{version}`",
            )
        current = self.alias(name, alias)
        if current is not None and current.version == version:
            return current
        # The ID makes each state's bytes, and so its ETag, its own: moved away and back is not the state that was.
        pointer = {
            "version": version,
            "previous": expected.version if expected else None,
            "moved_utc": datetime.datetime.now(datetime.UTC).isoformat(),
            "id": uuid.uuid4().hex,
        }
        key, data = _alias_key(name, alias), json.dumps(pointer).encode()
        try:
            if expected is None:
                return Alias(version, self.store.put_if_absent(key, data))
            return Alias(version, self.store.put_if_match(key, data, expected.etag))
        except errors.StoreConflict:
            current = self.alias(name, alias)
            if current is None or current.version != version:
                raise
            return current

    def fetch(self, manifest: Manifest, into: Path, progress: Progress = silent) -> Path:
        """Download the version's files into a folder; what is there and whole is kept. Returns the folder.

        Raises IntegrityError if a file is not the one that was registered; that file is not left there.
        """
        for done, (file, stored) in enumerate(manifest.files.items()):
            progress(done, len(manifest.files), file)
            path = into / file
            if path.is_file() and workspace.file_sha256(path) == stored.sha256:
                continue
            path.unlink(missing_ok=True)
            self.store.download_file(stored.key, path, stored.sha256)
        progress(len(manifest.files), len(manifest.files))
        return into

    def remove_orphans(self, name: str, older_than_s: float = 86_400) -> tuple[str, ...]:
        """Remove uploads that no version refers to and that nothing was added to for so long; their prefixes."""
        _check(name, _NAME, "A model's name")
        newest: dict[str, datetime.datetime] = {}
        for listed in self.store.list(f"models/{name}/files/"):
            prefix = listed.key.rsplit("/", 1)[0] + "/"
            newest[prefix] = max(newest.get(prefix, listed.modified), listed.modified)
        # Versions after files: an upload that becomes a version meanwhile is seen.
        used = {file.key.rsplit("/", 1)[0] + "/" for each in self.versions(name) for file in each.files.values()}
        before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=older_than_s)
        orphans = tuple(prefix for prefix, when in newest.items() if prefix not in used and when <= before)
        for prefix in orphans:
            self._remove(prefix)
        return orphans

    def uri(self, manifest: Manifest) -> str:
        """The `s3://` URI of the version's manifest."""
        return self.store.uri(_version_key(manifest.name, manifest.version))

    def _upload(self, prefix: str, files: dict[str, Path], progress: Progress) -> dict[str, File]:
        uploaded: dict[str, File] = {}
        try:
            for done, (file, path) in enumerate(files.items()):
                progress(done, len(files), file)
                sent = self.store.upload_file(prefix + file, path)
                uploaded[file] = File(key=prefix + file, sha256=sent.sha256, size_bytes=sent.size_bytes)
        except BaseException:
            with contextlib.suppress(errors.StoreError):
                self._remove(prefix)
            raise
        progress(len(files), len(files))
        return uploaded

    def _remove(self, prefix: str) -> None:
        for listed in list(self.store.list(prefix)):
            self.store.delete(listed.key)

    def _version(self, name: str, version: int) -> Manifest | None:
        key = _version_key(name, version)
        found = self.store.get(key)
        if found is None:
            return None
        try:
            manifest = Manifest.model_validate_json(found.data)
        except pydantic.ValidationError:
            raise self._damaged(key) from None
        if (manifest.name, manifest.version) != (name, version):
            raise self._damaged(key)
        return manifest

    def _damaged(self, key: str) -> errors.IntegrityError:
        return errors.IntegrityError(
            "What the registry holds must be as it was written.",
            received=f"something else at {self.store.uri(key)}",
            todo="restore it from a backup; a newer version of this project may have written it",
        )


def _version_key(name: str, version: int) -> str:
    return f"models/{name}/versions/{version:05d}.json"


def _alias_key(name: str, alias: str) -> str:
    _check(name, _NAME, "A model's name")
    _check(alias, rf"(?![0-9]+$){_NAME}", "An alias")
    return f"models/{name}/aliases/{alias}.json"


def _check(text: str, pattern: str, what: str) -> None:
    if re.fullmatch(pattern, text) is None:
        raise errors.ConfigError(f"{what} must match {pattern}.", received=repr(text))
