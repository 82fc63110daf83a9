"""How often each test set was read by the gates of a model, and what that does to their promises.

Each verdict on the same images is another chance for luck: of r candidates as good as the champion, each replaces it
with the probability that the test allows, 1 - `gate.superiority`. Choosing again and again by the same images also fits
them, so that the champion's accuracy on them comes to flatter it (Dwork et al. 2015, doi:10.1126/science.aaa9375).
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import files
from fer.evaluation.config import GateConfig
from fer.registry.manifest import Manifest

MANY = 100  # verdicts on one test set, from which it is worn


class Reads(NamedTuple):
    """A test set and the versions that were judged by it, oldest first."""

    test_set: str  # its digest
    n_images: int
    versions: tuple[int, ...]
    first: datetime
    last: datetime
    n_comparisons: int  # those with a champion
    by_luck: float  # the most replacements by equal candidates to expect of so many comparisons

    @property
    def is_worn(self) -> bool:
        """Whether so many verdicts were passed on it that fresh images are due."""
        return len(self.versions) >= MANY


def digest(split_folder: Path) -> str:
    """SHA-256 (hex) of the pixels of a split's test images, whatever their order and names."""
    rows = pq.read_table(split_folder / files.SPLIT, columns=["pixel_sha256", "split"])
    pixels = rows.filter(pc.equal(rows["split"], "test"))["pixel_sha256"].to_pylist()
    return hashlib.sha256("\n".join(sorted(pixels)).encode()).hexdigest()


def ledger(versions: Sequence[Manifest]) -> tuple[Reads, ...]:
    """The test sets of a model's versions, the one that was read last at the end.

    Versions that don't say what they were tested on are left out.
    """
    by_test_set: dict[str, list[Manifest]] = {}
    for manifest in sorted(versions, key=lambda manifest: manifest.version):
        if manifest.test_set:
            by_test_set.setdefault(manifest.test_set, []).append(manifest)
    reads = [_reads(test_set, judged) for test_set, judged in by_test_set.items()]
    return tuple(sorted(reads, key=lambda read: read.last))


def _reads(test_set: str, judged: Sequence[Manifest]) -> Reads:
    compared = [manifest for manifest in judged if manifest.champion_at_registration is not None]
    return Reads(
        test_set=test_set,
        n_images=int(judged[-1].metrics.get("n_images", 0)),
        versions=tuple(manifest.version for manifest in judged),
        first=judged[0].created_utc,
        last=judged[-1].created_utc,
        n_comparisons=len(compared),
        by_luck=sum(1 - _superiority(manifest) for manifest in compared),
    )


def _superiority(manifest: Manifest) -> float:
    """The confidence that the version's recipe asked for."""
    return float(manifest.recipe.get("gate", {}).get("superiority", GateConfig().superiority))
