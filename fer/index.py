"""Stage 2: what is in the archive. One row a file that should be an image, and the encoded bytes in Parquet parts.

Out: `manifest.parquet` (data_contracts.manifest.SCHEMA, sorted by path) and `images/part-00000.parquet` ...
(PART_SCHEMA), 2,000 files each. What can't be decoded stays in both, in quarantine.
"""

import dataclasses
import functools
import hashlib
import itertools
import multiprocessing
import os
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from data_contracts import files as names
from data_contracts import manifest as contract
from fer import archives, errors, images, labels, layouts, parallel, refs, stage
from fer.progress import Progress
from fer.workspace import Workspace

MANIFEST = "manifest.parquet"
_ROWS = "rows"  # each part's manifest rows, until all parts are done
_FILES_A_PART = 2_000
_ROW_GROUP_FILES = 1_000
_ROW_GROUP_BYTES = 64 * 2**20  # what a worker holds in memory at most, beside one image
_SHOWN = 8  # labels that an error lists


class IndexConfig(BaseModel):
    """Which labels there are, and what the source may call them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...] = Field(min_length=2, description="class names, in the order of the model's outputs")
    synonyms: dict[str, str] = Field(
        default={}, description="spelling in the source -> class, beside the built-in ones such as Suprise -> surprise"
    )
    ignore_labels: tuple[str, ...] = Field(
        default=(), description="labels of the source whose images are left out, as spelled there"
    )


@dataclasses.dataclass(frozen=True)
class _Found:
    """A file or CSV row: where, what is said of it, and its bytes; `defect` if it is known to be no image."""

    path: str
    raw_label: str
    label: str | None
    raw_split: str | None
    data: bytes
    defect: str | None = None


@dataclasses.dataclass(frozen=True)
class _Part:
    """One shard-sized piece of an archive of files, as it is sent to a worker."""

    archive: Path
    out: Path
    number: int
    files: tuple[tuple[layouts.ImageFile, str], ...]  # with its class


class _Labels:
    """Decides labels and counts those that it can't."""

    def __init__(self, config: IndexConfig, *, fer2013_numbers: bool):
        self._spellings = labels.spellings(config.classes, config.synonyms, fer2013_numbers=fer2013_numbers)
        self._ignored = {labels.normalised(each) for each in config.ignore_labels}
        self._classes = config.classes
        self._unknown: Counter[str] = Counter()
        self._without_folder: list[str] = []

    @property
    def known(self) -> set[str]:
        """What is accepted or left out on purpose, normalised."""
        return self._spellings.keys() | self._ignored

    def is_ignored(self, raw: str | None) -> bool:
        return labels.normalised(raw or "") in self._ignored

    def decide(self, path: str, raw: str | None) -> str | None:
        """The class that `raw` means; None is remembered for `require_all_known`."""
        label = self._spellings.get(labels.normalised(raw or ""))
        if label is None:
            if raw is None:
                self._without_folder.append(path)
            else:
                self._unknown[raw] += 1
        return label

    def require_all_known(self) -> None:
        """Raise LabelError if `decide` met a label that means none of the classes."""
        if not self._unknown and not self._without_folder:
            return
        seen = [f"{raw!r} ({count:,} images)" for raw, count in self._unknown.most_common(_SHOWN)]
        if len(self._unknown) > _SHOWN:
            seen.append(f"{len(self._unknown) - _SHOWN:,} more")
        if self._without_folder:
            seen.append(f"{len(self._without_folder):,} images in no class folder, e.g. {self._without_folder[0]!r}")
        raise errors.LabelError(
            f"Every image must be labelled with one of the classes {', '.join(self._classes)}, or a spelling of it.",
            received=", ".join(seen),
            todo="choose a recipe with these classes, or set index.synonyms or index.ignore_labels",
        )


@stage.stage("index", resumable=True)
def index(
    out: Path, dataset: refs.DatasetRef, config: IndexConfig, *, workspace: Workspace, progress: Progress
) -> refs.ManifestRef:
    """List what the archive holds, decode it once, and keep its bytes where the next stages read them fast.

    Raises SourceError where nothing in it is an image, LabelError for a label that is none of the classes.
    """
    path = workspace.folder(dataset) / archives.DATASET
    by_folder = _Labels(config, fer2013_numbers=False)
    with archives.open_safe(path) as archive:
        layout = layouts.find(archive, by_folder.known)
    (out / names.IMAGES).mkdir(exist_ok=True)
    (out / _ROWS).mkdir(exist_ok=True)
    if layout.name == layouts.CLASS_FOLDERS:
        n_left_out = _index_files(out, path, layout.files, by_folder, progress)
    else:
        n_left_out = _index_tables(out, path, layout.tables, _Labels(config, fer2013_numbers=True), progress)
    rows = _rows(out)
    n_quarantined = pc.sum(pc.equal(rows["status"], contract.QUARANTINED)).as_py() or 0
    if n_quarantined == len(rows):
        reasons = Counter(rows["reason"].to_pylist()).most_common(3)
        raise errors.SourceError(
            "The source must hold images that can be decoded.",
            received="; ".join([f"{len(rows):,} files"] + [f"{reason}: {count:,}" for reason, count in reasons]),
            todo="check that the source is whole",
        )
    pq.write_table(rows.sort_by("path"), out / MANIFEST)
    shutil.rmtree(out / _ROWS)
    return refs.ManifestRef(
        layout=layout.name,
        classes=config.classes,
        n_found=len(rows),
        n_quarantined=n_quarantined,
        n_ignored=layout.n_ignored + n_left_out,
    )


def _index_files(
    out: Path, archive: Path, files: Iterable[layouts.ImageFile], decisions: _Labels, progress: Progress
) -> int:
    """Write parts and rows of image files, by a process pool; returns how many are left out for their label."""
    labelled: list[tuple[layouts.ImageFile, str]] = []
    n_left_out = 0
    for file in files:
        if decisions.is_ignored(file.raw_label):
            n_left_out += 1
        else:
            labelled.append((file, decisions.decide(file.member.name, file.raw_label) or ""))
    decisions.require_all_known()
    parts = [
        _Part(archive, out, number, tuple(labelled[start : start + _FILES_A_PART]))
        for number, start in enumerate(range(0, len(labelled), _FILES_A_PART))
    ]
    try:
        parallel.map_ordered(_write_part_of_files, parts, progress=progress, note="parts of 2,000 images")
    finally:
        _open.cache_clear()
    return n_left_out


@functools.lru_cache(maxsize=1)
def _open(path: Path) -> zipfile.ZipFile:
    """The archive, once a process: to read the directory of 36 thousand entries takes 0.25 s, as long as a part."""
    return zipfile.ZipFile(path)


def _write_part_of_files(part: _Part) -> None:
    if multiprocessing.parent_process() is not None:
        # libpng and libjpeg complain to the terminal, over the progress display; the manifest has the reasons.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
    if _is_finished(part.out, part.number, len(part.files)):
        return
    archive = _open(part.archive)
    found = (
        _Found(file.member.name, file.raw_label or "", label, file.raw_split, data=archives.read(archive, file.member))
        for file, label in part.files
    )
    _write_part(part.out, part.number, found)


def _index_tables(
    out: Path, archive: Path, tables: Iterable[archives.Member], decisions: _Labels, progress: Progress
) -> int:
    """Write parts and rows of CSVs, streamed; returns how many images are left out for their label."""
    n_left_out = 0

    def found() -> Iterator[_Found]:
        nonlocal n_left_out
        for table in tables:
            for number, row in enumerate(layouts.read_csv(archive, table)):
                if number % _FILES_A_PART == 0:
                    progress(row.read_bytes, table.size_bytes, f"bytes of {table.name}")
                if decisions.is_ignored(row.raw_label):
                    n_left_out += 1
                    continue
                label = decisions.decide(row.path, row.raw_label) if row.raw_label or not row.defect else None
                yield _Found(row.path, row.raw_label, label, row.raw_split, row.data, row.defect)
            progress(table.size_bytes, table.size_bytes, f"bytes of {table.name}")

    rest = found()
    for number in itertools.count():
        part = itertools.islice(rest, _FILES_A_PART)
        first = next(part, None)
        if first is None:
            break
        _write_part(out, number, itertools.chain([first], part))
    decisions.require_all_known()
    return n_left_out


def _write_part(out: Path, number: int, found: Iterable[_Found]) -> None:
    """Write the images of one part and their manifest rows, which come last: they say that the part is whole."""
    name = names.part(number)
    aside = out / names.IMAGES / f"{name}.tmp"
    rows: list[dict[str, Any]] = []
    with pq.ParquetWriter(aside, contract.PART_SCHEMA, compression="none", use_dictionary=False) as writer:
        group: list[_Found] = []
        group_bytes = 0
        for each in found:
            if group and (len(group) == _ROW_GROUP_FILES or group_bytes + len(each.data) > _ROW_GROUP_BYTES):
                _write_group(writer, group)
                group, group_bytes = [], 0
            rows.append(_row(each, number, len(rows)))
            group.append(each)
            group_bytes += len(each.data)
        _write_group(writer, group)
    aside.replace(out / names.IMAGES / name)
    aside = out / _ROWS / f"{name}.tmp"
    pq.write_table(pa.Table.from_pylist(rows, schema=contract.SCHEMA), aside)
    aside.replace(out / _ROWS / name)


def _write_group(writer: pq.ParquetWriter, group: list[_Found]) -> None:
    columns = [pa.array([each.path for each in group]), pa.array([each.data for each in group], pa.binary())]
    writer.write_table(pa.Table.from_arrays(columns, schema=contract.PART_SCHEMA))


def _is_finished(out: Path, number: int, n_files: int) -> bool:
    """Whether an earlier attempt wrote this part and its rows, whole."""
    try:
        found = [pq.read_metadata(out / folder / names.part(number)).num_rows for folder in (names.IMAGES, _ROWS)]
    except (FileNotFoundError, pa.ArrowInvalid):
        return False
    return found == [n_files, n_files]


def _rows(out: Path) -> pa.Table:
    parts = sorted((out / _ROWS).glob("*.parquet"))
    if not parts:
        raise errors.SourceError(
            "The source must hold images.", received="none, or only such with ignored labels", todo="check the source"
        )
    return pa.concat_tables([pq.read_table(each, schema=contract.SCHEMA) for each in parts])


def _row(found: _Found, part: int, row: int) -> dict[str, Any]:
    """The manifest row of a file. Grey pixels (H, W) uint8 are made for it and dropped."""
    file_sha256 = hashlib.sha256(found.data).hexdigest()
    columns: dict[str, Any] = {
        "image_id": hashlib.sha256(f"{found.path}\0{file_sha256}".encode()).hexdigest()[:32],
        "path": found.path,
        "raw_label": found.raw_label,
        "label": found.label,
        "raw_split": found.raw_split,
        "size_bytes": len(found.data),
        "file_sha256": file_sha256,
        "status": contract.ACCEPTED,
        "part": part,
        "row": row,
    }
    try:
        if found.defect is not None:
            raise images.UndecodableImage(found.defect)
        pixels = images.decode(found.data)
    except images.UndecodableImage as error:
        return columns | {"status": contract.QUARANTINED, "reason": str(error)}
    height, width = pixels.shape
    return columns | {
        "width": width,
        "height": height,
        "pixel_sha256": hashlib.sha256(b"%dx%d:" % (height, width) + np.ascontiguousarray(pixels).data).hexdigest(),
        "mean": float(pixels.mean()),
        "std": float(pixels.std()),
    }
