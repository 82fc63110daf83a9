"""How often test images were read by the gates of a model, and what that does to their promises.

Each verdict on the same images is another chance for luck: of r candidates as good as the champion, each replaces it
with the probability that the test allows, 1 - `gate.superiority`. And choosing again and again by the same images fits
them (Dwork et al. 2015, doi:10.1126/science.aaa9375). How far depends on what the choices are made by:

* Only the verdicts decide, week after week, and the training never looks at the test. Then what s replacements among r
  verdicts can depend on is which of them replaced: at most C = sum of binomial(r, i) for i up to s courses. All of
  their champions have an accuracy on n images that is off by sqrt((ln C + ln(2/0.05)) / 2n) at most, at 95 %: the
  argument of the ladder (Blum and Hardt 2015, arXiv:1502.04585), which reports improvements alone for that reason.
* Somebody tunes by each verdict. Then the courses are 2^r, and the bound grows with sqrt(r / n), which an adversary
  reaches. In practice it is far less: of 120 competitions few show any (Roelofs et al. 2019, NeurIPS 32).

Test sets overlap: a split keeps its images, and grows. A verdict counts for a set by the share of the set that it read.
"""

import hashlib
import math
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import computed_field

from data_contracts import files
from fer.engine.records import Record
from fer.evaluation.config import GateConfig
from fer.evaluation.refs import Check, Measure
from fer.registry import registry
from fer.registry.manifest import Manifest
from fer.registry.trust import releases as signatures

_MISSED = 0.05  # how often the stated bounds are wrong
Pixels = frozenset[str]  # the digests of a test set's pixels


class Reads(Record):
    """A test set and the versions that were judged by it, oldest first; with what verdicts on sets that overlap add.

    `accuracy_within` is by how much an accuracy on it is off at most, at 95 %: of one verdict, of as many as there were
    if nothing but they decided, and if somebody tuned by each.
    """

    test_set: str  # its digest
    n_images: int
    versions: tuple[int, ...]
    first: datetime
    last: datetime
    n_comparisons: int  # of them, those with a champion
    per_image: float  # the verdicts that read an image of it, on average
    n_replacements: int  # by verdicts that read some of it
    by_luck: float  # the most replacements by equal candidates to expect of so many comparisons
    accuracy_within_once: float
    accuracy_within: float
    accuracy_within_if_tuned: float
    max_reads: int  # of the recipe of the last version

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorator above property
    @property
    def is_worn(self) -> bool:
        """Whether so many verdicts were passed on it that fresh images are due."""
        return self.per_image >= self.max_reads


def pixels(split_folder: Path) -> list[str]:
    """The digests of the pixels of a split's test images, sorted, whatever their names."""
    rows = pq.read_table(split_folder / files.SPLIT, columns=["pixel_sha256", "split"])
    return sorted(rows.filter(pc.equal(rows["split"], "test"))["pixel_sha256"].to_pylist())


def digest(split_folder: Path) -> str:
    """SHA-256 (hex) of the pixels of a split's test images, whatever their order and names."""
    return hashlib.sha256("\n".join(pixels(split_folder)).encode()).hexdigest()


def table(split_folder: Path) -> pa.Table:
    """`tested_on.parquet` of a release: `pixel_sha256` of its test images."""
    return pa.table({"pixel_sha256": pa.array(sorted(set(pixels(split_folder))), pa.string())})


def tested_on(models: registry.Registry, manifest: Manifest) -> Pixels | None:
    """The test images of a version; None if it does not say, or is not signed as is demanded. Raises StoreError,
    IntegrityError."""
    stored = manifest.files.get(files.TESTED_ON)
    if stored is None or signatures.verified(models.store, models.policy, manifest).fault:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / files.TESTED_ON
        models.store.download_file(stored.key, path, stored.sha256)
        return frozenset(pq.read_table(path)["pixel_sha256"].to_pylist())


def ledger(versions: Sequence[Manifest], images_of: Callable[[Manifest], Pixels | None]) -> tuple[Reads, ...]:
    """The test sets of a model's versions, the one that was read last at the end; `images_of` says what is in one.

    Versions that don't say what they were tested on are left out. A set whose images are not known overlaps no other.
    """
    by_test_set = _by_test_set(versions)
    images = {test_set: images_of(judged[-1]) for test_set, judged in by_test_set.items()}
    reads = []
    for test_set, judged in by_test_set.items():
        shares = {other: _share(images[test_set], images[other]) for other in by_test_set} | {test_set: 1.0}
        read_by = [(manifest, shares[other]) for other, group in by_test_set.items() for manifest in group]
        reads.append(_reads(test_set, judged, [(manifest, share) for manifest, share in read_by if share]))
    return tuple(sorted(reads, key=lambda read: read.last))


def check(
    versions: Sequence[Manifest],
    images_of: Callable[[Manifest], Pixels | None],
    split_folder: Path,
    config: GateConfig,
) -> Check:
    """How often the test images of a candidate's split were read, its own verdict among them. It warns, and passes."""
    test_set, images = digest(split_folder), frozenset(pixels(split_folder))
    per_image = 1.0
    for other, judged in _by_test_set(versions).items():
        per_image += len(judged) * (1.0 if other == test_set else _share(images, images_of(judged[-1])))
    measure = Measure(
        quantity="verdicts that read a test image, on average",
        value=per_image,
        demand="at most",
        bound=config.max_reads,
        unit="verdicts",
        n_images=len(images),
        setting="gate.max_reads",
    )
    detail = f"verdicts that have read a test image, on average: {per_image:,.4g}, of at most {config.max_reads:,}"
    todo = "each was a chance for luck: draw fresh test images by a higher split.rotation, see `fer models ledger`"
    return Check(
        name="test images that are not worn",
        passed=True,
        warns=not measure.holds,
        detail=detail if measure.holds else f"{detail}; {todo}",
        reason="what is chosen again and again by the same images comes to fit them",
        measure=measure,
    )


def _by_test_set(versions: Sequence[Manifest]) -> dict[str, list[Manifest]]:
    by_test_set: dict[str, list[Manifest]] = {}
    for manifest in sorted(versions, key=lambda manifest: manifest.version):
        if manifest.test_set:
            by_test_set.setdefault(manifest.test_set, []).append(manifest)
    return by_test_set


def _share(images: Pixels | None, others: Pixels | None) -> float:
    """The share of some images that is among others; 0 where either is not known."""
    return len(images & others) / len(images) if images and others else 0.0


def _reads(test_set: str, judged: Sequence[Manifest], read_by: Sequence[tuple[Manifest, float]]) -> Reads:
    """`read_by`: all versions whose verdict read some of the set, and which share of it."""
    n_images = int(judged[-1].metrics.get("n_images", 0))
    n_replacements = sum(manifest.status == "released" for manifest, _ in read_by)
    return Reads(
        test_set=test_set,
        n_images=n_images,
        versions=tuple(manifest.version for manifest in judged),
        first=judged[0].created_utc,
        last=judged[-1].created_utc,
        n_comparisons=sum(manifest.champion_at_registration is not None for manifest in judged),
        per_image=sum(share for _, share in read_by),
        n_replacements=n_replacements,
        by_luck=sum(
            share * (1 - _gate(manifest, "superiority", GateConfig().superiority))
            for manifest, share in read_by
            if manifest.champion_at_registration is not None
        ),
        accuracy_within_once=within(n_images, 0.0),
        accuracy_within=within(n_images, log_courses(len(read_by), n_replacements)),
        accuracy_within_if_tuned=within(n_images, len(read_by) * math.log(2)),
        max_reads=int(_gate(judged[-1], "max_reads", GateConfig().max_reads)),
    )


def log_courses(n_verdicts: int, n_replacements: int) -> float:
    """The logarithm of how many courses there are of verdicts of which at most so many replaced the champion."""
    return math.log(sum(math.comb(n_verdicts, count) for count in range(min(n_verdicts, n_replacements) + 1)))


def within(n_images: int, log_models: float) -> float:
    """By how much the accuracy of any of exp(`log_models`) models on n images is off at most, at 95 %: Hoeffding's
    inequality (1963, doi:10.1080/01621459.1963.10500830) and the union bound.
    """
    return min(1.0, math.sqrt((log_models + math.log(2 / _MISSED)) / (2 * n_images))) if n_images else 1.0


def _gate(manifest: Manifest, setting: str, default: float) -> float:
    """What the version's recipe asked for."""
    return float(manifest.recipe.get("gate", {}).get(setting, default))
