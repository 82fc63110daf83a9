"""What lies below a prefix of a bucket as a data set: known by its listing, packed into the same zip each time.

The bucket is one of the store that the settings name, read with their credentials. An object is known by its key below
the prefix, its size and its ETag; the bytes are read once, when it is packed.
"""

import concurrent.futures
import contextlib
import hashlib
import itertools
import zipfile
from collections.abc import Iterator
from pathlib import Path

from fer import errors, limits, settings
from fer.engine import connect, disk
from fer.engine.store import objectstore
from fer.engine.store.objectstore import Listed
from fer.ingest import archives, leftovers
from fer.ingest.sources import BucketSource
from fer.progress import Progress, silent

_READERS = 8
_AT_ONCE_BYTES = 64 * 2**20  # of objects that are held in memory, or one larger one


def digest(source: BucketSource) -> str:
    """SHA-256 (hex) over the keys, sizes and ETags of the objects, in the order of their keys.

    Raises SourceError for a prefix without objects, more or larger ones than an archive may have; StoreError.
    """
    with _store(source) as store:
        objects, _ = _objects(store, source)
    return _digest(objects)


def pack(source: BucketSource, out: Path, expected: str, progress: Progress = silent) -> dict[str, int]:
    """Write the objects to a zip `out`: sorted, stored, with one date. `out` appears when it is whole.

    Returns `leftovers.counted` of what is left out. Raises SourceError as `digest` does, and where that is not
    `expected` any more; StoreError.
    """
    with (
        _store(source) as store,
        disk.replacing(out) as staging,
        zipfile.ZipFile(staging, "w", zipfile.ZIP_STORED) as target,
        concurrent.futures.ThreadPoolExecutor(_READERS) as readers,
    ):
        objects, left_out = _objects(store, source)
        if _digest(objects) != expected:
            raise _changed(f"other objects below {source} than a moment before")
        n_done = 0
        for batch in _batches(objects):
            for listed, data in zip(batch, readers.map(lambda one: _read(store, one), batch), strict=True):
                target.writestr(archives.plain_entry(_name(listed), len(data)), data)
            n_done += len(batch)
            progress(n_done, len(objects), "objects packed")
    return left_out


@contextlib.contextmanager
def _store(source: BucketSource) -> Iterator[objectstore.ObjectStore]:
    there = {"store_bucket": source.bucket, "store_prefix": source.prefix}
    with connect.store(settings.Settings.load().model_copy(update=there)) as store:
        yield store


def _objects(store: objectstore.ObjectStore, source: BucketSource) -> tuple[list[Listed], dict[str, int]]:
    """The objects, in the order of their keys, and what is left out of them."""
    current = limits.current()
    found: list[Listed] = []
    left_out: list[str] = []
    total = 0
    for listed in store.list(""):
        name = _name(listed)
        if not name or name.endswith("/"):  # what some tools write for a folder
            continue
        if (path := leftovers.within(name)) is not None:
            left_out.append(path)
            continue
        found.append(listed)
        total += listed.size_bytes
        if len(found) > current.archive_files:
            raise _refused(f"at most {current.archive_files:,} objects", f"more below {source}", "archive_files")
        if listed.size_bytes > current.file_bytes:
            received = f"{name!r} of {listed.size_bytes:,}"
            raise _refused(f"objects of at most {current.file_bytes:,} bytes", received, "file_bytes")
        if total > current.archive_bytes:
            raise _refused(f"at most {current.archive_bytes:,} bytes", f"more below {source}", "archive_bytes")
    if not found:
        raise errors.SourceError(
            "The prefix must hold objects.", received=f"none below {source}", todo="check the bucket and the prefix"
        )
    return sorted(found, key=_name), leftovers.counted(left_out)


def _name(listed: Listed) -> str:
    return listed.key.lstrip("/")


def _digest(objects: list[Listed]) -> str:
    return archives.content_digest(
        (_name(listed), hashlib.sha256(f"{listed.size_bytes}\0{listed.etag}".encode()).hexdigest())
        for listed in objects
    )


def _batches(objects: list[Listed]) -> list[list[Listed]]:
    """The objects in their order, as many together as are held in memory at once."""
    ends = itertools.accumulate(objects, lambda n, listed: n + listed.size_bytes, initial=0)
    grouped = itertools.groupby(zip(objects, ends, strict=False), lambda pair: pair[1] // _AT_ONCE_BYTES)
    return [[listed for listed, _ in group] for _, group in grouped]


def _read(store: objectstore.ObjectStore, listed: Listed) -> bytes:
    stored = store.get(listed.key)
    if stored is None or stored.etag != listed.etag:
        raise _changed(f"{store.uri(listed.key)}, which changed or is gone")
    return stored.data


def _changed(received: str) -> errors.SourceError:
    return errors.SourceError(
        "The bucket must not change while it is read.",
        received=received,
        todo="run the same command again once nothing writes to it",
    )


def _refused(must_hold: str, received: str, limit: str) -> errors.SourceError:
    return errors.SourceError(
        f"The bucket must hold {must_hold}.",
        received=received,
        todo=f"divide it into several sources; or {limits.to_raise(limit)}",
    )
