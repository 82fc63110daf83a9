"""Parts: the files that a manifest's images, thumbnails and rows are written in, 2,000 images each.

Each part is written by itself, by any process, and the next attempt keeps what is whole.
"""

import dataclasses
import functools
import hashlib
import multiprocessing
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts import files as names
from data_contracts import manifest as contract
from fer.engine import disk
from fer.images import decode, properties
from fer.images import limits as image_limits
from fer.ingest import archives, image_files
from fer.ingest.layouts import pixel_csv
from fer.ingest.tombstones import matching

ROWS = "rows"  # the folder of each part's manifest rows
TEXTS = "texts"  # the folder of the parts of tables of pixels, as text
FILES_PER_PART = 2_000
ENCODED = -1
FORGOTTEN = "forgotten"  # the status of rows that reach no manifest


@dataclasses.dataclass(frozen=True, slots=True)
class SourceImage:
    """An image as its source describes it; `defect` is why it can't be used, whatever its bytes are."""

    source: str
    path: str
    raw_label: str
    label: str | None
    soft_label: list[float] | None
    raw_split: str | None
    subject: str | None
    defect: str | None
    member: archives.Member | None = None  # where the bytes are, if there are any and they are no text
    groups: tuple[tuple[str, str], ...] = ()  # column -> group, of those that are known


@dataclasses.dataclass(frozen=True)
class Part:
    """A shard-sized part of a source, as it is sent to a worker. `archive` is None for pixels as text in TEXTS.

    `n_pixels`: how many pixels each of these texts must have, 0 for any number; ENCODED for what is no text but an
    image's file. `tombstones` is the file with the images that are to be forgotten, `likeness` that of others to them
    from which on they are too (see `tombstones.matching`).
    """

    out: Path
    number: int
    archive: Path | None
    images: tuple[SourceImage, ...]
    n_pixels: tuple[int, ...] = ()
    tombstones: Path | None = None
    likeness: float = 1.0


@functools.lru_cache(maxsize=1)
def _matcher(path: Path, likeness: float) -> matching.Matcher:
    """Once per process."""
    return matching.Matcher.read(path, likeness)


@functools.lru_cache(maxsize=1)
def _open(path: Path) -> zipfile.ZipFile:
    """The archive, once per process: reading the directory of 36 thousand entries takes 0.25 s, as long as a part."""
    return zipfile.ZipFile(path)


def close() -> None:
    """Close the archive that `write` left open in this process."""
    _open.cache_clear()
    _matcher.cache_clear()


def write(part: Part) -> None:
    """Write the files of a part that are not there yet; its manifest rows come last: they say that it is whole."""
    if multiprocessing.parent_process() is not None:
        # libpng and libjpeg complain to the terminal, over the progress display; the manifest has the reasons.
        with Path(os.devnull).open("wb") as null_device:
            os.dup2(null_device.fileno(), 2)
    if _is_finished(part):
        return
    if part.archive is not None:
        archive = _open(part.archive)
        image_files.write(_images_path(part), ((image.path, _read(archive, image)) for image in part.images))
        _write_rows(part, {})
    else:
        defects: dict[int, str] = {}
        image_files.write(_images_path(part), _images_of_texts(part, defects))
        _write_rows(part, defects)


def _images_path(part: Part) -> Path:
    return part.out / names.IMAGES / names.image_part(part.number)


def _read(archive: zipfile.ZipFile, image: SourceImage) -> bytes:
    """The bytes of a file, none where it is missing or too large."""
    return b"" if image.member is None or _is_too_large(image) else archives.read(archive, image.member)


def _is_too_large(image: SourceImage) -> bool:
    return image.member is not None and image.member.size_bytes > image_limits.current().bytes


def _images_of_texts(part: Part, defects: dict[int, str]) -> Iterator[tuple[str, bytes]]:
    """Paths and PGMs of a part's texts; a text that is no image comes as it is, and `defects` gets row -> reason."""
    for row, text in enumerate(image_files.stream(part.out / TEXTS / names.image_part(part.number))):
        data = text
        try:
            if part.n_pixels[row] != ENCODED:
                data = pixel_csv.as_pgm(text, part.n_pixels[row])
        except pixel_csv.NoPixels as error:
            defects[row] = str(error)
        yield part.images[row].path, data


def _write_rows(part: Part, defects: Mapping[int, str]) -> None:
    """Decode the images of a part; write their thumbnails, then their manifest rows. `defects`: row -> reason."""
    name = names.part(part.number)
    rows: list[dict[str, Any]] = []
    thumbnails: list[bytes | None] = []
    for number, data in enumerate(image_files.stream(_images_path(part))):
        image = part.images[number]
        row, thumbnail = _manifest_row(image, data, image.defect or defects.get(number))
        rows.append(row | {"part": part.number, "row": number})
        thumbnails.append(thumbnail)
    if part.tombstones is not None:
        _forget(part, rows, thumbnails)
    column = pa.array(thumbnails, contract.THUMBNAIL_SCHEMA.field(0).type)
    for folder, table in (
        (names.THUMBNAILS, pa.Table.from_arrays([column], schema=contract.THUMBNAIL_SCHEMA)),
        (ROWS, pa.Table.from_pylist(rows, schema=contract.SCHEMA)),
    ):
        with disk.replacing(part.out / folder / name) as staging:
            # Faces of 48 x 48 hardly shrink, and the next stages read them whole.
            pq.write_table(table, staging, compression="none" if folder == names.THUMBNAILS else "snappy")


def _forget(part: Part, rows: list[dict[str, Any]], thumbnails: list[bytes | None]) -> None:
    """Leave of the images that are to be forgotten neither bytes nor thumbnails, and rows of status FORGOTTEN."""
    if part.tombstones is None:
        return
    forgotten = _matcher(part.tombstones, part.likeness).matches([row.get("pixel_sha256") for row in rows], thumbnails)
    if not forgotten.any():
        return
    kept = zip(image_files.stream(_images_path(part)), part.images, forgotten, strict=True)
    image_files.write(
        _images_path(part), (("", b"") if is_gone else (image.path, data) for data, image, is_gone in kept)
    )
    for number in np.flatnonzero(forgotten).tolist():
        thumbnails[number] = None
        rows[number]["status"] = FORGOTTEN


def _manifest_row(image: SourceImage, data: bytes, defect: str | None) -> tuple[dict[str, Any], bytes | None]:
    """The manifest row of an image, except `part` and `row`, and its thumbnail if it was decoded."""
    file_sha256 = hashlib.sha256(data).hexdigest()
    columns: dict[str, Any] = {
        "image_id": image_id(image.path, file_sha256),
        "source": image.source,
        "path": image.path,
        "raw_label": image.raw_label,
        "label": image.label,
        "soft_label": image.soft_label,
        "raw_split": image.raw_split,
        "subject": image.subject,
        "groups": image.groups,
        "size_bytes": image.member.size_bytes if image.member is not None else len(data),
        "file_sha256": file_sha256,
        "status": contract.ACCEPTED,
    }
    try:
        if defect is not None:
            raise decode.UndecodableImage(defect)
        if _is_too_large(image):
            raise decode.UndecodableImage(f"too large to be read: over {image_limits.current().bytes:,} bytes")
        decoded = decode.decode_with_format(data)
    except decode.UndecodableImage as error:
        return columns | {"status": contract.QUARANTINED, "reason": str(error)}, None
    height, width = decoded.pixels.shape
    pixels = np.ascontiguousarray(decoded.pixels)
    columns |= vars(properties.measure(pixels))  # `asdict` would take a seventh of the whole time
    columns |= {
        "format": decoded.format,
        "width": width,
        "height": height,
        "pixel_sha256": pixel_sha256(pixels),
    }
    return columns, properties.thumbnail(pixels).tobytes()


def pixel_sha256(pixels: np.ndarray) -> str:
    """SHA-256 (hex) of (H, W) uint8 grey pixels and their size."""
    height, width = pixels.shape
    return hashlib.sha256(b"%dx%d:" % (height, width) + np.ascontiguousarray(pixels).data).hexdigest()


def image_id(path: str, file_sha256: str, occurrence: int = 1) -> str:
    """The id (32 hexadecimal digits) of a file; `occurrence` counts equal files of several sources, from 1."""
    text = f"{path}\0{file_sha256}" + (f"\0{occurrence}" if occurrence > 1 else "")
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _is_finished(part: Part) -> bool:
    """Whether an earlier attempt wrote all files of this part."""
    folders = (names.THUMBNAILS, ROWS)
    try:
        counts = [pq.read_metadata(part.out / folder / names.part(part.number)).num_rows for folder in folders]
        return [*counts, image_files.n_images(_images_path(part))] == [len(part.images)] * 3
    except (FileNotFoundError, pa.ArrowInvalid):
        return False
