"""Stage 2: what is in the sources. One row per file that should be an image, its encoded bytes, and its thumbnail.

Out: `manifest.parquet` (data_contracts.manifest.SCHEMA, sorted by source and path), and `images/part-00000.arrow` ...
(PART_SCHEMA) and `thumbnails/part-00000.parquet` ... (THUMBNAIL_SCHEMA), 2,000 files per part, numbered on from source
to source. A file that can't be decoded stays in all of them, in quarantine. `index.json` has the config, the layouts,
and the counts of other files in the sources.
"""

import dataclasses
import itertools
import json
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import files as names
from data_contracts import manifest as contract
from fer import errors
from fer.engine import process_pool, stage
from fer.engine.workspace import Workspace
from fer.ingest import (
    advice,
    archives,
    exclusion,
    image_files,
    labels,
    manifest_parts,
    sources,
)
from fer.ingest.index_config import IndexConfig, OfficialNames
from fer.ingest.layouts import class_folders, detect, ferplus, pixel_csv
from fer.ingest.refs import DatasetRef, ManifestRef
from fer.progress import Progress

_LEFT_OUT = "label left out by the recipe"
_UNLABELLED = "image without a label"
_EXCLUDED = "left out by index.exclude"
_OTHERS = "others"
_SHOWN_KINDS = 20  # of ignored files; every file of a source may have another suffix


@dataclasses.dataclass(frozen=True)
class _SourceArchive:
    """The archive of a dataset, its layout, and what its labels mean."""

    name: str
    archive: Path
    layout: detect.Layout
    decisions: labels.Decisions


@stage.stage("index", resumable=True)
def index(
    out: Path,
    datasets: tuple[DatasetRef, ...],
    config: IndexConfig,
    official: OfficialNames,
    *,
    workspace: Workspace,
    progress: Progress,
) -> ManifestRef:
    """List the images of the sources, decode them once, and keep their bytes where the next stages read them fast.

    `official` are the names of splits that the user declares. The order of the sources changes nothing.
    Raises SourceError where nothing in them is an image, LabelError for a label that is none of the classes.
    """
    excluding = exclusion.Exclusion(config.exclude)
    source_archives = _source_archives(datasets, config, official, excluding, workspace)
    labellers = _vote_labellers(source_archives, config)
    ignored = Counter[str]()
    for folder in (names.IMAGES, names.THUMBNAILS, manifest_parts.ROWS, manifest_parts.TEXTS):
        (out / folder).mkdir(exist_ok=True)
    parts: list[manifest_parts.Part] = []
    for source in source_archives:
        ignored += source.layout.ignored
        if source.layout.tables:
            parts += _parts_of_tables(source, out, len(parts), labellers, config, ignored, progress)
        else:
            parts += _parts_of_files(source, out, len(parts), config, ignored)
    try:
        process_pool.map_ordered(manifest_parts.write, parts, progress=progress, text="parts of 2,000 images")
    finally:
        manifest_parts.close()
    rows = _manifest(out, parts)
    reasons = Counter(reason for reason in rows["reason"].to_pylist() if reason is not None)
    if sum(reasons.values()) == len(rows):
        shown = [f"{len(rows):,} files"] + [f"{reason}: {count:,}" for reason, count in reasons.most_common(3)]
        raise errors.SourceError(
            "The source must hold images that can be decoded.",
            received="; ".join(shown),
            todo="check that the source is whole",
        )
    pq.write_table(rows, out / names.MANIFEST)
    shutil.rmtree(out / manifest_parts.ROWS)
    shutil.rmtree(out / manifest_parts.TEXTS)
    layouts = sorted({source.layout.name for source in source_archives})
    commonest = _commonest(ignored)
    report = {"config": config.model_dump(mode="json"), "layouts": layouts, "ignored": commonest}
    (out / names.INDEX_REPORT).write_text(json.dumps(report, indent=1, sort_keys=True))
    return ManifestRef(
        source=sources.JOINED_BY.join(source.name for source in source_archives),
        layouts=tuple(layouts),
        classes=config.classes,
        n_found=len(rows),
        n_quarantined=sum(reasons.values()),
        ignored=_commonest(sum((Counter(dataset.left_out) for dataset in datasets), ignored)),
        warnings=(
            *advice.about_quarantine(reasons),
            *advice.about_exclusion(excluding),
            *advice.about_ignored(ignored),
        ),
        split_warnings=tuple(line for source in source_archives for line in source.layout.splits.warnings(source.name)),
    )


def _commonest(ignored: Counter[str]) -> dict[str, int]:
    """The commonest kinds by name, and the sum of the rest."""
    by_count = sorted(ignored.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in by_count[_SHOWN_KINDS:])
    return dict(sorted(by_count[:_SHOWN_KINDS])) | ({_OTHERS: rest} if rest else {})


def _source_archives(
    datasets: Sequence[DatasetRef],
    config: IndexConfig,
    official: OfficialNames,
    excluding: exclusion.Exclusion,
    workspace: Workspace,
) -> list[_SourceArchive]:
    """The datasets in the order of their names, with their layouts."""
    source_archives: list[_SourceArchive] = []
    for dataset in sorted(datasets, key=lambda dataset: (dataset.source, dataset.digest)):
        if source_archives and source_archives[-1].name == dataset.source:
            raise errors.ConfigError(
                "Each source must be given once.", received=f"{dataset.source} twice", todo="leave one of them out"
            )
        path = workspace.folder(dataset) / archives.DATASET
        by_name, by_number = (
            labels.Decisions(config.classes, config.synonyms, config.ignore_labels, fer2013_numbers=numbers)
            for numbers in (False, True)
        )
        with archives.open_safe(path, config.text_encoding) as archive:
            members = archives.list_members(archive)
            kept = excluding.kept(members)
            layout = detect.detect(archive, kept, by_name, official.names, wants_votes=config.votes != "ignore")
            if len(kept) < len(members):
                layout.ignored[_EXCLUDED] = len(members) - len(kept)
        source_archives.append(_SourceArchive(dataset.source, path, layout, by_number if layout.tables else by_name))
    return source_archives


def _vote_labellers(
    source_archives: Sequence[_SourceArchive], config: IndexConfig
) -> dict[tuple[str, str], ferplus.VoteLabeller]:
    """(source, table) -> the labeller of its rows; empty if the recipe ignores votes.

    Votes belong to the table of pixels in their source; those that are a source by themselves to the one table left.
    """
    if config.votes == "ignore":
        return {}
    n_votes = sum(source.layout.votes is not None for source in source_archives)
    if not n_votes:
        raise errors.SourceError(
            "A recipe with index.votes must be given FERPlus's votes.",
            received=f"none in {sources.JOINED_BY.join(source.name for source in source_archives)}",
            todo=f"{ferplus.HOW_TO_GET}, or give a folder with it as another source",
        )
    pairs: list[tuple[_SourceArchive, ferplus.Votes]] = []
    without_votes = [source for source in source_archives if source.layout.tables and source.layout.votes is None]
    for source in source_archives:
        votes = source.layout.votes
        if votes is not None:
            with_tables = [source] if source.layout.tables else without_votes
            pairs += [(other, votes) for other in with_tables]
    n_tables = [len(source.layout.tables) for source, _ in pairs]
    n_all_tables = sum(len(source.layout.tables) for source in source_archives)
    if n_tables != [1] * n_votes or len({source.name for source, _ in pairs}) < len(pairs):
        raise errors.SourceError(
            "FERPlus's votes must belong to one table of FER2013's pixels.",
            received=f"{n_votes:,} files of votes and {n_all_tables:,} tables",
            todo="give fer2013.csv once and fer2013new.csv once",
        )
    return {
        (source.name, source.layout.tables[0].name): ferplus.VoteLabeller(
            votes, config.classes, source.decisions.meaning, config.votes
        )
        for source, votes in pairs
    }


def _subject(path: str, config: IndexConfig) -> str | None:
    match = re.search(config.subject_pattern, path) if config.subject_pattern is not None else None
    return match[1] if match else None


def _parts_of_files(
    source: _SourceArchive, out: Path, first: int, config: IndexConfig, ignored: Counter[str]
) -> list[manifest_parts.Part]:
    """The parts of a source of files, from number `first` on. Counts those that are left out for their label."""
    images: list[manifest_parts.SourceImage] = []
    for file in source.layout.files:
        if file.is_unlabelled and config.ignore_unlabelled:
            ignored[_UNLABELLED] += 1
            continue
        if source.decisions.is_ignored(file.raw_label):
            ignored[_LEFT_OUT] += 1
            continue
        if file.defect is None:
            label = source.decisions.decide(file.path, file.raw_label)
        else:
            label = source.decisions.meaning(file.raw_label or "")
        images.append(_image_of_file(source.name, file, label, config))
    source.decisions.require_all_known(source.layout.hint)
    starts = range(0, len(images), manifest_parts.FILES_PER_PART)
    return [
        manifest_parts.Part(out, number, source.archive, tuple(images[start : start + manifest_parts.FILES_PER_PART]))
        for number, start in enumerate(starts, start=first)
    ]


def _image_of_file(
    source: str, file: class_folders.ImageFile, label: str | None, config: IndexConfig
) -> manifest_parts.SourceImage:
    subject = file.subject or _subject(file.path, config)
    return manifest_parts.SourceImage(
        source, file.path, file.raw_label or "", label, None, file.raw_split, subject, file.defect, file.member
    )


def _parts_of_tables(
    source: _SourceArchive,
    out: Path,
    first: int,
    labellers: dict[tuple[str, str], ferplus.VoteLabeller],
    config: IndexConfig,
    ignored: Counter[str],
    progress: Progress,
) -> list[manifest_parts.Part]:
    """Write the texts of a source's tables, which come in one stream; returns their parts, from `first` on.

    Their pixels are for a pool's workers to decode, which takes twice as long as to stream them. The usual number of
    pixels in a row of a table is known at the end of the stream, and goes with the parts.
    """
    usual: list[int] = []  # table's number -> pixels in most of its rows

    def images_and_texts() -> Iterator[tuple[tuple[manifest_parts.SourceImage, int], bytes]]:
        n_rows = 0
        for table_number, table in enumerate(source.layout.tables):
            labeller = labellers.get((source.name, table.name))
            n_pixels = Counter[int]()
            for row in pixel_csv.read(source.archive, table, source.layout.splits):
                n_rows += 1
                if n_rows > pixel_csv.MAX_ROWS:
                    raise pixel_csv.too_many_rows(table)
                n_pixels[row.n_pixels] += 1
                if row.number % manifest_parts.FILES_PER_PART == 0:
                    progress(row.read_bytes, table.size_bytes, f"bytes of {table.name}")
                image = _image_of_row(source, row, labeller, config)
                if image is None:
                    ignored[_LEFT_OUT if row.raw_label else _UNLABELLED] += 1
                else:
                    yield (image, table_number), row.text
            usual.append(pixel_csv.usual_n_pixels(n_pixels))
            progress(table.size_bytes, table.size_bytes, f"bytes of {table.name}")
            if labeller is not None:
                labeller.require_all_seen()

    parts: list[list[tuple[manifest_parts.SourceImage, int]]] = []
    rest = images_and_texts()
    while head := next(rest, None):
        part: list[tuple[manifest_parts.SourceImage, int]] = []
        texts = _collecting(itertools.chain([head], itertools.islice(rest, manifest_parts.FILES_PER_PART - 1)), part)
        image_files.write(out / manifest_parts.TEXTS / names.image_part(first + len(parts)), texts)
        parts.append(part)
    source.decisions.require_all_known()
    return [
        manifest_parts.Part(
            out,
            number,
            None,
            tuple(image for image, _ in part),
            tuple(usual[table_number] for _, table_number in part),
        )
        for number, part in enumerate(parts, start=first)
    ]


def _collecting(
    rows: Iterable[tuple[tuple[manifest_parts.SourceImage, int], bytes]],
    collected: list[tuple[manifest_parts.SourceImage, int]],
) -> Iterator[tuple[str, bytes]]:
    """Paths and bytes, while the images, with the number of their table, are added to `collected`."""
    for (image, table_number), data in rows:
        collected.append((image, table_number))
        yield image.path, data


def _image_of_row(
    source: _SourceArchive, row: pixel_csv.Row, labeller: ferplus.VoteLabeller | None, config: IndexConfig
) -> manifest_parts.SourceImage | None:
    """The image of a row; None if it is left out for its label."""
    left_out = source.decisions.is_ignored(row.raw_label)
    label = source.decisions.decide(row.path, row.raw_label) if row.raw_label and not left_out else None
    soft_label, defect = None, row.defect
    if labeller is not None:
        voted = labeller.label(row.number, row.raw_split, label)
        soft_label, label = voted.soft_label, voted.label
        defect = defect or voted.defect
    if left_out or (config.ignore_unlabelled and row.defect == labels.MISSING and label is None):
        return None
    subject = _subject(row.path, config)
    return manifest_parts.SourceImage(
        source.name, row.path, row.raw_label, label, soft_label, row.raw_split, subject, defect
    )


def _manifest(out: Path, parts: Sequence[manifest_parts.Part]) -> pa.Table:
    """The rows of all parts, sorted by source and path. The same file in several sources gets an id in each."""
    if not parts:
        raise errors.SourceError(
            "The source must hold images.", received="none, or only such with ignored labels", todo="check the source"
        )
    rows_of_parts = [
        pq.read_table(out / manifest_parts.ROWS / names.part(part.number), schema=contract.SCHEMA) for part in parts
    ]
    rows = pa.concat_tables(rows_of_parts).combine_chunks().sort_by([("source", "ascending"), ("path", "ascending")])
    if pc.count_distinct(rows["image_id"]).as_py() == len(rows):
        return rows
    n_seen: dict[str, int] = defaultdict(int)
    image_ids = []
    columns = (rows[name].to_pylist() for name in ("image_id", "path", "file_sha256"))
    for image_id, path, sha256 in zip(*columns, strict=True):
        n_seen[image_id] += 1
        image_ids.append(image_id if n_seen[image_id] == 1 else manifest_parts.image_id(path, sha256, n_seen[image_id]))
    place = rows.schema.get_field_index("image_id")
    return rows.set_column(place, rows.schema.field(place), pa.array(image_ids))
