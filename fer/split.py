"""Stage 4: which accepted image serves training, validation or test. Identical images never stand on two sides.

Out: `split.parquet`, sorted by image_id: image_id, pixel_sha256, label, class_index, split, reason, part, row.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from data_contracts import files
from fer import errors, refs, stage, validation
from fer.progress import Progress
from fer.workspace import Workspace

EXCLUDED = "excluded"

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("pixel_sha256", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("class_index", pa.int32(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # of files.SPLITS, or EXCLUDED
        pa.field("reason", pa.string()),  # why it is excluded
        pa.field("part", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
    ]
)

_OFFICIAL: dict[str, Literal["train", "validation", "test"]] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "public": "validation",
    "publictest": "validation",
    "test": "test",
    "testing": "test",
    "private": "test",
    "privatetest": "test",
}


class SplitConfig(BaseModel):
    """Whether to keep the source's own splits, and how to draw those that it does not have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    use_official: bool = Field(default=True, description="keep the source's splits, if it has some")
    official: dict[str, Literal["train", "validation", "test"]] = Field(
        default=_OFFICIAL, description="the source's name of a split, in lower case -> ours"
    )
    test_share: float = Field(
        default=0.1, gt=0, lt=0.5, description="of the images, where the source has no test split"
    )
    validation_share: float = Field(
        default=0.1, gt=0, lt=0.5, description="of the images, where the source has no validation split"
    )
    seed: int = Field(default=0, ge=0, description="of the drawn splits")


@dataclass(frozen=True)
class Image:
    """What the manifest says of an accepted image, as far as it matters here."""

    image_id: str
    pixel_sha256: str
    label: str
    raw_split: str | None
    part: int
    row: int


@dataclass(frozen=True)
class Assignment:
    """`split` is one of files.SPLITS, or EXCLUDED for the `reason`."""

    split: str
    reason: str | None = None


@stage.stage("split")
def split(
    out: Path, accepted: refs.ValidationRef, config: SplitConfig, *, workspace: Workspace, progress: Progress
) -> refs.SplitRef:
    """Keep the official splits if there are some; draw what is missing, by class, seeded.

    Raises SourceError for an official split of unknown name or of some images only, and where a class would be without
    an image in train or in test.
    """
    table = pq.read_table(workspace.folder(accepted) / validation.ACCEPTED, columns=list(Image.__dataclass_fields__))
    images = [Image(**row) for row in table.sort_by("image_id").to_pylist()]
    assignments = assign(images, config)
    counts = {name: dict.fromkeys(accepted.classes, 0) for name in files.SPLITS}
    for image, its in zip(images, assignments, strict=True):
        if its.split != EXCLUDED:
            counts[its.split][image.label] += 1
    _require_images(counts)
    rows = [
        {
            "image_id": image.image_id,
            "pixel_sha256": image.pixel_sha256,
            "label": image.label,
            "class_index": accepted.classes.index(image.label),
            "split": its.split,
            "reason": its.reason,
            "part": image.part,
            "row": image.row,
        }
        for image, its in zip(images, assignments, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), out / files.SPLIT)
    progress(len(images), len(images), "images assigned")
    return refs.SplitRef(
        classes=accepted.classes,
        counts=counts,
        n_excluded=sum(its.split == EXCLUDED for its in assignments),
        origin=_origin(images, assignments, config),
    )


def assign(images: Sequence[Image], config: SplitConfig) -> list[Assignment]:
    """The split of each image; it hangs on the images and the config, not on their order.

    Raises SourceError for an official split of unknown name or of some images only.
    """
    assignments = [Assignment("train")] * len(images)
    if _has_official(images, config):
        assignments = _without_twins(images, _official(images, config.official))
    divided = [image.label for image, its in zip(images, assignments, strict=True) if its.split == "train"]
    for drawn, share in (("test", config.test_share), ("validation", config.validation_share)):
        if all(its.split != drawn for its in assignments):
            pool = [at for at, its in enumerate(assignments) if its.split == "train"]
            targets = {label: max(1, round(share * n)) for label, n in Counter(divided).items()}
            for at in _draw(images, pool, targets, config.seed):
                assignments[at] = Assignment(drawn)
    return assignments


def _has_official(images: Sequence[Image], config: SplitConfig) -> bool:
    """Whether there are official splits to keep. Raises SourceError if only some of the images have one."""
    n_without = sum(image.raw_split is None for image in images)
    if not config.use_official or n_without == len(images):
        return False
    if n_without:
        raise errors.SourceError(
            "Every image of a source with splits must have one.",
            received=f"{len(images) - n_without:,} images with a split and {n_without:,} without",
            todo="put every image into a split folder, or draw the splits anew: --set split.use_official=false",
        )
    return True


def _origin(images: Sequence[Image], assignments: Sequence[Assignment], config: SplitConfig) -> str:
    """`drawn`, `official`, or `official` and which of the splits are drawn all the same."""
    if not _has_official(images, config):
        return "drawn"
    official = _official(images, config.official)
    kept = {name for name, its in zip(official, assignments, strict=True) if name == its.split}
    return ", ".join(["official", *(f"{name} drawn" for name in ("test", "validation") if name not in kept)])


def _official(images: Iterable[Image], names: Mapping[str, str]) -> list[str]:
    """Our name of each image's official split. Raises SourceError for one that is not in `names`."""
    raw = [image.raw_split or "" for image in images]
    unknown = Counter(each for each in raw if each.lower() not in names)
    if unknown:
        raise errors.SourceError(
            f"The source's splits must be known: {', '.join(sorted(names))}.",
            received=", ".join(f"{name!r} ({count:,} images)" for name, count in unknown.most_common(5)),
            todo="set split.official for it, or split.use_official=false to draw the splits anew",
        )
    return [names[each.lower()] for each in raw]


def _without_twins(images: Sequence[Image], splits: Sequence[str]) -> list[Assignment]:
    """Of identical images on several sides keep those furthest from training: a score must not count what was learned
    by heart. (In FER2013 280 PublicTest and 288 PrivateTest images have a twin in Training.)
    """
    side: dict[str, str] = {}
    for kept in files.SPLITS:  # later ones win
        side |= {image.pixel_sha256: kept for image, name in zip(images, splits, strict=True) if name == kept}
    sides = [side[image.pixel_sha256] for image in images]
    return [
        Assignment(name) if name == kept else Assignment(EXCLUDED, f"identical to an image in {kept}")
        for name, kept in zip(splits, sides, strict=True)
    ]


def _draw(images: Sequence[Image], pool: Iterable[int], targets: Mapping[str, int], seed: int) -> list[int]:
    """Of the images at `pool`, those for a new split: about `targets` of each class, never all of one.

    Identical images stay together, with the class that most of them have. The order in which they are drawn hangs on
    the seed and their pixels alone, so that more data moves as few of the old images as can be.
    """
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for at in pool:
        groups[images[at].pixel_sha256].append(at)
    by_class: defaultdict[str, list[tuple[bytes, list[int]]]] = defaultdict(list)
    for pixel_sha256, group in groups.items():
        votes = Counter(images[at].label for at in group)
        label = min(votes, key=lambda each: (-votes[each], each))
        by_class[label].append((hashlib.sha256(f"{seed}\0{pixel_sha256}".encode()).digest(), group))
    drawn: list[int] = []
    for label, ranked in by_class.items():
        taken: list[int] = []
        for _, group in sorted(ranked)[:-1]:
            if len(taken) >= targets[label]:
                break
            taken += group
        drawn += taken
    return drawn


def _require_images(counts: Mapping[str, Mapping[str, int]]) -> None:
    missing = [f"no {label} in {name}" for name in ("train", "test") for label, n in counts[name].items() if not n]
    if not any(counts["validation"].values()):
        missing.append("none at all in validation")
    if missing:
        raise errors.SourceError(
            "Every class must have an image in train and one in test, and validation must not be empty.",
            received=", ".join(missing),
            todo="add images, leave the class out of the recipe, or set split.use_official=false",
        )
