"""What a store must honour, tried before it is first relied upon: conditional puts and checksums.

rclone's and JuiceFS's gateways accept the headers of conditions and ignore them: updates are lost in silence. Ceph 16
refuses each If-Match.
"""

import contextlib
import datetime
import hashlib
import json
import uuid
from pathlib import Path

from fer import errors
from fer.engine import disk
from fer.engine.store.objectstore import ObjectStore


def fault(store: ObjectStore) -> str | None:
    """What the store does otherwise than is meant; None if nothing. Writes and removes a probe."""
    probe = f".probe/{uuid.uuid4().hex}"
    etag = store.put_if_absent(probe, b"1")
    try:
        for condition, again in (
            ("If-None-Match: * of an object that is there", lambda: store.put_if_absent(probe, b"2")),
            ("If-Match with another ETag than the object's", lambda: store.put_if_match(probe, b"2", '"0"')),
        ):
            with contextlib.suppress(errors.StoreConflict):
                again()
                return f"a put was accepted that its condition forbids ({condition})"
        try:
            store.put_if_match(probe, b"2", etag)
        except errors.StoreConflict as error:
            return (
                f"a put was refused that its condition allows (If-Match with the object's own ETag): {error.received}"
            )
        if store.accepts_wrong_checksum(probe):
            return "a put was accepted whose body has another SHA-256 than its header says (x-amz-checksum-sha256)"
    finally:
        store.delete(probe)
    return None


def require(store: ObjectStore) -> None:
    """Raise StoreError unless the store honours what versions and the champion rest on."""
    found = fault(store)
    if found is not None:
        raise errors.StoreError(
            "The store must honour conditional puts (If-None-Match, If-Match) and checksums: versions and the champion "
            "rest on them.",
            received=f"by {store.endpoint}, {found}",
            todo="set FER_STORE_ENDPOINT to one that does, such as Amazon S3, MinIO, Cloudflare R2 or SeaweedFS, "
            "or unset it to use the embedded one",
        )


def require_once(store: ObjectStore, folder: Path) -> None:
    """The same, unless it was found already, which a file in `folder` remembers."""
    if is_known(store, folder):
        return
    require(store)
    document = {"endpoint": store.endpoint, "bucket": store.bucket, "prefix": store.prefix}
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with contextlib.suppress(OSError):  # then it is tried again by the next process
        folder.mkdir(parents=True, exist_ok=True)
        disk.write(
            _proof(store, folder), json.dumps(document | {"honours_conditions_and_checksums_utc": when}).encode()
        )


def is_known(store: ObjectStore, folder: Path) -> bool:
    """Whether a file in `folder` remembers that the store answered, and was found to do as is meant."""
    return _proof(store, folder).is_file()


def _proof(store: ObjectStore, folder: Path) -> Path:
    place = json.dumps([store.endpoint, store.bucket, store.prefix])
    return folder / f"{hashlib.sha256(place.encode()).hexdigest()[:16]}.json"
