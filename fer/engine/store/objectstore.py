"""One bucket of an S3-compatible store.

Keys are given and returned relative to the store's prefix. Bodies are signed with their SHA-256, so that a store which
checks signatures refuses bytes that changed on the way. Every call can raise StoreUnavailable (transient) and
StoreRefused (credentials, permissions or bucket); neither shows a secret.
"""

import base64
import binascii
import contextlib
import datetime
import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fer import errors
from fer.engine import disk
from fer.engine.store import boto
from fer.engine.store.credentials import Credentials

_ATTEMPTS = 2  # more, and with backoff, is the business of the task that calls
_SINGLE_PUT_MAX_BYTES = 64 * 2**20
_BLOCK_BYTES = 2**20
_SEGMENT_MAX_CHARS = 255  # SeaweedFS keeps a segment as a file name


class Object(NamedTuple):
    """An object's bytes, and the ETag to name this very state in `put_if_match`."""

    data: bytes
    etag: str


class Listed(NamedTuple):
    """An object in a listing."""

    key: str
    size_bytes: int
    modified: datetime.datetime
    etag: str = ""


class Uploaded(NamedTuple):
    """What was uploaded."""

    sha256: str
    size_bytes: int


class ObjectStore:
    """One bucket at `endpoint` (a URL). Without `credentials`, boto3 looks for them where it always does."""

    def __init__(
        self,
        endpoint: str,
        bucket: str,
        credentials: Credentials | None = None,
        *,
        region: str = "us-east-1",
        prefix: str = "",
    ):
        self.endpoint = endpoint
        self.bucket = bucket
        self.prefix = prefix.strip("/")
        self._credentials = credentials
        self._region = region
        self.before_conditions: Callable[[], None] | None = None
        """Called once, before the first conditional put; what it raises, that put raises."""
        self._clients: dict[int, Any] = {}
        self._lock = threading.Lock()
        self._proving = threading.RLock()

    def __repr__(self) -> str:
        return f"ObjectStore(endpoint={self.endpoint!r}, bucket={self.bucket!r}, prefix={self.prefix!r})"

    def uri(self, key: str) -> str:
        """The object's `s3://` URI."""
        return f"s3://{self.bucket}/{self._full(key)}"

    def get(self, key: str) -> Object | None:
        """The object, or None if there is none."""
        with self._errors(key):
            answer = self._opened(key)
            if answer is None:
                return None
            with contextlib.closing(answer["Body"]) as body:
                return Object(body.read(), answer["ETag"])

    def _opened(self, key: str) -> Any:
        """The answer that brings the object, whose body is yet to be read and closed; None if there is none."""
        try:
            return self._client().get_object(Bucket=self.bucket, Key=self._full(key))
        except Exception as error:
            if boto.code_of(error) in boto.ABSENT:
                return None
            raise

    def size(self, key: str) -> int | None:
        """How many bytes the object has; None if there is none."""
        with self._errors(key):
            try:
                return int(self._client().head_object(Bucket=self.bucket, Key=self._full(key))["ContentLength"])
            except Exception as error:
                if boto.code_of(error) in boto.ABSENT:
                    return None
                raise

    def sha256(self, key: str) -> str | None:
        """SHA-256 (hex) of the object's bytes, which are read; None if there is none."""
        digest = hashlib.sha256()
        with self._errors(key):
            answer = self._opened(key)
            if answer is None:
                return None
            with contextlib.closing(answer["Body"]) as body:
                for block in body.iter_chunks(_BLOCK_BYTES):
                    digest.update(block)
        return digest.hexdigest()

    def put(self, key: str, data: bytes) -> str:
        """Write the object, whatever was there; its ETag."""
        with self._errors(key):
            return self._put(self._client(), key, data, hashlib.sha256(data).digest())

    def put_if_absent(self, key: str, data: bytes) -> str:
        """Create the object; its ETag. Raises StoreConflict if there is one.

        After StoreUnavailable it is not known whether the object was written.
        """
        self._prove()
        return self._put_if(key, data, IfNoneMatch="*")

    def put_if_match(self, key: str, data: bytes, etag: str) -> str:
        """Replace the object that has this `etag`; its new ETag. Raises StoreConflict if it changed or is gone."""
        self._prove()
        return self._put_if(key, data, IfMatch=etag)

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens if there is none."""
        with self._errors(key):
            self._client().delete_object(Bucket=self.bucket, Key=self._full(key))

    def move(self, key: str, new_key: str) -> None:
        """Give the object another key; nothing happens if there is none."""
        with self._errors(key):
            source = {"Bucket": self.bucket, "Key": self._full(key)}
            try:
                self._client().copy_object(Bucket=self.bucket, Key=self._full(new_key), CopySource=source)
            except Exception as error:
                if boto.code_of(error) in boto.ABSENT:
                    return
                raise
        self.delete(key)

    def upload_file(self, key: str, path: Path, content_type: str = "application/octet-stream") -> Uploaded:
        """Upload a file, its SHA-256 in the object's metadata `sha256`. Never use it for a key that others write."""
        uploaded = Uploaded(disk.sha256(path), path.stat().st_size)
        with self._errors(key):
            if uploaded.size_bytes <= _SINGLE_PUT_MAX_BYTES:
                with path.open("rb") as body:
                    self._put(self._client(), key, body, binascii.unhexlify(uploaded.sha256), ContentType=content_type)
            else:
                extra = {"Metadata": {"sha256": uploaded.sha256}, "ContentType": content_type}
                self._client().upload_file(str(path), self.bucket, self._full(key), ExtraArgs=extra)
        return uploaded

    def download_file(self, key: str, path: Path, sha256: str) -> None:
        """Download to `path`, which appears only when whole. Raises IntegrityError if the bytes are not `sha256`'s."""
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with disk.replacing(path) as staging:
            with self._errors(key):
                try:
                    answer = self._client().get_object(Bucket=self.bucket, Key=self._full(key))
                except Exception as error:
                    if boto.code_of(error) not in boto.ABSENT:
                        raise
                    raise errors.IntegrityError(
                        "A file that a manifest names must be in the store.",
                        received=f"nothing at {self.uri(key)}",
                        todo="restore it from a backup, or use another version",
                    ) from None
                # Closed even if the disk is full: SeaweedFS waits for open downloads when it is stopped.
                with contextlib.closing(answer["Body"]) as body, staging.open("wb") as file:
                    for block in body.iter_chunks(_BLOCK_BYTES):
                        digest.update(block)
                        file.write(block)
            if digest.hexdigest() != sha256:
                raise errors.IntegrityError(
                    f"The file must have the SHA-256 {sha256}.",
                    received=f"{digest.hexdigest()} from {self.uri(key)}",
                    todo="do not use it: it was damaged or changed; restore it, or use another version",
                )

    def list(self, prefix: str) -> Iterator[Listed]:
        """The objects whose keys begin with `prefix`, in the order of their keys."""
        for page in self._pages(prefix):
            for entry in page.get("Contents", ()):
                yield Listed(self._relative(entry["Key"]), entry["Size"], entry["LastModified"], entry["ETag"])

    def folders(self, prefix: str) -> Iterator[str]:
        """The names between `prefix` (ending in `/`) and the next `/` in the keys that begin with it."""
        for page in self._pages(prefix, Delimiter="/"):
            for entry in page.get("CommonPrefixes", ()):
                yield self._relative(entry["Prefix"])[len(prefix) :].rstrip("/")

    def ping(self) -> None:
        """Raise unless the store answers, knows the credentials, and has the bucket."""
        with self._errors():
            self._client().list_objects_v2(Bucket=self.bucket, MaxKeys=1, Prefix=self._full_prefix(""))

    def buckets(self) -> tuple[str, ...]:
        """The buckets that these credentials own."""
        with self._errors():
            return tuple(bucket["Name"] for bucket in self._client().list_buckets()["Buckets"])

    def ensure_bucket(self) -> None:
        """Create the bucket if it is not there."""
        with self._errors():
            try:
                self._client().head_bucket(Bucket=self.bucket)
            except Exception as error:
                if boto.code_of(error) not in (*boto.ABSENT, "NoSuchBucket"):
                    raise
                with contextlib.suppress(self._client().exceptions.BucketAlreadyOwnedByYou):
                    self._client().create_bucket(Bucket=self.bucket)

    def accepts_wrong_checksum(self, key: str) -> bool:
        """Whether the store writes an object whose checksum is another one's. For probes alone."""
        with self._errors(key):
            try:
                self._put(self._client(attempts=1), key, b"1", hashlib.sha256(b"2").digest())
            except Exception as error:
                if boto.code_of(error) in boto.OTHER_BYTES:
                    return False
                raise
        return True

    def _errors(self, key: str | None = None) -> contextlib.AbstractContextManager[None]:
        return boto.translated_errors(self.endpoint, self.bucket, self.uri(key) if key is not None else None)

    def _full(self, key: str) -> str:
        segments = key.split("/")
        if any(segment in ("", ".", "..") or len(segment) > _SEGMENT_MAX_CHARS for segment in segments):
            raise ValueError(f"A key must be non-empty segments of at most 255 characters. Received: {key!r}.")
        return self._full_prefix(key)

    def _full_prefix(self, prefix: str) -> str:
        return f"{self.prefix}/{prefix}" if self.prefix else prefix

    def _relative(self, full: str) -> str:
        return full[len(self.prefix) + 1 :] if self.prefix else full

    def _pages(self, prefix: str, **options: str) -> Iterator[Any]:
        with self._errors():
            pages = self._client().get_paginator("list_objects_v2")
            yield from pages.paginate(Bucket=self.bucket, Prefix=self._full_prefix(prefix), **options)

    def _put(self, client: Any, key: str, body: Any, digest: bytes, **options: str) -> str:
        answer = client.put_object(
            Bucket=self.bucket,
            Key=self._full(key),
            Body=body,
            ChecksumSHA256=base64.b64encode(digest).decode(),
            Metadata={"sha256": digest.hex()},
            **options,
        )
        return str(answer["ETag"])

    def _prove(self) -> None:
        with self._proving:  # the puts of the proof itself come from the same thread
            prove, self.before_conditions = self.before_conditions, None
            if prove is not None:
                try:
                    prove()
                except BaseException:
                    self.before_conditions = prove
                    raise

    def _put_if(self, key: str, data: bytes, **condition: str) -> str:
        # A second attempt after a lost answer would find its own first one and call it a conflict: one attempt only.
        with self._errors(key):
            try:
                return self._put(self._client(attempts=1), key, data, hashlib.sha256(data).digest(), **condition)
            except Exception as error:
                gone = (
                    "IfMatch" in condition and boto.code_of(error) in boto.ABSENT
                )  # stores differ between 404 and 412
                if not gone and boto.code_of(error) not in boto.CONFLICT:
                    raise
                answer = boto.answer_of(error)
        raise errors.StoreConflict(
            "The object must be as it was when it was read.",
            received=f"another writer's change to {self.uri(key)}, or so the store says: {answer}",
            todo="read what is there now, then try again",
        )

    def _client(self, attempts: int = _ATTEMPTS) -> Any:
        with self._lock:
            if attempts not in self._clients:
                self._clients[attempts] = boto.client(self.endpoint, self._region, self._credentials, attempts=attempts)
            return self._clients[attempts]
