"""Stage 2: what is in the sources. One row per file that should be an image, its encoded bytes, and its thumbnail.

Out: `manifest.parquet` (data_contracts.manifest.SCHEMA, sorted by source and path), and `images/part-00000.arrow` ...
(PART_SCHEMA) and `thumbnails/part-00000.parquet` ... (THUMBNAIL_SCHEMA), 2,000 files per part, numbered on from source
to source. A file that can't be decoded stays in all of them, in quarantine; of one that is to be forgotten there is an
empty row in `images` and `thumbnails` alone. `index.json` has the config, the layouts,
and the counts of other files in the sources.
"""

import contextlib
import dataclasses
import itertools
import json
import shutil
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import files as names
from data_contracts import manifest as contract
from fer import errors, limits
from fer.engine import stage
from fer.engine.processes import process_pool
from fer.engine.workspace import Workspace
from fer.ingest import advice, archives, exclusion, image_files, manifest_parts, sources
from fer.ingest.index_config import IndexConfig, OfficialNames
from fer.ingest.layouts import detect, pixel_csv, pixel_tables, tables
from fer.ingest.layouts import groups as layout_groups
from fer.ingest.naming import labelling, labels
from fer.ingest.refs import DatasetRef, ManifestRef, TombstonesRef
from fer.ingest.tombstones import matching
from fer.progress import Progress

_EXCLUDED = "left out by index.exclude"
_OTHERS = "others"
_SHOWN_KINDS = 20  # of ignored files; every file of a source may have another suffix


@stage.stage("index", resumable=True)
def index(
    out: Path,
    datasets: tuple[DatasetRef, ...],
    config: IndexConfig,
    official: OfficialNames,
    forgotten: TombstonesRef | None,
    *,
    workspace: Workspace,
    progress: Progress,
) -> ManifestRef:
    """List the images of the sources, decode them once, and keep their bytes where the next stages read them fast.

    `official` are the names of splits that the user declares. Of images that are `forgotten`, and of near-twins of
    theirs, neither bytes nor rows are kept. The order of the sources changes nothing.
    Raises SourceError where nothing in them is an image, LabelError for a label that is none of the classes.
    """
    excluding = exclusion.Exclusion(config.exclude)
    source_archives = _source_archives(datasets, config, official, excluding, workspace)
    labeller = labelling.Labeller(source_archives, config)
    for folder in (names.IMAGES, names.THUMBNAILS, manifest_parts.ROWS, manifest_parts.TEXTS):
        (out / folder).mkdir(exist_ok=True)
    parts: list[manifest_parts.Part] = []
    for source in source_archives:
        labeller.ignored += source.layout.ignored
        if source.layout.tables:
            parts += _parts_of_tables(source, out, len(parts), labeller, progress)
        else:
            parts += _parts_of_files(source, out, len(parts), labeller)
    labeller.require_all_known()
    if forgotten is not None:
        tombstones = workspace.folder(forgotten) / matching.FILE
        likeness = config.forgotten_likeness
        parts = [dataclasses.replace(part, tombstones=tombstones, likeness=likeness) for part in parts]
    try:
        process_pool.map_ordered(manifest_parts.write, parts, progress=progress, text="parts of 2,000 images")
    finally:
        manifest_parts.close()
    rows, n_forgotten = _manifest(out, parts)
    reasons = Counter(reason for reason in rows["reason"].to_pylist() if reason is not None)
    if sum(reasons.values()) == len(rows):
        left_out = [f"{n_forgotten:,} others that are to be forgotten"] if n_forgotten else []
        most = (f"{reason}: {count:,}" for reason, count in reasons.most_common(3))
        shown = [f"{len(rows):,} files", *left_out, *most]
        raise errors.SourceError(
            "The source must hold images that can be decoded.",
            received="; ".join(shown),
            todo="check that the source is whole",
        )
    pq.write_table(rows, out / names.MANIFEST)
    shutil.rmtree(out / manifest_parts.ROWS)
    shutil.rmtree(out / manifest_parts.TEXTS)
    layouts = sorted({source.layout.name for source in source_archives})
    commonest = _commonest(labeller.ignored)
    report = {"config": config.model_dump(mode="json"), "layouts": layouts, "ignored": commonest}
    (out / names.INDEX_REPORT).write_text(json.dumps(report, indent=1, sort_keys=True))
    return ManifestRef(
        source=sources.JOINED_BY.join(source.name for source in source_archives),
        layouts=tuple(layouts),
        classes=config.classes,
        synonyms=config.synonyms,
        ignore_labels=config.ignore_labels,
        n_found=len(rows),
        n_quarantined=sum(reasons.values()),
        n_forgotten=n_forgotten,
        ignored=_commonest(sum((Counter(dataset.left_out) for dataset in datasets), labeller.ignored)),
        warnings=(
            *(note for source in source_archives for note in source.layout.notes),
            *advice.about_quarantine(reasons),
            *advice.about_exclusion(excluding),
            *advice.about_ignored(labeller.ignored),
            *(() if config.subject_pattern is not None else advice.about_subjects(parts)),
        ),
        split_warnings=tuple(
            line
            for source in source_archives
            for line in source.layout.splits.warnings(advice.of_source(source.name, len(source_archives)))
        ),
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
) -> list[labelling.SourceArchive]:
    """The datasets in the order of their names, with their layouts."""
    source_archives: list[labelling.SourceArchive] = []
    columns: dict[str, Sequence[str]] = {}
    reading = detect.Reading(
        official.names,
        config.columns,
        config.label_pattern,
        config.labels_from,
        wants_votes=config.votes != "ignore",
        groups=config.groups,
    )
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
            layout = detect.detect(archive, kept, by_name, reading)
            if config.groups:
                columns |= _columns(archive, kept)
            if len(kept) < len(members):
                layout.ignored[_EXCLUDED] = len(members) - len(kept)
        decisions = by_number if any(table.is_fer2013 for table in layout.tables) else by_name
        source_archives.append(labelling.SourceArchive(dataset.source, path, layout, decisions))
    found = {group for source in source_archives for group in source.layout.groups}
    layout_groups.require_all(config.groups, found, columns)
    return source_archives


def _columns(archive: zipfile.ZipFile, members: Iterable[archives.Member]) -> dict[str, tuple[str, ...]]:
    """The names of the columns of each table that can be read."""
    columns = {}
    for member in filter(tables.is_table, members):
        with contextlib.suppress(errors.SourceError):
            columns[member.name] = tables.column_names(archive, member)
    return columns


def _parts_of_files(
    source: labelling.SourceArchive, out: Path, first: int, labeller: labelling.Labeller
) -> list[manifest_parts.Part]:
    """The parts of a source of files, from number `first` on."""
    images = list(labeller.images_of_files(source))
    starts = range(0, len(images), manifest_parts.FILES_PER_PART)
    return [
        manifest_parts.Part(out, number, source.archive, tuple(images[start : start + manifest_parts.FILES_PER_PART]))
        for number, start in enumerate(starts, start=first)
    ]


def _parts_of_tables(
    source: labelling.SourceArchive,
    out: Path,
    first: int,
    labeller: labelling.Labeller,
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
            n_pixels = Counter[int]()
            for row in pixel_tables.read(source.archive, table, source.layout.splits):
                n_rows += 1
                if n_rows > limits.current().pixel_rows:
                    raise pixel_csv.too_many_rows(table.name)
                n_pixels[row.n_pixels] += 1
                if row.number % manifest_parts.FILES_PER_PART == 0:
                    progress(row.read_bytes, table.size_bytes, f"bytes of {table.name}")
                image = labeller.image_of_row(source, table.name, row)
                if image is not None:
                    yield (image, table_number), row.text
            usual.append(manifest_parts.ENCODED if table.is_encoded else pixel_csv.usual_n_pixels(n_pixels))
            progress(table.size_bytes, table.size_bytes, f"bytes of {table.name}")
            labeller.end_table(source, table.name)

    parts: list[list[tuple[manifest_parts.SourceImage, int]]] = []
    rest = images_and_texts()
    while head := next(rest, None):
        part: list[tuple[manifest_parts.SourceImage, int]] = []
        texts = _collecting(itertools.chain([head], itertools.islice(rest, manifest_parts.FILES_PER_PART - 1)), part)
        image_files.write(out / manifest_parts.TEXTS / names.image_part(first + len(parts)), texts)
        parts.append(part)
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


def _manifest(out: Path, parts: Sequence[manifest_parts.Part]) -> tuple[pa.Table, int]:
    """The rows of all parts, sorted by source and path, without those that are to be forgotten; and how many these are.

    The same file in several sources gets an id in each.
    """
    if not parts:
        raise errors.SourceError(
            "The source must hold images.", received="none, or only such with ignored labels", todo="check the source"
        )
    rows_of_parts = [
        pq.read_table(out / manifest_parts.ROWS / names.part(part.number), schema=contract.SCHEMA) for part in parts
    ]
    found = pa.concat_tables(rows_of_parts)
    rows = found.filter(pc.not_equal(found["status"], manifest_parts.FORGOTTEN))
    n_forgotten = len(found) - len(rows)
    rows = rows.combine_chunks().sort_by([("source", "ascending"), ("path", "ascending")])
    if pc.count_distinct(rows["image_id"]).as_py() == len(rows):
        return rows, n_forgotten
    n_seen: dict[str, int] = defaultdict(int)
    image_ids = []
    columns = (rows[name].to_pylist() for name in ("image_id", "path", "file_sha256"))
    for image_id, path, sha256 in zip(*columns, strict=True):
        n_seen[image_id] += 1
        image_ids.append(image_id if n_seen[image_id] == 1 else manifest_parts.image_id(path, sha256, n_seen[image_id]))
    place = rows.schema.get_field_index("image_id")
    return rows.set_column(place, rows.schema.field(place), pa.array(image_ids)), n_forgotten
