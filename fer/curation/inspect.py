"""Stage 4: what takes more than one look at one image: duplicates, outliers, pictures without a face.

Near-duplicates (`near_duplicates`), images unlike all the others (`outliers`), and images in which no face is found
(`face_scores`), from the thumbnails of the index.
Out: `findings.parquet` and `pairs.parquet` (data_contracts.curation), and `inspect.json`, the settings. What is done
about them is decided by `curate`. Labels are not looked at: see `label_errors`.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from data_contracts import curation, files
from data_contracts import manifest as contract
from fer import errors
from fer.curation import face_scores, groups, near_duplicates, outliers
from fer.curation.refs import InspectionRef, ValidationRef
from fer.engine import stage
from fer.engine.records import Record
from fer.engine.workspace import Workspace
from fer.ingest.refs import ManifestRef
from fer.progress import Progress


class InspectConfig(Record):
    """What is looked for, and how closely."""

    near_duplicate_correlation: float = Field(
        default=0.9, ge=0.8, le=1, description="of two thumbnails' grey levels, from which on they are near-duplicates"
    )
    aligned_duplicates: bool = Field(
        default=True,
        description="look for near-duplicates that are moved, cropped, zoomed, turned or mirrored as well: a minute "
        "for 36 thousand images on 2 cores, four times as long for twice as many",
    )
    aligned_duplicate_correlation: float = Field(
        default=0.95, ge=0.9, le=1, description="of the grey levels of two of these, laid on each other"
    )
    face_scores: bool = Field(
        default=True,
        description="look for images that show no face, by the face detector: half a minute for 36 thousand images on "
        "2 cores",
    )
    label_errors: bool = Field(
        default=True,
        description="look for labels that are likely wrong, by a model of train's; policies touch train alone",
    )
    max_label_share: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="of the probability that is usual in its class, up to which a label can be called wrong",
    )
    folds: int = Field(default=5, ge=2, le=20, description="of the out-of-fold predictions for label errors")
    seed: int = Field(default=0, ge=0, description="of the folds")


_COLUMNS = ["image_id", "pixel_sha256", "width", "height", "part", "row"]  # of the accepted images


@stage.stage("inspect")
def inspect(
    out: Path,
    manifest: ManifestRef,
    validation: ValidationRef,
    config: InspectConfig,
    *,
    workspace: Workspace,
    progress: Progress,
) -> InspectionRef:
    """Write `findings.parquet` and `pairs.parquet` of the accepted images.

    Memory: 2.5 kB per image, and 6 kB more while moved and mirrored near-duplicates are looked for. Raises
    WorkspaceError for an accepted image without a thumbnail, and SourceError where nearly all images are alike.
    """
    accepted = pq.read_table(workspace.folder(validation) / files.ACCEPTED, columns=_COLUMNS).sort_by("image_id")
    image_ids = accepted["image_id"].to_pylist()
    thumbnails = read_thumbnails(workspace.folder(manifest) / files.THUMBNAILS, accepted)
    progress(0, 3, "near-duplicates")
    aligned = config.aligned_duplicate_correlation if config.aligned_duplicates else None
    contents = accepted["pixel_sha256"].to_pylist()
    pairs = near_duplicates.find(thumbnails, contents, config.near_duplicate_correlation, aligned, progress)
    rows = np.column_stack([pairs.first, pairs.second])
    duplicate_group = groups.of_rows(accepted["pixel_sha256"], rows, pairs.kind).duplicate_group
    _, first_rows, group_numbers = np.unique(duplicate_group, return_index=True, return_inverse=True)
    ids = np.array(image_ids, dtype=object)
    progress(1, 3, "outliers")
    scores = outliers.scores(thumbnails)
    face_score = pa.nulls(len(accepted), pa.float32())
    if config.face_scores:
        face_score = pa.array(face_scores.scores(workspace.folder(manifest), accepted, progress))
    progress(3, 3, "images inspected")
    findings = {
        "image_id": image_ids,
        "duplicate_group": ids[first_rows[group_numbers]].tolist(),
        "outlier_score": pa.array(scores, pa.float32(), mask=np.isnan(scores)),
        "face_score": face_score,
    }
    pq.write_table(pa.table(findings, schema=curation.FINDINGS), out / files.FINDINGS)
    kinds = pa.array(curation.KINDS).take(pa.array(pairs.kind))
    columns = {
        "first": ids[pairs.first].tolist(),
        "second": ids[pairs.second].tolist(),
        "kind": kinds,
        "correlation": pairs.correlation,
    }
    pq.write_table(pa.table(columns, schema=curation.PAIRS), out / files.PAIRS)
    (out / files.INSPECTION_REPORT).write_text(json.dumps({"config": config.model_dump(mode="json")}, indent=1))
    return InspectionRef(
        n_images=len(image_ids),
        n_pairs=len(rows),
        n_groups=int((np.bincount(group_numbers) > 1).sum()),
    )


def read_thumbnails(folder: Path, accepted: pa.Table) -> np.ndarray:
    """The thumbnails of the `accepted` images (by part and row), in their order, (n, pixels) uint8.

    One part is in memory at a time. Raises WorkspaceError for an image without a thumbnail.
    """
    pixels = contract.THUMBNAIL_SIDE**2
    thumbnails = np.empty((accepted.num_rows, pixels), np.uint8)
    parts, rows = accepted["part"].to_numpy(), accepted["row"].to_numpy()
    for number in np.unique(parts).tolist():
        at = np.flatnonzero(parts == number)
        column = pq.read_table(folder / files.part(number))["pixels"].take(pa.array(rows[at])).combine_chunks()
        if column.null_count:
            raise errors.WorkspaceError(
                "Every accepted image must have a thumbnail.",
                received=f"{column.null_count:,} of part {number} have none",
                todo="remove the workspace's index folder and run the same command again",
            )
        start = column.offset * pixels
        flat = np.frombuffer(column.buffers()[1], np.uint8)[start : start + len(at) * pixels]
        thumbnails[at] = flat.reshape(len(at), pixels)
    return thumbnails
