"""The model registry: immutable versions of models, and aliases that move, in an object store.

    models/<name>/files/<upload>/<file>     a version's files, under a prefix that no other upload has; beside them its
                                            manifest's copy, signatures and bill of materials
    models/<name>/log/00000012.json         what was done: a version's number claimed, the champion moved
    models/<name>/versions/00007.json       the version's manifest: the version exists once this does
    models/<name>/aliases/champion.json     a pointer to a version

Entries of the log and manifests are written by one conditional put (`If-None-Match: *`), an alias moved by
compare-and-swap (`If-Match`), so that of several writers exactly one wins. A writer that dies in the middle leaves
files that nothing refers to, a number whose manifest can be restored from its copy, or an alias that is behind its log.
"""

import concurrent.futures
import contextlib
import datetime
import hashlib
import re
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import pydantic

from fer import errors
from fer.engine import disk
from fer.engine.store import objectstore
from fer.progress import Progress, silent
from fer.registry import ledger as registry_ledger
from fer.registry import log as registry_log
from fer.registry import names
from fer.registry.clearing import cleared, uploads
from fer.registry.log import Act, Log
from fer.registry.manifest import File, Manifest, Registration
from fer.registry.names import CHAMPION
from fer.registry.trust import releases as signed_releases
from fer.registry.trust.policy import Policy

COPY = uploads.COPY
_READERS = 8


class Alias(NamedTuple):
    """What an alias points to; `state` names this very state of it."""

    version: int
    state: str


class Why(NamedTuple):
    """Why a run promotes a version; `waiver`: without it being shown to be better."""

    reason: str = ""
    waiver: bool = False


class Registry:
    """The registry in `store`, signed as `policy` demands."""

    def __init__(self, store: objectstore.ObjectStore, policy: Policy | None = None):
        self.store = store
        self.policy = policy or Policy()

    def register(
        self,
        name: str,
        files: dict[str, Path],
        registration: Registration,
        progress: Progress = silent,
        by: str | None = None,
        bill: bytes | None = None,
    ) -> Manifest:
        """Upload the files and add the next version; or return the version that has this registration's key.

        `by` says who registers it; None: who runs this process. `bill` is its bill of materials. It is signed if there
        is a key. Files of uploads that were killed more than a day ago are removed first. Raises ConfigError for names
        that are not valid, IntegrityError if something of the model was lost, StoreError where the store fails: then
        there is no new version, or the same call returns it.
        """
        names.check_name(name)
        for file in files:
            names.check_file(file)
        key = self.policy.signing_key()
        with contextlib.suppress(errors.StoreError):  # no reason not to register
            self.remove_orphans(name)
        ledger = self.ledger(name)
        known = self._registered(name, registration.registration_key, ledger.read().log)
        if known is not None:
            return known
        prefix = f"models/{name}/files/{uuid.uuid4().hex}/"
        uploaded = self._upload(prefix, files, progress)
        others: list[Manifest] = []

        def claim(state: registry_ledger.State) -> Act | None:
            if (other := self._claimed(name, registration.registration_key, state.log)) is not None:
                others.append(other)
                return None
            manifest = Manifest(
                **dict(registration),
                name=name,
                version=max([state.log.highest_version(), *self.numbers(name)]) + 1,
                created_utc=datetime.datetime.now(datetime.UTC),
                files=uploaded,
            )
            data = manifest.model_dump_json(indent=1).encode()
            self.store.put(prefix + COPY, data)
            if bill is not None:
                self.store.put(prefix + signed_releases.BILL, bill)
            if key is not None:
                stated = signed_releases.statement(name, manifest.version, data, bill)
                signed_releases.sign(self.store, prefix, stated, key)
            uploads.require(self.store, prefix, [*files, COPY])
            return Act(
                action="register",
                by=by or registry_log.operator(),
                version=manifest.version,
                model_digest=manifest.model_digest,
                from_version=state.champion,
                to_version=state.champion,
                verdict=manifest.reasons,
                status=manifest.status,
                registration_key=manifest.registration_key,
                manifest=registry_log.Copy(key=prefix + COPY, sha256=hashlib.sha256(data).hexdigest()),
                bill_sha256=None if bill is None else hashlib.sha256(bill).hexdigest(),
            )

        while True:
            entry = ledger.move(claim)
            if entry is None:
                self._remove(prefix)
                return others[-1]
            version = self.restore(entry)
            if version is None:
                raise self._damaged(name, prefix + COPY)
            if version.registration_key == registration.registration_key:  # else a writer without a log took the number
                return version

    def restore(self, claim: registry_log.Entry) -> Manifest | None:
        """The version whose number the entry claimed, its manifest written anew from the copy if it is not there.

        None if it is not there and the copy is not whole.
        """
        if claim.version is None or claim.manifest is None:
            return None
        manifest = self._version(claim.name, claim.version, claim)
        if manifest is None and (data := self.copy(claim)) is not None:
            with contextlib.suppress(errors.StoreConflict):
                self.store.put_if_absent(names.version_key(claim.name, claim.version), data)
            manifest = self._version(claim.name, claim.version, claim)
        return manifest

    def copy(self, claim: registry_log.Entry) -> bytes | None:
        """The copy of the manifest that the entry names; None if it is not whole."""
        stored = self.store.get(claim.manifest.key) if claim.manifest is not None else None
        if stored is None or claim.manifest is None:
            return None
        return stored.data if hashlib.sha256(stored.data).hexdigest() == claim.manifest.sha256 else None

    def _registered(self, name: str, registration_key: str, log: registry_log.Log) -> Manifest | None:
        """The version that has this registration's key; finished, if only its number was claimed."""
        same = (
            manifest
            for manifest in self.versions(name)
            if manifest.registration_key == registration_key and manifest.version not in log.cleared
        )
        return next(same, None) or self._claimed(name, registration_key, log)

    def _claimed(self, name: str, registration_key: str, log: registry_log.Log) -> Manifest | None:
        claim = log.claim(registration_key)
        manifest = self.restore(claim) if claim is not None else None
        return manifest if manifest is not None and manifest.registration_key == registration_key else None

    def names(self) -> tuple[str, ...]:
        """The models that have a version, or had one, sorted."""
        return tuple(
            name
            for name in sorted(self.store.folders("models/"))
            if any(self.store.list(f"models/{name}/versions/")) or any(self.store.list(f"models/{name}/log/"))
        )

    def versions(self, name: str) -> list[Manifest]:
        """The model's versions, oldest first; none for an unknown model."""
        names.check_name(name)
        with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
            claims = self._claims(name)
            manifests = readers.map(
                lambda version: self._version(name, version, claims.get(version)), self.numbers(name)
            )
            return [manifest for manifest in manifests if manifest is not None]

    def numbers(self, name: str) -> list[int]:
        """The numbers of the versions whose manifests are there, damaged ones among them."""
        prefix = f"models/{name}/versions/"
        keys = (listed.key.removeprefix(prefix) for listed in self.store.list(prefix))
        return sorted(int(match[1]) for key in keys if (match := re.fullmatch(r"([0-9]+)\.json", key)))

    def get(self, name: str, which: str = CHAMPION) -> Manifest:
        """The version with this number or alias. Raises ConfigError if there is none, IntegrityError if it was lost."""
        names.check_name(name)
        version = names.parse_version(which)
        if version is None:
            alias = self.alias(name, which)
            if alias is None:
                raise self._no_alias(name, which)
            version = alias.version
        manifest = self._version(name, version, self._claims(name).get(version))
        if manifest is None:
            if not which.isdecimal() or version in self.ledger(name).read().log.claims():
                raise self._damaged(name, names.version_key(name, version), "nothing")
            raise errors.ConfigError(
                "The version must be in the registry.", received=f"{name}@{version}", todo="see `fer models list`"
            )
        return manifest

    def alias(self, name: str, alias: str = CHAMPION) -> Alias | None:
        """What the alias points to, or None if there is no such alias. Raises IntegrityError if it was lost."""
        key = names.alias_key(name, alias)
        if alias == CHAMPION:
            state = self.ledger(name).read()
            return None if state.champion is None else Alias(state.champion, state.id)
        stored = self.store.get(key)
        if stored is None:
            return None
        pointer = registry_log.pointer(stored.data)
        if pointer is None:
            raise self._damaged(name, key)
        return None if pointer.version is None else Alias(pointer.version, registry_log.identity(stored.data))

    def ledger(self, name: str) -> registry_ledger.Ledger:
        """The log of a model and its champion alias."""
        names.check_name(name)
        return registry_ledger.Ledger(self.store, name, lambda: _had_champion(self.versions(name)), self.policy)

    def log(self, name: str) -> registry_log.Log:
        """The log of a model. Raises IntegrityError if any of it was lost."""
        return self.ledger(name).read().log

    def promote(
        self, name: str, version: int, expected: Alias | None, by: str | None = None, why: Why | None = None
    ) -> Alias:
        """Make `version` champion on behalf of a run, if the champion still is as `expected` (None: there is none).

        `by` says who promotes; None: who runs this process. Nothing happens if the version is champion already, even if
        it has just become it. Raises StoreConflict if another one was promoted meanwhile or this one may be promoted by
        name only, ConfigError if it is not there or was refused.
        """
        manifest, why = self.promotable(name, version), why or Why()
        reached: list[Alias] = []

        def promotion(state: registry_ledger.State) -> Act | None:
            current = None if state.champion is None else Alias(state.champion, state.id)
            if current is not None and current.version == version:
                reached.append(current)
                return None
            if current != expected:
                raise errors.StoreConflict(
                    f"The champion of {name!r} must be as it was when the promotion was decided.",
                    received=f"version {current.version} instead" if current else "no champion any more",
                    todo="look at what is there now and decide anew",
                )
            if (bar := state.log.bar(version, manifest.model_digest)) is not None:
                raise errors.StoreConflict(
                    "A version that a run promotes must not have been rolled back or withdrawn.",
                    received=registry_log.why_barred(bar, version),
                    todo=f"see `fer models log {name}`",
                )
            return Act(
                action="promote",
                by=by or registry_log.operator(),
                version=version,
                model_digest=manifest.model_digest,
                from_version=state.champion,
                to_version=version,
                verdict=manifest.reasons,
                reason=why.reason,
                waiver=why.waiver,
            )

        entry = self.ledger(name).move(promotion)
        return reached[-1] if entry is None else Alias(version, entry.id)

    def promotable(self, name: str, version: int, *, override: bool = False) -> Manifest:
        """The version, which may become champion. Raises ConfigError if it is not there or was refused, IntegrityError
        if it is not signed as is demanded.

        `override`: it may have been refused.
        """
        manifest = self.get(name, str(version))
        self.require_trusted(manifest)
        if manifest.status == "refused" and not override:
            raise errors.ConfigError(
                "A version that is promoted must have passed its gates.",
                received=f"{name}@{version}, which was refused",
                todo=f"see why: `fer models show {name}@{version}`; to promote it all the same, and answer for it: "
                f'fer models promote {name}@{version} --override "why"',
            )
        return manifest

    def fetch(
        self, manifest: Manifest, into: Path, progress: Progress = silent, only: Collection[str] | None = None
    ) -> Path:
        """Download the version's files, or `only` these, into a folder; what is there and whole is kept. Returns it.

        Raises IntegrityError, and leaves nothing of it there, if a file is not the one that was registered; and before
        anything is fetched, if the version is not signed as is demanded; ConfigError if its files were removed."""
        self.require_trusted(manifest)
        files = {name: file for name, file in manifest.files.items() if only is None or name in only}
        for done, (file, stored) in enumerate(files.items()):
            progress(done, len(files), file)
            if not (path := into / file).is_file() or disk.sha256(path) != stored.sha256:
                path.unlink(missing_ok=True)
                cleared.download(self.store, stored, path, manifest.version, lambda: self.log(manifest.name))
        progress(len(files), len(files))
        return into

    def require_trusted(self, manifest: Manifest) -> None:
        """Raise IntegrityError if the version is not signed as is demanded."""
        signed_releases.require(self.store, self.policy, manifest)

    def remove_orphans(self, name: str, older_than_s: float = uploads.ABANDONED_AFTER_S) -> tuple[str, ...]:
        """Remove uploads that no version refers to and that are older; returns their prefixes."""
        names.check_name(name)
        found = uploads.find(self.store, name)  # before versions: what becomes one meanwhile is seen
        known, log = self.versions(name), Log(self.ledger(name).entries())
        before = registry_log.now() - datetime.timedelta(seconds=older_than_s)
        orphans = [upload for upload in uploads.unregistered(found, known, log) if upload.newest <= before]
        return tuple(upload.prefix for upload in orphans if uploads.remove(self.store, upload))

    def uri(self, manifest: Manifest) -> str:
        """The `s3://` URI of the version's manifest."""
        return self.store.uri(names.version_key(manifest.name, manifest.version))

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

    def _claims(self, name: str) -> dict[int, registry_log.Entry]:
        """The entries that claimed the numbers of versions; none if the log can't be read, which who needs it says."""
        try:
            return Log(self.ledger(name).entries()).claims()
        except errors.IntegrityError:
            return {}

    def _version(self, name: str, version: int, claim: registry_log.Entry | None) -> Manifest | None:
        """The version's manifest, None if it is not there.

        Raises IntegrityError if it is not the one that the `claim` of its number names, or can't be read.
        """
        key = names.version_key(name, version)
        stored = self.store.get(key)
        if stored is None:
            return None
        promised = claim.manifest if claim is not None else None
        if promised is not None and hashlib.sha256(stored.data).hexdigest() != promised.sha256:
            raise self._damaged(name, key)
        try:
            manifest = Manifest.model_validate_json(stored.data)
        except pydantic.ValidationError:
            raise self._damaged(name, key) from None
        if (manifest.name, manifest.version) != (name, version):
            raise self._damaged(name, key)
        return manifest

    def _no_alias(self, name: str, alias: str) -> errors.ConfigError:
        moved = self.log(name).last_move if alias == CHAMPION else None
        return errors.ConfigError(
            f"The model {name!r} must have the alias {alias!r}.",
            received="no such alias" if moved is None else f"no champion: {registry_log.describe(moved)}",
            todo="see `fer models list`; `fer retrain` makes a champion when its gates pass",
        )

    def _damaged(self, name: str, key: str, received: str = "something else") -> errors.IntegrityError:
        return self.ledger(name).damaged(self.store.uri(key), received)


def _had_champion(versions: Sequence[Manifest]) -> str | None:
    """A sentence if versions that are older than the log prove that there was a champion; else None."""
    released = [manifest.version for manifest in versions if manifest.status == "released"]
    champions = [manifest.champion_at_registration for manifest in versions if manifest.champion_at_registration]
    latest = max(released + champions, default=None)
    return None if latest is None else f"version {latest} was released"
