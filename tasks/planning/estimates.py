"""What a step will take: of time, disk and memory, by what the nearest earlier outputs of its stage took."""

import json
import platform
from typing import NamedTuple

from fer import errors
from fer.engine.code import key_parts
from fer.engine.outputs import OutputRecord
from fer.engine.refs import Ref
from fer.engine.workspace import Workspace
from fer.models import saved_model
from tasks.planning.walks import Step

_COMPARED = 50


class Estimate(NamedTuple):
    """What a step took before; None where that is not known. `is_of_another`: of a machine other than this one."""

    seconds: float | None = None
    size_bytes: int | None = None
    memory_mb: float | None = None
    is_of_another: bool = False


def of(step: Step, workspace: Workspace) -> Estimate:
    """What making the step's output takes: nothing where it is there."""
    if step.state == "cached":
        return Estimate(0.0, 0)
    if step.stage is None:
        return Estimate()
    records = workspace.records(step.stage, _COMPARED)
    nearest = step.reason.nearest if step.reason is not None else step.record
    if nearest is None:
        return Estimate()
    timed = [record for record in records if record.seconds is not None]
    here = [record for record in timed if record.made_on == platform.node()]
    parts = nearest.parts
    alike = None if parts is None else key_parts.nearest(parts, here or timed, lambda record: record.parts)
    return Estimate(
        seconds=None if alike is None else alike.seconds,
        size_bytes=nearest.size_bytes,
        memory_mb=_memory_mb(nearest, workspace),
        is_of_another=alike is not None and not here,
    )


def _memory_mb(record: OutputRecord, workspace: Workspace) -> float | None:
    """The most memory that a training took, where its model says so."""
    if saved_model.ABOUT not in record.files:
        return None
    try:
        folder = workspace.folder(Ref.model_construct(**record.ref), {saved_model.ABOUT})
        return float(json.loads((folder / saved_model.ABOUT).read_bytes())["peak_memory_mb"])
    except (errors.WorkspaceError, errors.StoreError, OSError, ValueError, LookupError, TypeError):
        return None
