"""What Prefect's server knows of an installation: its runs, its schedules, and the workers of its pools."""

import datetime
import re
from collections.abc import Mapping
from typing import Literal
from uuid import UUID

import httpx
import prefect.exceptions
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort, TaskRunSort
from prefect.settings import get_current_settings

from fer.reports.overview.document import Run, Schedule, Server, Service, StageRun
from flows import deploying
from flows.operating import asking
from tasks.runs import events

_ANSWER_TIMEOUT_S = 1.0  # for a server that is there at all
_READ_TIMEOUT_S = 5.0  # for one under load
_RUNS = 100
_TASK_RUNS = 200  # the most that the server gives at once
_STAGE_ENDS: dict[str, Literal["made", "failed"]] = {"COMPLETED": "made", "FAILED": "failed", "CRASHED": "failed"}
_SUFFIX = re.compile(r"-[0-9a-f]{3,8}$")  # by which Prefect tells runs of one task apart
_LATE_AFTER = datetime.timedelta(minutes=5)  # a worker may be busy with another run for as long
_NEW = datetime.timedelta(minutes=1)  # the scheduler looks at what is new every few seconds
_BEGUN = sorted(set(StateType) - {StateType.SCHEDULED})
_QUEUED = ["AwaitingConcurrencySlot", "AwaitingRetry"]  # states of type SCHEDULED whose time may have passed


def read() -> Server:
    """What the configured server says; where there is none, or it does not answer within a second, why not."""
    url = get_current_settings().api.url
    if url is None:
        return Server(problem="no server is configured: each run starts a temporary one for itself")
    shown = str(httpx.URL(url).copy_with(userinfo=b""))
    try:
        httpx.get(f"{url}/health", timeout=_ANSWER_TIMEOUT_S, **asking.options(url)).raise_for_status()
        with asking.once(_READ_TIMEOUT_S) as client:
            return _read(client, shown)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Server(url=shown, problem=f"does not answer ({type(error).__name__})")
    # The latter are for what another version of Prefect answers.
    except (prefect.exceptions.PrefectException, ValueError, RuntimeError) as error:
        return Server(url=shown, answers=True, problem=f"can't be read ({type(error).__name__})")


def stage_runs() -> tuple[StageRun, ...]:
    """The tasks that ended last, the newest first; none where no server answers."""
    try:
        with asking.once(_READ_TIMEOUT_S) as client:
            ended = {"state": {"type": {"any_": sorted(_STAGE_ENDS)}}}
            only = TaskRunFilter.model_validate(ended)
            runs = client.read_task_runs(task_run_filter=only, sort=TaskRunSort.END_TIME_DESC, limit=_TASK_RUNS)
    except (httpx.HTTPError, prefect.exceptions.PrefectException, ValueError, RuntimeError):
        return ()
    return tuple(
        StageRun(
            stage=_SUFFIX.sub("", run.name),
            outcome="cached" if run.state_name == events.CACHED else _STAGE_ENDS[run.state_type.value],
            seconds=run.total_run_time.total_seconds(),
        )
        for run in runs
        if run.state_type is not None
    )


def worker_of(pool: str) -> str:
    """How the workers of a pool are called together."""
    return f"worker of {pool}"


def _read(client: SyncPrefectClient, url: str) -> Server:
    now = datetime.datetime.now(datetime.UTC)
    deployments = {deployment.id: deployment for deployment in deploying.on_server(client)}
    begun = _runs(client, {"state": {"type": {"any_": _BEGUN}}}, FlowRunSort.START_TIME_DESC)
    overdue = {
        "state": {"type": {"any_": ["SCHEDULED"]}, "name": {"not_any_": _QUEUED}},
        "expected_start_time": {"before_": now - _LATE_AFTER},
    }
    late = _runs(client, overdue, FlowRunSort.EXPECTED_START_TIME_ASC)
    flows = _flow_names(client, {run.flow_id for run in (*begun, *late)})
    schedules = tuple(_schedule(client, deployment, now) for deployment in deployments.values())
    return Server(
        url=url,
        answers=True,
        services=_workers(client, schedules, late, deployments),
        runs=tuple(_run(run, flows, deployments) for run in begun),
        late=tuple(_run(run, flows, deployments) for run in late),
        schedules=tuple(sorted(schedules, key=lambda one: (one.next_utc is None, one.next_utc, one.deployment))),
    )


def _runs(client: SyncPrefectClient, which: Mapping[str, object], sort: FlowRunSort) -> list[FlowRun]:
    """Those that are no part of another run."""
    only = FlowRunFilter.model_validate({"parent_task_run_id": {"is_null_": True}, **which})
    return client.read_flow_runs(flow_run_filter=only, sort=sort, limit=_RUNS)


def _flow_names(client: SyncPrefectClient, ids: set[UUID]) -> dict[UUID, str]:
    if not ids:
        return {}
    flows = client.read_flows(flow_filter=FlowFilter.model_validate({"id": {"any_": sorted(ids)}}))
    return {flow.id: flow.name for flow in flows}


def _run(run: FlowRun, flows: Mapping[UUID, str], deployments: Mapping[UUID, DeploymentResponse]) -> Run:
    deployment = deployments.get(run.deployment_id) if run.deployment_id else None
    flow = flows.get(run.flow_id, "unknown")
    recipe = next((tag for tag in run.tags if tag.startswith("recipe:")), "")
    return Run(
        id=str(run.id),
        name=run.name,
        flow=flow,
        deployment=deployment.name if deployment else None,
        line=str(run.deployment_id) if run.deployment_id else f"{flow} {recipe}",
        state=run.state_name or "",
        kind=run.state_type.value if run.state_type else "",
        message=(run.state.message if run.state else "") or "",
        due_utc=run.expected_start_time,
        started_utc=run.start_time,
        ended_utc=run.end_time,
        seconds=run.estimated_run_time.total_seconds(),  # so far, while it runs
        tags=tuple(run.tags),
    )


def _schedule(client: SyncPrefectClient, deployment: DeploymentResponse, now: datetime.datetime) -> Schedule:
    active = [] if deployment.paused else [schedule for schedule in deployment.schedules if schedule.active]
    starts = [start for schedule in active if (start := deploying.next_start(client, schedule)) is not None]
    return Schedule(
        deployment=deployment.name,
        pool=deployment.work_pool_name,
        is_paused=deployment.paused or (bool(deployment.schedules) and not active),
        n_schedules=len(active),
        next_utc=min(starts, default=None),
        is_new=(deployment.updated or now) > now - _NEW,
    )


def _workers(
    client: SyncPrefectClient,
    schedules: tuple[Schedule, ...],
    late: list[FlowRun],
    deployments: Mapping[UUID, DeploymentResponse],
) -> tuple[Service, ...]:
    """Of each pool that has deployments. It is needed where something is scheduled, or should have begun."""
    waited_for = {schedule.pool for schedule in schedules if schedule.n_schedules}
    late_ones = [deployments[id_] for run in late if (id_ := run.deployment_id) is not None and id_ in deployments]
    waited_for |= {deployment.work_pool_name for deployment in late_ones}
    services = []
    for pool in sorted({schedule.pool for schedule in schedules if schedule.pool}):
        name = worker_of(pool)
        status = client.read_work_pool(pool).status
        if status == "READY":
            services.append(Service(name=name, state="up", text="online"))
        elif status == "PAUSED":
            services.append(Service(name=name, state="unused", text="the pool is paused"))
        elif pool in waited_for:
            todo = f"start one: fer up, or prefect worker start --pool {pool}"
            services.append(Service(name=name, state="down", text="none is online, and runs are scheduled", todo=todo))
        else:
            services.append(Service(name=name, state="unused", text="none is online; nothing is scheduled"))
    return tuple(services)
