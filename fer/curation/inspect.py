"""Stage 4: what can be known of the accepted images only by looking at all of them.

Near-twins (`duplicates`) and images unlike all the others (`outliers`), from the thumbnails that the index left. Out:
`findings.parquet` and `pairs.parquet` (data_contracts.curation), and `inspect.json`, which says how they were looked
for. What is to be done about them is for `curate` to say. Labels are not looked at: see `train_labels`.
"""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from data_contracts import curation, files
from data_contracts import manifest as contract
from fer import errors
from fer.curation import near_duplicates, outliers, twins
from fer.curation.refs import InspectionRef, ValidationRef
from fer.engine import stage
from fer.engine.workspace import Workspace
from fer.ingest.refs import ManifestRef
from fer.progress import Progress

REPORT = "inspect.json"


class InspectConfig(BaseModel):
    """What is looked for, and how closely."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    near_duplicate_correlation: float = Field(
        default=0.9, ge=0.8, le=1, description="of two thumbnails' grey levels, from which on they are near-twins"
    )
    aligned_duplicates: bool = Field(
        default=True,
        description="look for near-twins that are moved, cropped, zoomed, turned or mirrored as well: a minute for 36 "
        "thousand images on 2 cores, four times as long for twice as many",
    )
    aligned_duplicate_correlation: float = Field(
        default=0.95, ge=0.9, le=1, description="of the grey levels of two of these, laid on each other"
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

    Memory: 2.5 kB an image, and 6 kB more while twins are looked for that are moved or mirrored. Raises
    WorkspaceError for an accepted image without a thumbnail, and SourceError where nearly all images are alike.
    """
    columns = ["image_id", "pixel_sha256", "part", "row"]
    accepted = pq.read_table(workspace.folder(validation) / files.ACCEPTED, columns=columns).sort_by("image_id")
    image_ids, contents = accepted["image_id"].to_pylist(), accepted["pixel_sha256"].to_pylist()
    thumbnails = read_thumbnails(workspace.folder(manifest) / files.THUMBNAILS, accepted)
    progress(0, 2, "near-twins")
    aligned = config.aligned_duplicate_correlation if config.aligned_duplicates else None
    pairs = near_duplicates.find(thumbnails, contents, config.near_duplicate_correlation, aligned, progress)
    ids = np.array(image_ids, dtype=object)
    first, second = ids[pairs.first], ids[pairs.second]
    known = twins.Twins(image_ids, contents, zip(first, second, strict=True))
    groups = [known.group(image_id) for image_id in image_ids]
    progress(1, 2, "outliers")
    unlike = outliers.scores(thumbnails)
    progress(2, 2, "images inspected")
    findings = {
        "image_id": image_ids,
        "group": groups,
        "outlier_score": pa.array(unlike, pa.float32(), mask=np.isnan(unlike)),
    }
    pq.write_table(pa.table(findings, schema=curation.FINDINGS), out / files.FINDINGS)
    kinds = pa.array(curation.KINDS).take(pa.array(pairs.kind))
    found = {"first": first.tolist(), "second": second.tolist(), "kind": kinds, "correlation": pairs.correlation}
    pq.write_table(pa.table(found, schema=curation.PAIRS), out / files.PAIRS)
    (out / REPORT).write_text(json.dumps({"config": config.model_dump(mode="json")}, indent=1))
    return InspectionRef(
        n_images=len(image_ids),
        n_pairs=len(first),
        n_groups=sum(size > 1 for size in Counter(groups).values()),
    )


def read_thumbnails(folder: Path, accepted: pa.Table) -> np.ndarray:
    """The thumbnails of the `accepted` images (by part and row), in their order, (n, pixels) uint8.

    One part is in memory at a time.
    """
    pixels = contract.THUMBNAIL_SIDE**2
    found = np.empty((accepted.num_rows, pixels), np.uint8)
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
        found[at] = flat.reshape(len(at), pixels)
    return found
