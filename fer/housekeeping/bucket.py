"""What of the registry's objects in the store can be removed: abandoned uploads, and the files of versions.

    models/NAME/files/UPLOAD/      an upload that no version refers to, a day after it was written to last
    models/NAME/files/UPLOAD/…     the files of a version that nothing needs; its manifest, signatures and lists stay
    models/NAME/damaged/ID/…       what a repair has set aside
    .probe/ID                      left by a probe that was killed

Before the files of a version go, an entry of the model's log says so. It is written under the next number, as every
promotion is: so a version can't be promoted meanwhile, and none that was promoted goes.
"""

import contextlib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fer import errors
from fer.housekeeping.home import release_name
from fer.housekeeping.kept_releases import needed
from fer.housekeeping.liveness import DAY_S, LAST, YOUNG, Fate, Item, Policy
from fer.registry import ledger, registry
from fer.registry.clearing import cleared, uploads
from fer.registry.clearing.uploads import Upload
from fer.registry.log import Act, Log
from fer.registry.manifest import Manifest

UPLOADS, SET_ASIDE, PROBES, UNFINISHED = "abandoned uploads", "set aside by repairs", "probes", "unfinished removals"
_PROBES = ".probe/"
_RELEASE = re.compile(r"release (.+)@([0-9]+)")


class _Version(NamedTuple):
    manifest: Manifest
    is_withdrawn: bool
    is_cleared: bool
    blobs: Mapping[str, int]  # of its files that are there and would go


class Bucket:
    """The registry's objects, judged by `policy`."""

    def __init__(self, models: registry.Registry, policy: Policy):
        """Look at all of them. Raises IntegrityError, StoreError."""
        self.models = models
        self.policy = policy
        self._versions: dict[str, _Version] = {}
        self._uploads: dict[str, Upload] = {}
        self._others: list[Item] = []
        for name in models.names():
            self._look_at(name)
        self._others += [
            Item(listed.key, PROBES, listed.modified.timestamp(), {listed.key: listed.size_bytes}, stays_s=DAY_S)
            for listed in models.store.list(_PROBES)
        ]

    def items(self) -> list[Item]:
        """Abandoned uploads, what repairs have set aside, probes, and files of versions whose removal was not ended."""
        abandoned = [
            Item(
                upload.prefix,
                UPLOADS,
                upload.newest.timestamp(),
                upload.files,
                stays_s=uploads.ABANDONED_AFTER_S,
            )
            for upload in self._uploads.values()
        ]
        unfinished = [
            Item(f"files of {name}", UNFINISHED, 0.0, version.blobs, stays_s=0.0)
            for name, version in self._versions.items()
            if version.is_cleared and version.blobs
        ]
        return [*abandoned, *self._others, *unfinished]

    def releases(self, fates: Iterable[Fate], now: float) -> list[Fate]:
        """What becomes of the files of the versions: of those that nothing needs by `fates`, the old and the withdrawn
        ones' go, as the policy says."""
        judged = []
        for fate in fates:
            version = self._versions.get(fate.item.name.removeprefix("release "))
            if version is None or version.is_cleared:
                continue
            item = fate.item._replace(blobs=version.blobs)
            judged.append(Fate(item, self._stays(version, fate, now)))
        return judged

    def remove(self, item: Item) -> bool:
        """Remove what `items` or `releases` told of; False if it came into use since, and stays."""
        store = self.models.store
        if item.kind == UPLOADS:
            return uploads.remove(store, self._uploads[item.name])
        if (match := _RELEASE.fullmatch(item.name)) is not None:
            return self._clear(self._versions[item.name.removeprefix("release ")].manifest, match[1])
        for key in item.blobs:
            store.delete(key)
        return True

    def _look_at(self, name: str) -> None:
        found = uploads.find(self.models.store, name)
        versions = self.models.versions(name)
        log = Log(self.models.ledger(name).entries())
        sizes = {key: size for upload in found for key, size in upload.files.items()}
        for upload in uploads.unregistered(found, versions, log):
            self._uploads[upload.prefix] = upload
        for manifest in versions:
            blobs = {key: sizes[key] for key in cleared.keys(manifest) if key in sizes}
            self._versions[release_name(name, manifest.version)] = _Version(
                manifest, manifest.version in log.withdrawn, manifest.version in log.cleared, blobs
            )
        self._others += [
            Item(listed.key, SET_ASIDE, listed.modified.timestamp(), {listed.key: listed.size_bytes})
            for listed in self.models.store.list(f"models/{name}/damaged/")
        ]

    def _stays(self, version: _Version, fate: Fate, now: float) -> str:
        """Why the files of a version stay: releases have an age of their own, withdrawn ones that of all things."""
        days = self.policy.releases_older_than_days
        if fate.stays and fate.stays not in (LAST, YOUNG):
            return fate.stays
        if version.is_withdrawn and fate.stays != YOUNG:
            return ""
        if days is None:
            return fate.stays if version.is_withdrawn else "releases stay, but for withdrawn ones"
        return "" if now - fate.item.last_used >= days * DAY_S else YOUNG

    def _clear(self, manifest: Manifest, name: str) -> bool:
        """Let the log say that the files go, unless the version is needed by then; then remove them."""

        def clearing(state: ledger.State) -> Act | None:
            versions = self.models.versions(name)
            if manifest.version in dict(needed(self.models, name, versions, self.policy.keep_last)):
                return None
            if manifest.version in state.log.cleared:
                return None
            return cleared.act(manifest, state.champion, "housekeeping: nothing needs it")

        entry = self.models.ledger(name).move(clearing)
        log = self.models.log(name)
        if entry is None and manifest.version not in log.cleared:
            return False
        with contextlib.suppress(errors.IntegrityError):  # pins that can't be read: nothing goes
            versions = self.models.versions(name)
            if manifest.version in dict(needed(self.models, name, versions, self.policy.keep_last)):
                return False  # pinned since
            cleared.remove(self.models.store, manifest, lambda: log)
            return True
        return False
