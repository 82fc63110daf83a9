"""Stage 2: what is in the sources. One row a file that should be an image, its encoded bytes, and its thumbnail.

Out: `manifest.parquet` (data_contracts.manifest.SCHEMA, sorted by source and path), and `images/part-00000.arrow` ...
(PART_SCHEMA) and `thumbnails/part-00000.parquet` ... (THUMBNAIL_SCHEMA), 2,000 files each, numbered on from source to
source. What can't be decoded stays in all of them, in quarantine. `index.json` has the config, the layouts, and what
else lies in the sources.
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
from pydantic import BaseModel, ConfigDict, Field, field_validator

from data_contracts import files as names
from data_contracts import manifest as contract
from fer import errors
from fer.engine import process_pool, stage
from fer.engine.workspace import Workspace
from fer.ingest import archives, image_files, labels, manifest_parts, sources
from fer.ingest.layouts import class_folders, ferplus, pixel_csv
from fer.ingest.layouts import detect as layouts
from fer.ingest.refs import DatasetRef, ManifestRef
from fer.progress import Progress

_VotesUse = ferplus.Use  # by its module it could not be named below a field of the same name
REPORT = "index.json"
_LEFT_OUT = "label left out by the recipe"
_OTHERS = "others"
_SHOWN_KINDS = 20  # of what is ignored; a source may have a suffix a file


class IndexConfig(BaseModel):
    """Which labels there are, what the sources may call them, and what else is read from them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...] = Field(min_length=2, description="class names, in the order of the model's outputs")
    synonyms: dict[str, str] = Field(
        default={}, description="spelling in the source -> class, beside the built-in ones such as Suprise -> surprise"
    )
    ignore_labels: tuple[str, ...] = Field(
        default=(), description="labels of the source whose images are left out, as spelled there"
    )
    votes: _VotesUse = Field(
        default="ignore",
        description="FERPlus's votes for fer2013.csv: soft keeps FER2013's label and adds their shares; majority takes "
        "the label from them as well",
    )
    subject_pattern: str | None = Field(
        default=None, description="regular expression for paths whose first group is the subject, e.g. '/(S[0-9]+)_'"
    )

    @field_validator("subject_pattern")
    @classmethod
    def _has_a_group(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                n_groups = re.compile(pattern).groups
            except (re.error, RecursionError, OverflowError) as error:
                raise ValueError(f"the regular expression must be valid: {error}") from None
            if not n_groups:
                raise ValueError("the regular expression must have a group around the subject, such as (S[0-9]+)")
        return pattern


@dataclasses.dataclass(frozen=True)
class _Source:
    """A dataset and how it lies in its archive."""

    name: str
    archive: Path
    layout: layouts.Layout
    decisions: labels.Decisions


@stage.stage("index", resumable=True)
def index(
    out: Path,
    datasets: tuple[DatasetRef, ...],
    config: IndexConfig,
    *,
    workspace: Workspace,
    progress: Progress,
) -> ManifestRef:
    """List what the sources hold, decode it once, and keep its bytes where the next stages read them fast.

    The order in which they are given changes nothing.
    Raises SourceError where nothing in them is an image, LabelError for a label that is none of the classes.
    """
    found = _sources(datasets, config, workspace)
    judges = _judges(found, config)
    ignored = Counter[str]()
    for folder in (names.IMAGES, names.THUMBNAILS, manifest_parts.ROWS, manifest_parts.TEXTS):
        (out / folder).mkdir(exist_ok=True)
    pieces: list[manifest_parts.Part] = []
    for source in found:
        ignored += source.layout.ignored
        if source.layout.tables:
            made = _stream(source, out, len(pieces), judges, config, ignored, progress)
        else:
            made = _pieces_of_files(source, out, len(pieces), config, ignored)
        pieces += made
    try:
        process_pool.map_ordered(manifest_parts.write, pieces, progress=progress, note="parts of 2,000 images")
    finally:
        manifest_parts.close()
    rows = _manifest(out, pieces)
    reasons = Counter(each for each in rows["reason"].to_pylist() if each is not None)
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
    found_layouts = sorted({each.layout.name for each in found})
    commonest = _commonest(ignored)
    report = {"config": config.model_dump(mode="json"), "layouts": found_layouts, "ignored": commonest}
    (out / REPORT).write_text(json.dumps(report, indent=1, sort_keys=True))
    return ManifestRef(
        source=sources.JOINED_BY.join(each.name for each in found),
        layouts=tuple(found_layouts),
        classes=config.classes,
        n_found=len(rows),
        n_quarantined=sum(reasons.values()),
        ignored=commonest,
    )


def _commonest(ignored: Counter[str]) -> dict[str, int]:
    """The commonest kinds by name, and the sum of the rest."""
    by_count = sorted(ignored.items(), key=lambda each: (-each[1], each[0]))
    rest = sum(count for _, count in by_count[_SHOWN_KINDS:])
    return dict(sorted(by_count[:_SHOWN_KINDS])) | ({_OTHERS: rest} if rest else {})


def _sources(datasets: Sequence[DatasetRef], config: IndexConfig, workspace: Workspace) -> list[_Source]:
    """The datasets in the order of their names, with their layouts."""
    found: list[_Source] = []
    for dataset in sorted(datasets, key=lambda each: (each.source, each.digest)):
        if found and found[-1].name == dataset.source:
            raise errors.ConfigError(
                "Each source must be given once.", received=f"{dataset.source} twice", todo="leave one of them out"
            )
        path = workspace.folder(dataset) / archives.DATASET
        by_name, by_number = (
            labels.Decisions(config.classes, config.synonyms, config.ignore_labels, fer2013_numbers=numbers)
            for numbers in (False, True)
        )
        with archives.open_safe(path) as archive:
            layout = layouts.find(archive, by_name, wants_votes=config.votes != "ignore")
        found.append(_Source(dataset.source, path, layout, by_number if layout.tables else by_name))
    return found


def _judges(found: Sequence[_Source], config: IndexConfig) -> dict[tuple[str, str], ferplus.Judge]:
    """Who judges the images of a table, by the names of source and table; empty if votes are not asked for.

    Votes belong to the table of pixels in their source; those that are a source by themselves to the one table left.
    """
    if config.votes == "ignore":
        return {}
    cast = [each.layout.cast for each in found if each.layout.cast is not None]
    if not cast:
        raise errors.SourceError(
            "A recipe with index.votes must be given FERPlus's votes.",
            received=f"none in {sources.JOINED_BY.join(each.name for each in found)}",
            todo=f"{ferplus.WHERE}, or give a folder with it as another source",
        )
    pairs: list[tuple[_Source, ferplus.Votes]] = []
    without = [each for each in found if each.layout.tables and each.layout.cast is None]
    for source in found:
        if source.layout.cast is not None:
            fitting = [source] if source.layout.tables else without
            pairs += [(each, source.layout.cast) for each in fitting]
    n_tables = [len(source.layout.tables) for source, _ in pairs]
    if n_tables != [1] * len(cast) or len({source.name for source, _ in pairs}) < len(pairs):
        raise errors.SourceError(
            "FERPlus's votes must belong to one table of FER2013's pixels.",
            received=f"{len(cast):,} files of votes and {sum(len(each.layout.tables) for each in found):,} tables",
            todo="give fer2013.csv once and fer2013new.csv once",
        )
    return {
        (source.name, source.layout.tables[0].name): ferplus.Judge(
            each, config.classes, source.decisions.meaning, config.votes
        )
        for source, each in pairs
    }


def _subject(path: str, config: IndexConfig) -> str | None:
    found = re.search(config.subject_pattern, path) if config.subject_pattern is not None else None
    return found[1] if found else None


def _pieces_of_files(
    source: _Source, out: Path, first: int, config: IndexConfig, ignored: Counter[str]
) -> list[manifest_parts.Part]:
    """The parts of a source of files, from number `first` on. Counts those that are left out for their label."""
    said: list[manifest_parts.Said] = []
    for file in source.layout.files:
        if source.decisions.is_ignored(file.raw_label):
            ignored[_LEFT_OUT] += 1
            continue
        if file.defect is None:
            label = source.decisions.decide(file.path, file.raw_label)
        else:
            label = source.decisions.meaning(file.raw_label or "")
        said.append(_of_file(source.name, file, label, config))
    source.decisions.require_all_known(source.layout.hint)
    starts = range(0, len(said), manifest_parts.FILES_A_PART)
    return [
        manifest_parts.Part(out, number, source.archive, tuple(said[start : start + manifest_parts.FILES_A_PART]))
        for number, start in enumerate(starts, start=first)
    ]


def _of_file(source: str, file: class_folders.ImageFile, label: str | None, config: IndexConfig) -> manifest_parts.Said:
    subject = file.subject or _subject(file.path, config)
    return manifest_parts.Said(
        source, file.path, file.raw_label or "", label, None, file.raw_split, subject, file.defect, file.member
    )


def _stream(
    source: _Source,
    out: Path,
    first: int,
    judges: dict[tuple[str, str], ferplus.Judge],
    config: IndexConfig,
    ignored: Counter[str],
    progress: Progress,
) -> list[manifest_parts.Part]:
    """Write the texts of a source's tables, which come in one stream; returns their parts, from `first` on.

    What they show is for a pool's workers to find out: it takes twice as long as to stream them. How many pixels most
    rows of a table have is known at the end of the stream, and goes with the parts.
    """
    usual: list[int] = []  # of each table

    def found() -> Iterator[tuple[tuple[manifest_parts.Said, int], bytes]]:
        n_rows = 0
        for place, table in enumerate(source.layout.tables):
            judge = judges.get((source.name, table.name))
            n_pixels = Counter[int]()
            for row in pixel_csv.read(source.archive, table):
                n_rows += 1
                if n_rows > pixel_csv.MAX_ROWS:
                    raise pixel_csv.too_many_rows(table)
                n_pixels[row.n_pixels] += 1
                if row.number % manifest_parts.FILES_A_PART == 0:
                    progress(row.read_bytes, table.size_bytes, f"bytes of {table.name}")
                said = _of_row(source, row, judge, config)
                if said is None:
                    ignored[_LEFT_OUT] += 1
                else:
                    yield (said, place), row.text
            usual.append(pixel_csv.usual(n_pixels))
            progress(table.size_bytes, table.size_bytes, f"bytes of {table.name}")
            if judge is not None:
                judge.require_all_seen()

    pieces: list[list[tuple[manifest_parts.Said, int]]] = []
    rest = found()
    while some := next(rest, None):
        here: list[tuple[manifest_parts.Said, int]] = []
        texts = _remembered(itertools.chain([some], itertools.islice(rest, manifest_parts.FILES_A_PART - 1)), here)
        image_files.write(out / manifest_parts.TEXTS / names.encoded(first + len(pieces)), texts)
        pieces.append(here)
    source.decisions.require_all_known()
    return [
        manifest_parts.Part(
            out, number, None, tuple(said for said, _ in here), tuple(usual[place] for _, place in here)
        )
        for number, here in enumerate(pieces, start=first)
    ]


def _remembered(
    rows: Iterable[tuple[tuple[manifest_parts.Said, int], bytes]], remembered: list[tuple[manifest_parts.Said, int]]
) -> Iterator[tuple[str, bytes]]:
    """Paths and bytes, while what is said of them, and in which table, is added to `remembered`."""
    for each, data in rows:
        remembered.append(each)
        yield each[0].path, data


def _of_row(
    source: _Source, row: pixel_csv.Row, judge: ferplus.Judge | None, config: IndexConfig
) -> manifest_parts.Said | None:
    """What is said of a row; None if it is left out for its label."""
    left_out = source.decisions.is_ignored(row.raw_label)
    label = source.decisions.decide(row.path, row.raw_label) if row.raw_label and not left_out else None
    soft_label, defect = None, row.defect
    if judge is not None:
        verdict = judge.verdict(row.number, row.raw_split, label)
        soft_label, label = verdict.soft_label, verdict.label
        defect = defect or verdict.defect
    if left_out:
        return None
    subject = _subject(row.path, config)
    return manifest_parts.Said(source.name, row.path, row.raw_label, label, soft_label, row.raw_split, subject, defect)


def _manifest(out: Path, pieces: Sequence[manifest_parts.Part]) -> pa.Table:
    """The rows of all pieces, sorted by source and path. The same file in several sources gets an id in each."""
    if not pieces:
        raise errors.SourceError(
            "The source must hold images.", received="none, or only such with ignored labels", todo="check the source"
        )
    found = [
        pq.read_table(out / manifest_parts.ROWS / names.part(each.number), schema=contract.SCHEMA) for each in pieces
    ]
    rows = pa.concat_tables(found).combine_chunks().sort_by([("source", "ascending"), ("path", "ascending")])
    if pc.count_distinct(rows["image_id"]).as_py() == len(rows):
        return rows
    n_seen: dict[str, int] = defaultdict(int)
    image_ids = []
    columns = (rows[each].to_pylist() for each in ("image_id", "path", "file_sha256"))
    for image_id, path, sha256 in zip(*columns, strict=True):
        n_seen[image_id] += 1
        image_ids.append(image_id if n_seen[image_id] == 1 else manifest_parts.image_id(path, sha256, n_seen[image_id]))
    place = rows.schema.get_field_index("image_id")
    return rows.set_column(place, rows.schema.field(place), pa.array(image_ids))
