"""Tombstones: images that no run takes in any more, in the store of the models.

    tombstones/<ID>.json

A tombstone knows images by the digests of their pixels, and other framings of them by 24 bytes each
(`fer.images.framings`): no picture, and hardly more than a mosaic of 5x5 pixels could be made of it. It is written
once, by a conditional put, and never changed; together they are the log of who had what forgotten, when and why.
"""

import datetime
import hashlib
from collections.abc import Iterable
from typing import Annotated, Literal, Self

import numpy as np
import pydantic
from pydantic import AwareDatetime, Field

from fer import errors
from fer.engine import disk
from fer.engine.records import Record
from fer.engine.store import objectstore
from fer.images import framings

PREFIX = "tombstones/"
MOST_CHARS = 1_000
_N_FEATURES = len(framings.FREQUENCIES)

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Features = Annotated[str, Field(pattern=rf"^[0-9a-f]{{{2 * _N_FEATURES}}}$")]


class Tombstone(Record):
    """Images that are to be forgotten."""

    format_version: Literal[1] = 1
    id: Sha256 = Field(description="SHA-256 of the digests and features: the same images are forgotten once")
    pixel_sha256: tuple[Sha256, ...] = Field(min_length=1, description="of the images and of their near-twins, sorted")
    features: tuple[Features, ...] = Field(
        default=(), description="of each image that was asked for: 24 signed bytes in hexadecimal digits, sorted"
    )
    asked_by: Literal["subject", "file", "digest"] = Field(description="how the images were named; not by what name")
    by: str = Field(max_length=MOST_CHARS, description="user@host")
    at_utc: AwareDatetime
    reason: str = Field(default="", max_length=MOST_CHARS)

    @pydantic.model_validator(mode="after")
    def _id_is_its_own(self) -> Self:
        if self.id != _id(self.pixel_sha256, self.features):
            raise ValueError("a tombstone's ID must be that of its digests and features")
        return self


class Tombstones(Record):
    """All tombstones. In keys and records only `identity` counts."""

    identity: str = Field(description="SHA-256 of their IDs")
    all: tuple[Tombstone, ...] = Field(exclude=True)

    @classmethod
    def of(cls, tombstones: Iterable[Tombstone]) -> Self:
        """These, in the order of their IDs."""
        ordered = tuple(sorted(tombstones, key=lambda tombstone: tombstone.id))
        identity = hashlib.sha256("".join(tombstone.id for tombstone in ordered).encode()).hexdigest()
        return cls(identity=identity, all=ordered)

    def digests(self) -> list[str]:
        """The pixels' digests of all images, sorted, each once."""
        return sorted({digest for tombstone in self.all for digest in tombstone.pixel_sha256})

    def features(self) -> list[bytes]:
        """The features of all images, sorted, each once."""
        return sorted({bytes.fromhex(features) for tombstone in self.all for features in tombstone.features})


def tombstone(
    digests: Iterable[str],
    features: Iterable[bytes],
    asked_by: Literal["subject", "file", "digest"],
    by: str,
    reason: str = "",
) -> Tombstone:
    """The tombstone of images with these pixels' digests and features, made now."""
    pixel_sha256, hexadecimal = tuple(sorted(set(digests))), tuple(sorted({one.hex() for one in features}))
    return Tombstone(
        id=_id(pixel_sha256, hexadecimal),
        pixel_sha256=pixel_sha256,
        features=hexadecimal,
        asked_by=asked_by,
        by=by,
        at_utc=datetime.datetime.now(datetime.UTC).replace(microsecond=0),
        reason=reason,
    )


def features_of(thumbnails: np.ndarray) -> list[bytes]:
    """The features of images by their thumbnails, (n, pixels) uint8; none of those that are of one grey."""
    shown = thumbnails[thumbnails.min(axis=1, initial=255) < thumbnails.max(axis=1, initial=0)]
    described = framings.described(framings.coarse(shown), framings.PROBES[0])
    return [row.tobytes() for row in described.astype(np.int8)]


def read(store: objectstore.ObjectStore) -> Tombstones | None:
    """All tombstones in the store; None if there are none.

    Raises IntegrityError if one is not as it was written, StoreError: a run must not go on without it.
    """
    found = []
    for listed in list(store.list(PREFIX)):
        stored = store.get(listed.key)
        if stored is not None:
            found.append(_parsed(stored.data, store.uri(listed.key)))
    return Tombstones.of(found) if found else None


def write(store: objectstore.ObjectStore, made: Tombstone) -> bool:
    """Write a tombstone; False if these images have one already. Raises StoreError."""
    try:
        store.put_if_absent(f"{PREFIX}{made.id}.json", disk.sealed(made.model_dump(mode="json")))
    except errors.StoreConflict:
        return False
    return True


def _parsed(data: bytes, where: str) -> Tombstone:
    try:
        document, is_sealed = disk.unsealed(data)
        parsed = Tombstone.model_validate(document) if is_sealed else None
    except (ValueError, pydantic.ValidationError):
        parsed = None
    if parsed is None:
        raise errors.IntegrityError(
            "A tombstone must be as it was written, or what is to be forgotten comes back.",
            received=f"something else at {where}",
            todo="restore it from a backup; a newer version of this project may have written it",
        )
    return parsed


def _id(digests: Iterable[str], features: Iterable[str]) -> str:
    return hashlib.sha256("\0".join([*digests, "", *features]).encode()).hexdigest()
