"""Which images are to be forgotten: those with the pixels of a tombstone, and other framings of its images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fer.images import framings

FILE = "tombstones.parquet"  # one row per digest and one per feature
SCHEMA = pa.schema(
    [
        pa.field("pixel_sha256", pa.string()),  # of an image; null in the rows of features
        pa.field("features", pa.binary(len(framings.FREQUENCIES))),  # signed bytes; null in the rows of digests
    ]
)


class Matcher:
    """Knows forgotten images again by their pixels' `digests`, and by `features` from this `likeness` on (a cosine)."""

    def __init__(self, digests: Sequence[str], features: Sequence[bytes], likeness: float):
        self._digests = frozenset(digests)
        described = np.frombuffer(b"".join(features), np.int8)
        self._described = described.reshape(-1, len(framings.FREQUENCIES))
        self._likeness = likeness

    @classmethod
    def read(cls, path: Path, likeness: float) -> "Matcher":
        """By the file of this SCHEMA."""
        rows = pq.read_table(path)
        digests, features = (rows[name].drop_null().to_pylist() for name in ("pixel_sha256", "features"))
        return cls(digests, features, likeness)

    def matches(self, digests: Sequence[str | None], thumbnails: Sequence[bytes | None]) -> np.ndarray:
        """Which images are to be forgotten, (n,) bool, by `digests` of pixels and `thumbnails`; None: there is none.

        An image of one grey is known by its pixels alone.
        """
        found = np.array([digest in self._digests for digest in digests], bool)
        shown = [
            row for row, data in enumerate(thumbnails) if data is not None and not found[row] and min(data) < max(data)
        ]
        if shown and len(self._described):
            pixels = np.frombuffer(b"".join(thumbnails[row] or b"" for row in shown), np.uint8)
            alike = framings.likeness(self._described, pixels.reshape(len(shown), -1))
            found[np.array(shown)[alike >= self._likeness]] = True
        return found
