"""A prefix of any bucket of the store that the settings name, for what goes elsewhere than the models."""

import contextlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from fer import settings
from fer.engine import connect
from fer.engine.store import objectstore

_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9._/=-]*))?", re.ASCII)


class Bucket(NamedTuple):
    """A prefix of a bucket; empty: all of it."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def below(self, name: str) -> "Bucket":
        """The prefix of this name in it."""
        return Bucket(self.bucket, f"{self.prefix}/{name}".strip("/"))


def parse(text: str) -> Bucket | None:
    """The prefix that `s3://BUCKET[/PREFIX]` names; None for another text."""
    match = _URI.fullmatch(text)
    return None if match is None else Bucket(match[1], (match[2] or "").strip("/"))


@contextlib.contextmanager
def opened(place: Bucket) -> Iterator[objectstore.ObjectStore]:
    """Its objects, by keys relative to it; an embedded store runs for the length of the block. Raises StoreError."""
    there = {"store_bucket": place.bucket, "store_prefix": place.prefix}
    with connect.store(settings.Settings.load().model_copy(update=there)) as store:
        yield store
