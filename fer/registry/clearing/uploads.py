"""Uploads that no version refers to: what registrations left that were killed.

A registration may have been asleep for long between its upload and its claim. So who removes an upload marks it first
and looks then whether a manifest's copy has come; and who registers writes that copy first and looks then for a mark:
one of them sees the other, and no version is claimed whose files go.
"""

import datetime
from collections.abc import Iterable
from typing import NamedTuple

from fer import errors
from fer.engine.store import objectstore
from fer.registry.log import Log
from fer.registry.manifest import Manifest

ABANDONED_AFTER_S = 86_400.0
COPY = ".manifest.json"  # no release's file can have this name
_MARK = ".removing"


class Upload(NamedTuple):
    """The files of one registration: their keys with their sizes (bytes), and when the newest was written."""

    prefix: str
    files: dict[str, int]
    newest: datetime.datetime


def find(store: objectstore.ObjectStore, name: str) -> list[Upload]:
    """All uploads of a model, whatever became of them."""
    found: dict[str, Upload] = {}
    for listed in store.list(f"models/{name}/files/"):
        prefix = listed.key.rsplit("/", 1)[0] + "/"
        known = found.get(prefix, Upload(prefix, {}, listed.modified))
        files = known.files | {listed.key: listed.size_bytes}
        found[prefix] = Upload(prefix, files, max(known.newest, listed.modified))
    return list(found.values())


def unregistered(uploads: Iterable[Upload], versions: Iterable[Manifest], log: Log) -> list[Upload]:
    """Those that neither a version nor a claim of one refers to; versions and log must have been read after them."""
    known = {manifest.version: manifest for manifest in versions}
    keys = [file.key for manifest in known.values() for file in manifest.files.values()]
    keys += [claim.manifest.key for version, claim in log.claims().items() if version not in known and claim.manifest]
    used = {key.rsplit("/", 1)[0] + "/" for key in keys}
    return [upload for upload in uploads if upload.prefix not in used]


def remove(store: objectstore.ObjectStore, upload: Upload) -> bool:
    """Remove an upload that was found to be of no version; False if somebody registers it now, and it stays."""
    store.put(upload.prefix + _MARK, b"")
    now = {listed.key for listed in store.list(upload.prefix)}
    if not now <= {*upload.files, upload.prefix + _MARK}:
        store.delete(upload.prefix + _MARK)
        return False
    for key in sorted(now - {upload.prefix + _MARK}):
        store.delete(key)
    store.delete(upload.prefix + _MARK)
    return True


def require(store: objectstore.ObjectStore, prefix: str, files: Iterable[str]) -> None:
    """Raise StoreUnavailable unless these files of an upload are there and nobody removes them.

    To be asked after the manifest's copy was written, and before the version is claimed.
    """
    there = {listed.key for listed in store.list(prefix)}
    missing = sorted(file for file in files if prefix + file not in there)
    received = "an upload that housekeeping took for abandoned" if prefix + _MARK in there else ""
    received = received or (f"no {', '.join(missing)} in an upload" if missing else "")
    if received:
        raise errors.StoreUnavailable(
            "The files of a version that is registered must be in the store.",
            received=f"{received}: {store.uri(prefix + COPY)}",
            todo="run the same command again, which uploads them anew",
        )
