"""What is to be forgotten: the images that a subject, a file or a digest names, and their near-twins in the workspace.

Near-twins are what `fer.curation.near_duplicates` calls so, by the settings with which the data was inspected.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import files
from fer import errors
from fer.curation import inspect as inspection
from fer.curation import near_duplicates
from fer.engine.outputs import OutputRecord
from fer.engine.records import Record
from fer.engine.refs import Ref
from fer.engine.workspace import Workspace
from fer.housekeeping.erasure import in_bucket
from fer.images import decode, framings, properties
from fer.ingest import manifest_parts
from fer.ingest.tombstones import records

AskedBy = Literal["subject", "file", "digest"]
_SHA256_DIGITS = 64
_CANDIDATES = 0.86  # the likeness from which on images are compared as near-duplicates are
_COLUMNS = ["image_id", "source", "subject", "file_sha256", "pixel_sha256", "part", "row"]


class Image(Record):
    """An image in the workspace that is to be forgotten; `is_twin`: for it shows the photograph of another one."""

    image_id: str
    source: str
    pixel_sha256: str
    index: str
    is_twin: bool


class Images(NamedTuple):
    """What was found. `own` and `twins` are digests of pixels; `features` those of own images, see `records`.

    `unread` are outputs of `index` that could not be read.
    """

    asked_by: AskedBy
    own: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    features: tuple[bytes, ...] = ()
    images: tuple[Image, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def digests(self) -> set[str]:
        """Of the pixels of all of them."""
        return {*self.own, *self.twins}


class Indexed(NamedTuple):
    """A manifest, and where the thumbnails of its images are."""

    record: OutputRecord
    rows: pa.Table
    folder: Path


def indexed(workspace: Workspace) -> Iterator[Indexed | str]:
    """All manifests in the workspace, and their thumbnails; of one that can't be read its path."""
    for record in in_bucket.records(workspace, "index"):
        needed = {name for name in record.files if name == files.MANIFEST or name.startswith(f"{files.THUMBNAILS}/")}
        try:
            folder = workspace.folder(Ref.model_construct(**record.ref), needed)
            yield Indexed(record, pq.read_table(folder / files.MANIFEST, columns=_COLUMNS), folder)
        except (errors.FerError, OSError, pa.ArrowInvalid, KeyError):
            yield record.path


def find(asked_by: AskedBy, value: str, workspace: Workspace) -> Images:
    """The images that `value` names, and their near-twins: a subject as the index has it, a picture's path, or the
    SHA-256 of a file or of pixels, or an image ID.

    Raises SourceError for a file that is no picture.
    """
    found = list(indexed(workspace))
    manifests = [one for one in found if not isinstance(one, str)]
    unread = tuple(one for one in found if isinstance(one, str))
    thumbnails: dict[str, bytes] = {}  # digest -> of own images
    own = {digest for one in manifests for digest in _named(one.rows, asked_by, value)}
    if asked_by == "file":
        digest, thumbnail = _picture(Path(value))
        own, thumbnails = {digest}, {digest: thumbnail}
    elif asked_by == "digest" and not own and len(value) == _SHA256_DIGITS:
        own = {value}
    for one in manifests:
        thumbnails |= _thumbnails(one, pc.is_in(one.rows["pixel_sha256"], pa.array(sorted(own), pa.string())))
    twins = {digest for one in manifests for digest in _twins(one, thumbnails, workspace)} - own
    images = tuple(image for one in manifests for image in _images(one, own, twins))
    shown = [np.frombuffer(data, np.uint8) for _, data in sorted(thumbnails.items())]
    features = records.features_of(np.array(shown)) if shown else []
    return Images(asked_by, tuple(sorted(own)), tuple(sorted(twins)), tuple(sorted(features)), images, unread)


def _named(rows: pa.Table, asked_by: AskedBy, value: str) -> list[str]:
    """The digests of the pixels of the images that are asked for."""
    columns = {"subject": ["subject"], "digest": ["pixel_sha256", "file_sha256", "image_id"], "file": []}[asked_by]
    found: list[str] = []
    for column in columns:
        found += rows.filter(pc.equal(rows[column], value))["pixel_sha256"].drop_null().to_pylist()
    return found


def _picture(path: Path) -> tuple[str, bytes]:
    """The digest of a picture's pixels, and its thumbnail."""
    try:
        pixels = np.ascontiguousarray(decode.decode(path.read_bytes()))
    except (OSError, decode.UndecodableImage) as error:
        raise errors.SourceError(
            "The file must be a picture that can be read.", received=f"{path}: {error}", todo="check the path"
        ) from error
    return manifest_parts.pixel_sha256(pixels), properties.thumbnail(pixels).tobytes()


def _thumbnails(one: Indexed, mask: pa.ChunkedArray) -> dict[str, bytes]:
    """Digest -> thumbnail, of the images that the mask takes."""
    rows = one.rows.filter(mask)
    found: dict[str, bytes] = {}
    for part in sorted(set(rows["part"].to_pylist())):
        pixels = pq.read_table(one.folder / files.THUMBNAILS / files.part(part))["pixels"]
        of_part = rows.filter(pc.equal(rows["part"], part))
        for digest, row in zip(of_part["pixel_sha256"].to_pylist(), of_part["row"].to_pylist(), strict=True):
            if (data := pixels[row].as_py()) is not None:
                found[digest] = data
    return found


def _twins(one: Indexed, known: dict[str, bytes], workspace: Workspace) -> set[str]:
    """The digests of near-duplicates in a manifest of the `known` thumbnails."""
    targets = sorted(known)
    if not targets:
        return set()
    target_pixels = np.array([np.frombuffer(known[digest], np.uint8) for digest in targets])
    described = np.frombuffer(b"".join(records.features_of(target_pixels)), np.int8)
    described = described.reshape(-1, len(framings.FREQUENCIES))
    candidates: dict[str, bytes] = {}
    for part in sorted(set(one.rows["part"].to_pylist())) if len(described) else []:
        of_part = one.rows.filter(pc.equal(one.rows["part"], part))
        of_part = of_part.filter(pc.is_valid(of_part["pixel_sha256"]))
        thumbnails = _thumbnails(Indexed(one.record, of_part, one.folder), pa.chunked_array([[True] * len(of_part)]))
        others = [digest for digest in thumbnails if digest not in known]
        if others:
            pixels = np.array([np.frombuffer(thumbnails[digest], np.uint8) for digest in others])
            alike = framings.likeness(described, pixels) >= _CANDIDATES
            candidates |= {others[at]: thumbnails[others[at]] for at in np.flatnonzero(alike).tolist()}
    contents = [*targets, *candidates]
    pixels = np.concatenate([target_pixels, *(np.frombuffer(data, np.uint8)[None] for data in candidates.values())])
    config = _inspected(one.record, workspace)
    aligned = config.aligned_duplicate_correlation if config.aligned_duplicates else None
    pairs = near_duplicates.find(pixels, contents, config.near_duplicate_correlation, aligned)
    return {contents[second] for first, second in zip(pairs.first, pairs.second, strict=True) if first < len(targets)}


def _inspected(index: OutputRecord, workspace: Workspace) -> inspection.InspectConfig:
    """The settings with which the images of a manifest were inspected last; by default those that are usual."""
    for record in in_bucket.records(workspace, "inspect"):
        parts = record.parts
        if parts is not None and index.path in parts.refs().values():
            known: dict[str, Any] = dict(parts.inputs.get("config") or {})
            fields = {name: value for name, value in known.items() if name in inspection.InspectConfig.model_fields}
            return inspection.InspectConfig.model_validate(fields)
    return inspection.InspectConfig()


def _images(one: Indexed, own: set[str], twins: set[str]) -> Iterator[Image]:
    mask = pc.is_in(one.rows["pixel_sha256"], pa.array(sorted(own | twins), pa.string()))
    for row in one.rows.filter(mask).to_pylist():
        yield Image(
            image_id=row["image_id"],
            source=row["source"],
            pixel_sha256=row["pixel_sha256"],
            index=one.record.path,
            is_twin=row["pixel_sha256"] in twins,
        )
