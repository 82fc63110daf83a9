"""Where a task's output is from, or what the task runs for: said in its state, the log and the terminal."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from fer import plain_text
from fer.engine.outputs import OutputRecord
from fer.engine.stage import Stage
from fer.engine.workspace import Workspace
from fer.recipes import reasons
from fer.reports.overview import words

_SHOWN_DIGITS = 8  # of a run's ID
_FORCED = "it was to be made again"


class Told(NamedTuple):
    """What is said of a task: its output's `key`; of a cached one its `origin`, of another `why` it is made.

    `provenance` is the origin in full. `is_of_its_own`: something other than the data that it was given changed.
    """

    key: str = ""
    origin: str = ""
    provenance: str = ""
    why: str = ""
    is_of_its_own: bool = False
    stage: str = ""

    def sentence(self) -> str:
        """All of it in one line; empty where nothing is known."""
        output = f"output {self.stage}/{self.key}" if self.key else ""  # as `fer why` takes it
        return plain_text.visible("; ".join(filter(None, (self.provenance or self.why, output))))


def of_cached(record: OutputRecord) -> Told:
    """What is said of a task whose output is there."""
    stage, _, key = record.path.partition("/")
    run = f"by run {record.run_id[:_SHOWN_DIGITS]}" if record.run_id else ""
    age = words.ago(datetime.fromisoformat(record.made_utc), datetime.now(UTC)) if record.made_utc else ""
    return Told(key=key, origin=", ".join(filter(None, (run, age))), provenance=record.provenance(), stage=stage)


def of_run(stage: Stage[Any], parameters: Mapping[str, Any], workspace: Workspace, is_forced: bool) -> Told:
    """What is said of a task that is about to run its stage."""
    inputs = [parameters[given] for given in stage.inputs]
    key = stage.key(*inputs)
    if is_forced and workspace.record(stage.name, key) is not None:
        return Told(key=key, why=_FORCED, stage=stage.name)
    reason = reasons.of(stage.parts(*inputs), stage.name, workspace)
    is_of_its_own = reason.nearest is not None and reason.is_of_its_own
    return Told(key=key, why=reason.sentence(), is_of_its_own=is_of_its_own, stage=stage.name)


_told: dict[UUID, Told] = {}  # of task runs of this process that have not ended


def tell(task_run: UUID, told: Told) -> None:
    """Keep what is to be said of a task run once it has ended."""
    _told[task_run] = told


def told(task_run: UUID) -> Told:
    """What was kept of a task run, once."""
    return _told.pop(task_run, Told())
