"""The stage `score`: pictures without labels to Parquet with what a release says of them, part by part.

Each part of the pictures is a work item that any process or Dask worker can do; those that an earlier attempt finished
are kept. Memory does not grow with the pictures, but for the names of image files: tables are read row by row.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts import scores as contract
from fer import errors
from fer.engine import disk, runners, stage
from fer.engine import workspace as workspaces
from fer.evaluation.refs import CalibrationRef
from fer.exports import serving
from fer.images import decode, properties
from fer.ingest import archives
from fer.ingest.refs import DatasetRef
from fer.progress import Progress
from fer.scoring import answers, pictures
from fer.scoring.refs import ScoreConfig, ScoresRef
from fer.serving import results
from fer.serving.predictor import Predictor, Shown
from fer.training.refs import ModelRef

_SUMMARY = b"summary"  # in a shard's metadata: counts, by which it is known as whole
_ROW_GROUP_ROWS = 65_536
_AT_ONCE = 256  # inputs that are scored together
_NOTHING_SHOWN: dict[str, Any] = dict.fromkeys(
    ["finding", "face", "label", "confidence", "set", "coverage", "unsure", "unlike", "taken", "face_score", "error"]
) | dict.fromkeys((*contract.BOX, *contract.PROPERTIES))


def name_of(number: int) -> str:
    """The file name of a shard of scores."""
    return f"scores-{number:05d}.parquet"


@dataclass(frozen=True)
class Counts:
    """What a shard holds."""

    n_pictures: int = 0
    n_faces: int = 0
    n_without: int = 0
    n_unreadable: int = 0


@stage.stage("score", resumable=True)
def score(
    out: Path,
    dataset: DatasetRef,
    model: ModelRef,
    calibration: CalibrationRef | None,
    config: ScoreConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
    runner: runners.Runner,
) -> ScoresRef:
    """Write `scores-*.parquet`, a row for each face of the pictures of `dataset`, or for a picture without one.

    `model` and `calibration` are those of a release as the stages `champion` bring them. Raises SourceError where there
    is no picture, or a table can't be read; IntegrityError for a release that can't be used.
    """
    parts = pictures.parts(workspace.folder(dataset) / archives.DATASET, config.pictures_per_shard)
    n_pictures = sum(map(len, parts))
    inputs = (dataset, model) if calibration is None else (dataset, model, calibration)
    counts = runner.run(
        _score_part,
        (_WorkItem(number, part, model.digest, config) for number, part in enumerate(parts)),
        place=runners.Place(workspace, inputs, out),
        n_images=n_pictures,
        progress=progress,
        text="pictures scored",
    )
    answers.opened.cache_clear()
    totals = {name: sum(asdict(of_part)[name] for of_part in counts) for name in asdict(Counts())}
    return ScoresRef(digest=_digest(out, len(parts)), release=config.release, n_shards=len(parts), **totals)


def shards(folder: Path) -> list[Path]:
    """The shards of scores in a folder, in the order of the pictures."""
    return sorted(folder.glob("scores-*.parquet"))


@dataclass(frozen=True)
class _WorkItem:
    number: int
    part: pictures.Part
    model_digest: str
    config: ScoreConfig

    @property
    def names(self) -> tuple[str, ...]:
        """The file of the shard."""
        return (name_of(self.number),)

    @property
    def n_images(self) -> int:
        """How many pictures it is made of."""
        return len(self.part)


def _score_part(folders: runners.Folders, item: _WorkItem) -> Counts:
    """Write one shard, or keep it if it is there and whole."""
    path = folders.out / item.names[0]
    if (counts := _finished(path)) is not None:
        return counts
    dataset, model, *calibration = folders.inputs
    config = item.config
    known = answers.opened(
        model, config.release, config.model_file, config.model_sha256, calibration[0] if calibration else None
    )
    schema = contract.schema(known.classes)
    counted = _Counted()
    with disk.replacing(path) as staging, pq.ParquetWriter(staging, schema, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        named = {"model": config.release, "model_digest": item.model_digest}
        for row in counted.of(_rows(item.part.read(dataset / archives.DATASET), known, config)):
            rows.append(row | named)
            if len(rows) == _ROW_GROUP_ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows.clear()
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
        counts = Counts(len(item.part), counted.n_faces, counted.n_without, counted.n_unreadable)
        writer.add_key_value_metadata({_SUMMARY: json.dumps(asdict(counts))})
    return counts


def _finished(path: Path) -> Counts | None:
    """What the shard holds that an earlier attempt left at `path`; None if there is none, or it is not whole."""
    try:
        return Counts(**json.loads(pq.read_metadata(path).metadata[_SUMMARY]))
    except (OSError, ValueError, LookupError, TypeError, pa.ArrowException):
        return None


class _Counted:
    """Counts rows as they pass."""

    def __init__(self) -> None:
        self.n_faces = self.n_without = self.n_unreadable = 0

    def of(self, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for row in rows:
            self.n_faces += row["label"] is not None
            self.n_without += row["label"] is None and row["error"] is None
            self.n_unreadable += row["error"] is not None
            yield row


class _Waiting(NamedTuple):
    """A row as far as it is known without the model, and the input that the rest follows from, if there is one."""

    row: dict[str, Any]
    shown: Shown | None = None


def _rows(found: Iterator[pictures.Picture], known: Predictor, config: ScoreConfig) -> Iterator[dict[str, Any]]:
    """The rows of pictures in their order; inputs are scored some hundred at once."""
    has_export = config.model_file == serving.ONNX
    at_once = _AT_ONCE if has_export else config.pictures_per_shard  # Keras takes seconds to begin
    waiting: list[_Waiting] = []
    n_shown = 0
    for picture in found:
        of_picture = _of_picture(picture, known, whole=config.whole)
        waiting += of_picture
        n_shown += sum(one.shown is not None for one in of_picture)
        if n_shown >= at_once or len(waiting) >= 4 * at_once:
            yield from _scored(waiting, known)
            waiting.clear()
            n_shown = 0
    yield from _scored(waiting, known)


def _of_picture(picture: pictures.Picture, known: Predictor, *, whole: bool) -> list[_Waiting]:
    row = _NOTHING_SHOWN | {"image_id": picture.image_id, "path": picture.path}
    try:
        if picture.defect is not None:
            raise decode.UndecodableImage(picture.defect)
        looked = known.look(decode.decode(picture.data), whole=whole)
    except decode.UndecodableImage as error:
        return [_Waiting(row | {"error": str(error)})]
    row["finding"] = results.finding(looked.n_found)
    if not looked.shown:
        return [_Waiting(row)]
    return [_Waiting(row | {"face": number}, shown) for number, shown in enumerate(looked.shown, 1)]


def _scored(waiting: list[_Waiting], known: Predictor) -> Iterator[dict[str, Any]]:
    inputs = [one.shown.pixels for one in waiting if one.shown is not None]
    if not inputs:
        yield from (one.row for one in waiting)
        return
    probabilities = iter(known.calibrated(known.raw(np.stack(inputs))))
    columns = contract.probability_columns(known.classes)
    for row, shown in waiting:
        if shown is None:
            yield row
            continue
        own = next(probabilities)
        said = known.answer(shown, own)
        answer = {
            "label": said.label,
            "confidence": said.confidence,
            "set": said.set,
            "coverage": said.coverage,
            "unsure": said.unsure,
            "unlike": said.unlike,
            "taken": said.taken,
            "face_score": said.face_score,
        }
        answer |= zip(columns, own, strict=True)
        answer |= zip(contract.BOX, said.box or (None,) * 4, strict=True)
        yield row | answer | vars(properties.measure(shown.pixels))


def _digest(out: Path, n_shards: int) -> str:
    whole = hashlib.sha256()
    for number in range(n_shards):
        path = out / name_of(number)
        if not path.is_file():
            raise errors.WorkspaceError(
                "Every shard of scores must be there in the end.",
                received=f"no {path.name}",
                todo="run the same command again",
            )
        whole.update(f"{path.name}\0{disk.sha256(path)}\n".encode())
    return whole.hexdigest()
