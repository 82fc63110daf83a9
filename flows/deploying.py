"""What `prefect deploy` does to a deployment that is on the server: it keeps pauses, and prints what it replaces."""

import datetime
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic
import typer
import yaml
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowRunFilter
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.utilities.templating import apply_values

from fer import settings

DECLARATIONS = Path("prefect.yaml")  # what `prefect deploy` reads, in the folder that it is called in
_INTERVAL: pydantic.TypeAdapter[datetime.timedelta | None] = pydantic.TypeAdapter(datetime.timedelta | None)
_STEP = "kept"  # the ID of the build step in `prefect.yaml`
_PAGE = 200  # the most that the server gives at once


def keep_pauses(deployment: str) -> dict[str, Any]:
    """A build step of `prefect.yaml`, for the deployment of that name; prints what deploying is about to replace.

    Sees that the server has what they need beside them, too (`provisions`).
    Returns `active`: for the slug of each declared schedule, whether it is to be active; and `enabled`: likewise for
    the name of each trigger. What is new is; a pause of the whole deployment, which no declaration can keep, becomes
    one of its schedules. And `recipes`: the main values of the named recipes as Markdown, for a description.
    """
    from flows.operating import installation, provisions  # imports Prefect's workers, which no run needs

    declared = declarations().get(deployment, {})
    slugs = [schedule.get("slug", "") for schedule in declared.get("schedules") or []]
    with get_client(sync_client=True) as client:
        own = installation.pool(settings.Settings.load().home)
        pool = (declared.get("work_pool") or {}).get("name", own)
        made = provisions.ensure(client, pool)
        current = next(iter(_matching(client, declared)), None)
        enabled = {
            trigger["name"]: all(there.enabled for there in client.read_automations_by_name(trigger["name"]))
            for trigger in declared.get("triggers") or []
        }
    for what in made:
        typer.echo(f"made on the server: {what}")
    if pool != own:
        typer.echo(f"{deployment}: for workers of the pool {pool!r}, but `fer up` was asked for the pool {own!r} here")
    if current is None:
        return {"active": dict.fromkeys(slugs, True), "enabled": enabled, **_step_texts()}
    for change in replaced(declared, current):
        typer.echo(f"replaced on the server: {deployment}: {change}")
    pairs = zip(slugs, _paired(declared, current), strict=True)
    active = {slug: not current.paused and (there is None or there.active) for slug, there in pairs}
    return {"active": active, "enabled": enabled, **_step_texts()}


def _step_texts() -> dict[str, str]:
    """What the build step gives for descriptions."""
    from fer.recipes import main_values
    from fer.reports import markdown_tables

    return {"recipes": markdown_tables.table(main_values.rows()).strip()}


def declarations(path: Path = DECLARATIONS) -> dict[str, dict[str, Any]]:
    """The deployments that the file declares, by name, the environment's variables and the build step's texts put in.

    Empty where there is no such file, or none of `prefect deploy`'s, which then says itself what is wrong with it.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (FileNotFoundError, yaml.YAMLError):
        return {}
    declared = content.get("deployments") or [] if isinstance(content, dict) else []
    named = [declaration for declaration in declared if "name" in declaration]
    values = {**os.environ, _STEP: _step_texts()}
    return {declaration["name"]: apply_values(declaration, values) for declaration in named}


def on_server(client: SyncPrefectClient) -> Iterator[DeploymentResponse]:
    """Every deployment that the server has."""
    offset = 0
    while page := client.read_deployments(limit=_PAGE, offset=offset):
        yield from page
        offset += len(page)


def next_start(client: SyncPrefectClient, schedule: DeploymentSchedule) -> datetime.datetime | None:
    """When the schedule's next run is to start; None if the server has none."""
    coming = {
        "created_by": {"id_": [schedule.id]},
        "expected_start_time": {"after_": datetime.datetime.now(datetime.UTC)},
        "state": {"type": {"any_": ["SCHEDULED"]}},
    }
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(coming), sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC, limit=1
    )
    return runs[0].expected_start_time if runs else None


def overwritten(client: SyncPrefectClient) -> dict[str, list[str]]:
    """What `prefect deploy --all` would replace on the server: deployment -> the differences, in words."""
    differences = {
        name: replaced(declared, current)
        for name, declared in declarations().items()
        for current in _matching(client, declared)
    }
    return {name: changes for name, changes in differences.items() if changes}


def replaced(declared: Mapping[str, Any], current: DeploymentResponse) -> list[str]:
    """What of a deployment on the server is otherwise in its declaration, `what: there → here`.

    Of job variables, which may be secret, only the names. Pauses of declared schedules are for `keep_pauses`.
    """
    limit, pool = declared.get("concurrency_limit"), declared.get("work_pool") or {}
    limit = limit if isinstance(limit, dict) else {"limit": limit}
    at_once = current.global_concurrency_limit
    strategy = current.concurrency_options.collision_strategy.value if current.concurrency_options else None
    changes = [
        _change("description", current.description, declared.get("description", current.description)),
        _change("tags", sorted(current.tags), sorted(declared.get("tags") or [])),
        _change("work pool", current.work_pool_name, pool.get("name", current.work_pool_name)),
        _change("work queue", current.work_queue_name, pool.get("work_queue_name", "default")),
        _change("concurrency limit", at_once.limit if at_once else None, limit.get("limit")),
        _change("collision strategy", strategy, limit.get("collision_strategy", strategy)),
    ]
    changes += _changes("parameters", current.parameters, declared.get("parameters") or {})
    variables, declared_variables = dict(current.job_variables), dict(pool.get("job_variables") or {})
    changes += _changes(
        "job variables: env", variables.pop("env", None) or {}, declared_variables.pop("env", None) or {}, secret=True
    )
    changes += _changes("job variables", variables, declared_variables, secret=True)
    pairs = _paired(declared, current)
    changes += ["paused → not paused"] if current.paused and not pairs and current.schedules else []
    for schedule, there in zip(declared.get("schedules") or [], pairs, strict=True):
        if there is not None:
            name = schedule.get("slug", "without a slug")
            changes += _changes(f"schedule {name}", _times(there), _declared_times(schedule))
    kept = [schedule.id for schedule in pairs if schedule is not None]
    if pairs and any(schedule.slug is None for schedule in current.schedules):  # then the server makes all of them anew
        removed = [schedule for schedule in current.schedules if schedule.id not in kept]
        changes += [f"schedule {_shown(_times(schedule))} → removed" for schedule in removed]
    return [change for change in changes if change]


def _matching(client: SyncPrefectClient, declared: Mapping[str, Any]) -> list[DeploymentResponse]:
    """The deployments on the server of the same name and of a flow function of the same name, wherever that lies."""
    name, function = declared.get("name", ""), _function(declared.get("entrypoint"))
    of_name = client.read_deployments(deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name])))
    return [deployment for deployment in of_name if _function(deployment.entrypoint) == function]


def _function(entrypoint: str | None) -> str:
    return re.split(r"[.:]", entrypoint or "")[-1]


def _paired(declared: Mapping[str, Any], current: DeploymentResponse) -> list[DeploymentSchedule | None]:
    """For each declared schedule that of the server: of its slug, or one without a slug for the same times."""
    pairs = []
    for schedule in declared.get("schedules") or []:
        slug, times = schedule.get("slug"), _declared_times(schedule)
        by_slug = [there for there in current.schedules if there.slug is not None and there.slug == slug]
        by_times = [there for there in current.schedules if there.slug is None and _times(there) == times]
        pairs.append(next(iter(by_slug + by_times), None))
    return pairs


def _times(schedule: DeploymentSchedule) -> dict[str, Any]:
    """When it fires and with which parameters of its own, in the terms of `prefect.yaml`."""
    when = schedule.schedule.model_dump(exclude={"anchor_date"})
    return _plain_times(when | {"parameters": schedule.parameters})


def _declared_times(schedule: Mapping[str, Any]) -> dict[str, Any]:
    interval = _INTERVAL.validate_python(schedule.get("interval"))
    names = ("cron", "rrule", "timezone", "day_or", "parameters")
    return _plain_times({"interval": interval} | {name: schedule.get(name) for name in names})


def _plain_times(when: Mapping[str, Any]) -> dict[str, Any]:
    """Without what holds anyway: UTC, no parameters, and either of a cron's days."""
    usual = {"timezone": "UTC", "day_or": True}
    return {name: value for name, value in when.items() if value not in (None, {}) and usual.get(name) != value}


def _changes(what: str, there: Mapping[str, Any], here: Mapping[str, Any], *, secret: bool = False) -> list[str]:
    names = sorted({*there, *here})
    return [_change(f"{what}: {name}", there.get(name), here.get(name), secret=secret) for name in names]


def _change(what: str, there: Any, here: Any, *, secret: bool = False) -> str:
    """Empty where both are the same."""
    if there == here:
        return ""
    if secret:
        return f"{what} → {'removed' if here is None else 'replaced'}"
    return f"{what}: {_shown(there)} → {_shown(here)}"


def _shown(value: Any) -> str:
    return "nothing" if value in (None, {}, []) else json.dumps(value, ensure_ascii=False, default=str)
