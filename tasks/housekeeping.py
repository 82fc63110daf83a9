"""What nothing needs any more, as a run in Prefect."""

import json
import re
from pathlib import Path

from prefect import get_client, runtime
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType

from fer import errors, settings
from fer.housekeeping import backup_bucket
from fer.housekeeping import collect as collection
from fer.housekeeping.home import release_name
from fer.housekeeping.liveness import Policy
from fer.registry import names, releases
from tasks import caching
from tasks.runs.results import BackedUp, Collected
from tasks.shown import artifacts

_RELEASE = re.compile(rf"\b({names.NAME})@([1-9][0-9]{{0,8}})\b")
_PAGE = 200  # the most that a server answers with
_AT_WORK = [StateType.RUNNING, StateType.PENDING, StateType.PAUSED, StateType.SCHEDULED]


def named_by_runs() -> set[str]:
    """The releases, NAME@VERSION, that the parameters of runs name which go on, or wait, on Prefect's server."""
    at_work = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_AT_WORK)))
    runs: list[FlowRun] = []
    with get_client(sync_client=True) as client:
        while page := client.read_flow_runs(flow_run_filter=at_work, limit=_PAGE, offset=len(runs)):
            runs += page
    named: set[str] = set()
    for run in runs:
        if run.id == runtime.flow_run.id:
            continue
        named |= {release_name(name, int(version)) for name, version in _RELEASE.findall(json.dumps(run.parameters))}
        name, version = run.parameters.get("name"), run.parameters.get("version", run.parameters.get("to"))
        if isinstance(name, str) and isinstance(version, int):
            named.add(release_name(name, version))
    return named


@caching.uncached("collect garbage")
def collect(policy: Policy, delete: bool) -> Collected:
    """Find what goes by the policy and, with `delete`, remove it.

    Raises IntegrityError if something that is needed is not whole afterwards; StoreError, WorkspaceError.
    """
    with releases.open_registry() as models:
        found = collection.Collection(settings.Settings.load(), policy, models, named=named_by_runs())
        rows: list[dict[str, str | int | float]] = [
            {
                "kind": row.kind,
                "goes": row.n_goes,
                "room": collection.room(row.goes_bytes),
                "stays": row.n_stays,
                "its room": collection.room(row.stays_bytes),
            }
            for row in found.by_kind()
        ]
        artifacts.table("gc", rows, "What nothing needs any more, and what stays")
        if not delete:
            return Collected(n_gone=0, freed_bytes=0, sentence=found.preview())
        removed, proof = found.remove(), found.prove()
    if proof.faults:
        raise errors.IntegrityError(
            "What is needed must be whole.",
            received="; ".join(proof.faults[:5]),
            todo="fer models repair NAME, or restore it from a backup; outputs are made again by the next run",
        )
    return Collected(
        n_gone=len(removed.gone),
        freed_bytes=removed.freed_bytes,
        sentence=f"{removed.sentence()}; {proof.sentence()}",
    )


@caching.uncached("back up")
def back_up(place: str, database: Path | None, keep: int) -> BackedUp:
    """Write a backup below a place, named by the time.

    Raises ConfigError, IntegrityError, StoreError, WorkspaceError.
    """
    with releases.open_registry(unsigned=True) as models:
        made, where = backup_bucket.write_dated(place, settings.Settings.load(), models, database, keep)
    return BackedUp(n_files=len(made.files), size_bytes=made.size_bytes, place=where)
