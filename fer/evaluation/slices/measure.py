"""The stage `slices`: a model's answers on parts of the test, from its predictions and what is known of each image."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fer.curation.refs import CurationRef, InspectionRef, ValidationRef
from fer.engine import disk, stage
from fer.engine import workspace as workspaces
from fer.evaluation import predictions
from fer.evaluation.refs import EvaluationRef, SlicesRef
from fer.evaluation.slices import columns as slice_columns
from fer.evaluation.slices import figures
from fer.evaluation.slices.config import SlicesConfig
from fer.progress import Progress

MEMBERS = "slices.parquet"
_OF_PEOPLE = ("subject", "group")


@stage.stage("slices")
def slices(
    out: Path,
    evaluation: EvaluationRef,
    validation: ValidationRef,
    inspection: InspectionRef,
    curation: CurationRef,
    config: SlicesConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> SlicesRef:
    """Write `slices.json`, a `figures.Slices`; and `slices.parquet`: image_id, and a column for each property, issue
    and source, which names the group of each image. What is known of people stays out of it, and so of releases.
    Raises ConfigError, IntegrityError.
    """
    rows = predictions.read(workspace.folder(evaluation) / predictions.FILE)
    folders = (workspace.folder(validation), workspace.folder(inspection), workspace.folder(curation))
    columns, missing = slice_columns.read(rows.image_ids, *folders, config)
    found = figures.measure(rows, columns, config.min_slice_size, missing)
    disk.write(out / figures.FILE, found.model_dump_json(indent=1).encode())
    members = {"image_id": pa.array(rows.image_ids, pa.string())}
    for column in columns:
        if column.kind not in _OF_PEOPLE:
            members[column.name] = pa.array(column.groups.tolist(), pa.string())
    with disk.replacing(out / MEMBERS) as staging:
        pq.write_table(pa.table(members), staging, compression="zstd")
    progress(1, 1, "slices measured")
    worst = found.slices[0] if found.slices else None
    return SlicesRef(
        n_slices=len(found.slices),
        worse=tuple(one.name for one in found.slices if one.is_worse),
        worst=None if worst is None else worst.name,
        worst_accuracy=None if worst is None else worst.accuracy,
        worst_interval=None if worst is None else worst.accuracy_interval,
        not_evaluated=found.not_evaluated,
    )
