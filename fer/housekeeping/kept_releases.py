"""Which releases of the registry are needed, and what of the workspace they were made of."""

import re
from collections.abc import Iterator

from fer.engine.store import objectstore
from fer.housekeeping.home import release_name
from fer.housekeeping.liveness import Item, Root
from fer.registry import log as registry_log
from fer.registry import names, pins, registry, releases
from fer.registry.log import Entry, Log
from fer.registry.manifest import Manifest

_WEIGHTS = re.compile(rf"registry:({names.NAME}@[1-9][0-9]*):")


class Releases:
    """The releases in a registry, and why each is needed."""

    def __init__(self, models: registry.Registry, n_champions: int):
        """Read them; of each model the last `n_champions` champions are needed. Raises IntegrityError, StoreError."""
        self.models = models
        self.roots: dict[str, Root] = {}
        self._items: list[Item] = []
        for name in models.names():
            versions = models.versions(name)
            withdrawn = models.log(name).withdrawn
            self._items += [_item(manifest, withdrawn.get(manifest.version)) for manifest in versions]
            for version, why in needed(models, name, versions, n_champions):
                self.roots.setdefault(release_name(name, version), Root(why))

    def items(self) -> list[Item]:
        """All releases."""
        return self._items

    def faults(self) -> list[str]:
        """What of the releases that are needed is gone from the store, or is not what was registered; all is read."""
        found = []
        for name in self.models.names():
            cleared = self.models.log(name).cleared
            for manifest in self.models.versions(name):
                if release_name(name, manifest.version) in self.roots and manifest.version not in cleared:
                    lost = [
                        file
                        for file, kept in manifest.files.items()
                        if self.models.store.sha256(kept.key) != kept.sha256
                    ]
                    found += [f"{release_name(name, manifest.version)}: {file} is gone or damaged" for file in lost]
        return found


def needed(
    models: registry.Registry, name: str, versions: list[Manifest], n_champions: int
) -> Iterator[tuple[int, str]]:
    """The versions that are needed, and why; of the champions the last `n_champions`."""
    log = models.ledger(name).read()
    manifest = next((manifest for manifest in versions if manifest.version == log.champion), None)
    if manifest is not None:
        yield manifest.version, f"champion of {name}"
        anchor = releases.anchor_of(versions, manifest, log.log)
        if anchor is not None:
            yield anchor.version, f"anchor of {name}"
        for met in (manifest.champion_at_registration, manifest.compared_with.anchor):
            if met is not None:  # a run that is repeated meets them again
                yield met, f"what the champion of {name} was compared with"
    for alias, version in _aliases(models.store, name):
        yield version, f"{name}@{alias}"
    for version in pins.read(models, name):
        yield version, "pinned"
    for version in _last_champions(log.log, n_champions):
        yield version, f"one of the last {n_champions} champions of {name}"


def _aliases(store: objectstore.ObjectStore, name: str) -> Iterator[tuple[str, int]]:
    for listed in list(store.list(f"models/{name}/aliases/")):
        stored = store.get(listed.key)
        pointer = registry_log.pointer(stored.data) if stored is not None else None
        if pointer is not None and pointer.version is not None:
            yield listed.key.rpartition("/")[2].removesuffix(".json"), pointer.version


def _last_champions(log: Log, number: int) -> list[int]:
    """The versions that were champion last, the latest first, each once; also those that were rolled back."""
    champions = [entry.to_version for entry in reversed(log.entries) if entry.moves and entry.to_version is not None]
    return list(dict.fromkeys(champions))[:number]


def _item(manifest: Manifest, withdrawn: Entry | None) -> Item:
    """A release; it refers to the workspace's outputs by the digests in its lineage."""
    made_of = {digest for digest in manifest.inputs.values() if re.fullmatch(names.SHA256, digest)}
    started_from = {match[1] for value in manifest.inputs.values() if (match := _WEIGHTS.match(value))}
    name = release_name(manifest.name, manifest.version)
    return Item(
        name=f"release {name}",
        kind=f"releases of {manifest.name}",
        last_used=(manifest.created_utc if withdrawn is None else withdrawn.at_utc).timestamp(),
        blobs={file.key: file.size_bytes for file in manifest.files.values()},
        known_as=frozenset({name}),
        refers_to=frozenset({manifest.model_digest, *made_of, *started_from}),
    )
