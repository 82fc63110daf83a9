"""The demo source: an archive of drawn faces, packed as Kaggle packs a set of class folders, with planted defects."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import AliasChoices, Field, field_validator

from fer.engine.records import Record
from fer.images import decode, encode
from fer.ingest.demo import defects as demo_defects
from fer.ingest.demo import faces as demo_faces
from fer.progress import Progress, silent

FOLDER = "demo-faces"

_README = """Faces drawn by fer-retraining; no person is shown. One folder per class, 48x48 grey PNG.
Some files are broken or blank, some faces are there twice, once more in other light, in the wrong folder, too dark,
too bright, out of focus or stretched, and a few pictures show no face. All that is on purpose: finding it is part of
the demo.
"""
_JPEG_QUALITY = 70


class DemoConfig(Record):
    """Which faces are drawn. The planted defects come on top of `images_per_class`.

    No face is the original of two copies, so there are fewer copies than asked for if the faces run out. With a
    single class there is no wrong folder: `conflicts` and `mislabelled` then plant nothing.
    """

    seed: int = Field(default=20241, ge=0, description="Another seed draws other faces.")
    images_per_class: dict[str, int] = Field(
        default={"angry": 360, "disgust": 195, "fear": 345, "happy": 540, "neutral": 450, "sad": 390, "surprise": 300},
        description="Distinct faces to draw of each class.",
    )
    duplicates: int = Field(default=12, ge=0, description="Faces that are delivered once more under another name.")
    near_duplicates: int = Field(
        default=16,
        ge=0,
        validation_alias=AliasChoices("near_duplicates", "near_twins"),
        description="Faces once more in other light, as JPEG, in the same class.",
    )
    conflicts: int = Field(default=5, ge=0, description="Faces once more, as they are, in the folder of another class.")
    mislabelled: int = Field(default=15, ge=0, description="Further faces, each in the folder of another class.")
    dark: int = Field(default=2, ge=0, description="Further faces, underexposed.")
    bright: int = Field(default=2, ge=0, description="Further faces, overexposed.")
    blurry: int = Field(default=2, ge=0, description="Further faces, out of focus.")
    odd_size: int = Field(default=1, ge=0, description="Further faces, stretched to 300x60.")
    low_information: int = Field(default=1, ge=0, description="Pictures of flat stripes of five greys.")
    outliers: int = Field(default=2, ge=0, description="Pictures of a page of text or of a screen without a signal.")

    @field_validator("images_per_class")
    @classmethod
    def _known_classes(cls, value: dict[str, int]) -> dict[str, int]:
        if not value or not set(value) <= set(demo_faces.CLASSES) or min(value.values()) < 1:
            raise ValueError(f"images_per_class must give at least 1 to each of its classes, of {demo_faces.CLASSES}")
        return value


class Planted(Record):
    """The defects in the archive, by path, so that a run can be checked for finding them."""

    duplicates: dict[str, str]  # copy -> original
    near_duplicates: dict[str, str]  # copy -> original
    conflicts: dict[str, str]  # copy in the wrong folder -> original
    mislabelled: dict[str, str]  # path -> the class that is shown
    undecodable: tuple[str, ...]
    empty: tuple[str, ...]
    blank: tuple[str, ...]
    dark: tuple[str, ...]
    bright: tuple[str, ...]
    blurry: tuple[str, ...]
    odd_size: tuple[str, ...]
    low_information: tuple[str, ...]
    outliers: tuple[str, ...]
    no_images: tuple[str, ...]


def planted(config: DemoConfig) -> Planted:
    """The defects that `write_archive` plants for the same config."""
    rng = np.random.default_rng([config.seed, 1_000_000])
    originals = [_member(label, n) for label, count in config.images_per_class.items() for n in range(1, count + 1)]
    chosen = rng.choice(len(originals), size=min(config.duplicates, len(originals)), replace=False)
    duplicated = sorted(chosen.tolist())
    labels = sorted(config.images_per_class)
    folders = [str(label) for label in rng.choice(labels, size=5)]
    left = rng.permutation(sorted(set(range(len(originals))) - set(duplicated))).tolist()
    near_duplicates = sorted(left[: config.near_duplicates])
    left = left[config.near_duplicates :] if len(labels) > 1 else []
    conflicting = sorted(left[: config.conflicts])
    taken = dict(config.images_per_class)

    def next_of(label: str, suffix: str = "png") -> str:
        taken[label] += 1
        return _member(label, taken[label], suffix)

    def anywhere(count: int) -> tuple[str, ...]:
        return tuple(next_of(str(rng.choice(labels))) for _ in range(count))

    def elsewhere(label: str) -> str:
        return next_of(str(rng.choice([other for other in labels if other != label])))

    shown = rng.choice(labels, size=config.mislabelled if len(labels) > 1 else 0).tolist()
    return Planted(
        duplicates={next_of(_label(originals[i])): originals[i] for i in duplicated},
        undecodable=(next_of(folders[0]), next_of(folders[1])),
        empty=(next_of(folders[2]),),
        blank=(next_of(folders[3]), next_of(folders[4])),
        near_duplicates={next_of(_label(originals[i]), "jpg"): originals[i] for i in near_duplicates},
        conflicts={elsewhere(_label(originals[i])): originals[i] for i in conflicting},
        mislabelled={elsewhere(label): label for label in shown},
        dark=anywhere(config.dark),
        bright=anywhere(config.bright),
        blurry=anywhere(config.blurry),
        odd_size=anywhere(config.odd_size),
        low_information=anywhere(config.low_information),
        outliers=anywhere(config.outliers),
        no_images=(f"{FOLDER}/README.txt",),
    )


def write_archive(path: Path, config: DemoConfig, progress: Progress = silent) -> dict[str, int]:
    """Draw the faces and write them to the zip `path`; returns class -> files, planted ones included.

    The same config gives the same bytes with the same OpenCV: members are sorted, stored, and bear one fixed date.
    """
    files: dict[str, bytes] = {}
    total = sum(config.images_per_class.values())
    for label, count in config.images_per_class.items():
        for number in range(1, count + 1):
            name = _member(label, number)
            files[name] = encode.png(demo_faces.draw(label, _rng(config, name)))
        progress(len(files), total, f"drew {label}")
    defects = planted(config)
    files |= _copies(files, defects, config) | _broken(files, defects)
    files |= {name: encode.png(picture) for name, picture in _pictures(defects, config)}
    files |= dict.fromkeys(defects.no_images, _README.encode())
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(files):
            member = zipfile.ZipInfo(name, date_time=(2024, 1, 1, 0, 0, 0))
            member.external_attr = 0o644 << 16
            member.create_system = 3  # Unix, wherever it is written
            archive.writestr(member, files[name])
    counted = [_label(name) for name in files if name not in defects.no_images]
    return {label: counted.count(label) for label in config.images_per_class}


def _copies(faces: dict[str, bytes], defects: Planted, config: DemoConfig) -> dict[str, bytes]:
    copies = {copy: faces[original] for copy, original in (defects.duplicates | defects.conflicts).items()}
    for copy, original in defects.near_duplicates.items():
        picture = demo_defects.retaken(decode.decode(faces[original]), _rng(config, copy))
        copies[copy] = encode.jpeg(picture, _JPEG_QUALITY)
    return copies


def _broken(faces: dict[str, bytes], defects: Planted) -> dict[str, bytes]:
    truncated, error_page = defects.undecodable
    return {
        truncated: faces[min(faces)][:40],
        error_page: b"<html><body><h1>503 Service Unavailable</h1></body></html>\n",
        **dict.fromkeys(defects.empty, b""),
    }


def _pictures(defects: Planted, config: DemoConfig) -> Iterator[tuple[str, np.ndarray]]:
    """The planted pictures that are no copies: path, (H, W) uint8 grey."""
    side_px = demo_faces.SIZE_PX
    for name, grey in zip(defects.blank, (0, 119), strict=True):
        yield name, np.full((side_px, side_px), grey, np.uint8)
    for name, shown in defects.mislabelled.items():
        yield name, demo_faces.draw(shown, _rng(config, name))
    for names, spoil in (
        (defects.dark, demo_defects.darkened),
        (defects.bright, demo_defects.washed_out),
        (defects.blurry, demo_defects.blurred),
        (defects.odd_size, demo_defects.stretched),
    ):
        for name in names:
            yield name, spoil(demo_faces.draw(_label(name), _rng(config, name)))
    for name in defects.low_information:
        yield name, demo_defects.stripes(side_px, _rng(config, name))
    for number, name in enumerate(defects.outliers):
        faceless = (demo_defects.page, demo_defects.static)[number % 2]
        yield name, faceless(side_px, _rng(config, name))


def _rng(config: DemoConfig, name: str) -> np.random.Generator:
    """A picture depends on its own name alone: more faces of a class leave the others as they are."""
    number = int(Path(name).stem)
    return np.random.default_rng([config.seed, demo_faces.CLASSES.index(_label(name)), number])


def _member(label: str, number: int, suffix: str = "png") -> str:
    return f"{FOLDER}/{label}/{number:05d}.{suffix}"


def _label(name: str) -> str:
    return name.split("/")[1]
