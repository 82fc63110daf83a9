"""What a step will take: of time, disk and memory, by what the nearest earlier outputs of its stage took."""

import json
import platform
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from fer import errors
from fer.engine.code import key_parts
from fer.engine.outputs import OutputRecord
from fer.engine.refs import Ref
from fer.engine.workspace import Workspace
from fer.models import saved_model
from fer.recipes.reasons import Reason
from tasks.planning.walks import Step

_COMPARED = 50
_NEWEST = 5  # of those that have no stage's key, which of them is nearest is not known
_OF_MEMORY = (
    "train.batch_size",
    "train.ema",
    "train.micro_batch",
    "train.model.",
    "train.phases",
    "train.precision",
    "train.resident_mb",
)  # settings of a training that bear on how much it needs


class Memory(NamedTuple):
    """The most that an earlier training took (MB), by its output; `differing`: what bears on it and was otherwise."""

    mb: float
    output: str  # stage/key
    differing: tuple[str, ...] = ()


class Estimate(NamedTuple):
    """What a step took before; None where that is not known. `is_of_another`: of a machine other than this one.

    `without`: the stages of a task of several of which nothing is known.
    """

    seconds: float | None = None
    size_bytes: int | None = None
    memory: Memory | None = None
    is_of_another: bool = False
    without: tuple[str, ...] = ()


def of(step: Step, workspace: Workspace) -> Estimate:
    """What making the step's output takes: nothing where it is there."""
    if step.state == "cached":
        return Estimate(0.0, 0)
    if step.parts:
        return _sum([(part.name, of(part, workspace)) for part in step.parts])
    if step.stage is None:
        return _of_no_stage(step.model, workspace.records(step.name, _COMPARED))
    records = workspace.records(step.stage, _COMPARED)
    nearest = step.reason.nearest if step.reason is not None else step.record
    if nearest is None:
        return Estimate()
    timed, is_of_another = _timed_here([record for record in records if record.seconds is not None])
    parts = nearest.parts
    alike = None if parts is None else key_parts.nearest(parts, timed, lambda record: record.parts)
    return Estimate(
        seconds=None if alike is None else alike.seconds,
        size_bytes=nearest.size_bytes,
        memory=_memory(nearest, step.reason, workspace),
        is_of_another=alike is not None and is_of_another,
    )


def _sum(named: Sequence[tuple[str, Estimate]]) -> Estimate:
    """Of stages, by their names, that run one after the other, as far as something is known of them."""
    parts = [part for _, part in named]
    seconds = [part.seconds for part in parts if part.seconds is not None]
    sizes = [part.size_bytes for part in parts if part.size_bytes is not None]
    memory = [part.memory for part in parts if part.memory is not None]
    return Estimate(
        seconds=sum(seconds) if seconds else None,
        size_bytes=sum(sizes) if sizes else None,
        memory=max(memory, key=lambda one: one.mb, default=None),
        is_of_another=any(part.is_of_another for part in parts),
        without=tuple(name for name, part in named if part.seconds is None) if seconds else (),
    )


def _of_no_stage(model: str, records: Sequence[OutputRecord]) -> Estimate:
    """Of a task that is no stage, as `register`: the middle one of the newest of this model, or else of any, whose Refs
    say how long they took."""
    of_any = [record for record in records if record.ref.get("seconds")]
    of_model = [record for record in of_any if record.ref.get("model") == model]
    timed, is_of_another = _timed_here(of_model or of_any)
    if not timed:
        return Estimate()
    seconds = statistics.median_high(record.ref["seconds"] for record in timed[:_NEWEST])
    return Estimate(seconds=seconds, size_bytes=0, is_of_another=is_of_another)


def _timed_here(timed: list[OutputRecord]) -> tuple[list[OutputRecord], bool]:
    """Those of this machine, or all where there is none; whether they are of another one."""
    here = [record for record in timed if record.made_on == platform.node()]
    return here or timed, not here


def _memory(record: OutputRecord, reason: Reason | None, workspace: Workspace) -> Memory | None:
    """The most memory that a training took, where its model says so."""
    if saved_model.ABOUT not in record.files:
        return None
    changes = () if reason is None else reason.changes
    differing = tuple(
        change.sentence() for change in changes if change.kind == "setting" and change.name.startswith(_OF_MEMORY)
    )
    try:
        folder = workspace.folder(Ref.model_construct(**record.ref), {saved_model.ABOUT})
        peak_mb = float(json.loads((folder / saved_model.ABOUT).read_bytes())["peak_memory_mb"])
    except (errors.WorkspaceError, errors.StoreError, OSError, ValueError, LookupError, TypeError):
        return None
    return Memory(peak_mb, key_parts.short(record.path), differing)
