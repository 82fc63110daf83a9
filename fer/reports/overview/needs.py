"""What of an installation needs a person, and what is to be done about it."""

from collections.abc import Iterator

from fer.reports.overview import words
from fer.reports.overview.document import Disk, Matter, Model, Overview, Registry, Run, Server, Service

_LITTLE_DISK_BYTES = 5_000_000_000
_NO_DISK_BYTES = 1_000_000_000
_BUDGET_WARNED_FROM = 0.8  # as each run is warned
_FAILED = {"FAILED": "failed", "CRASHED": "crashed"}
_ORDER = {"stop": 0, "warn": 1}


def of(overview: Overview) -> tuple[Matter, ...]:
    """What needs a person, the most urgent first."""
    matters = [
        *_services((*overview.services, *overview.server.services)),
        *_runs(overview.server),
        *_schedules(overview.server),
        *_registry(overview.registry),
        *_disk(overview.disk),
    ]
    return tuple(sorted(matters, key=lambda matter: _ORDER[matter.level]))


def _services(services: tuple[Service, ...]) -> Iterator[Matter]:
    for service in services:
        if service.state == "down":
            yield Matter(level="stop", subject=service.name, text=service.text, todo=service.todo)


def _runs(server: Server) -> Iterator[Matter]:
    """Of each line the last run that is over, if it failed; one after which the same job went well needs nobody."""
    judged: set[str] = set()
    for run in server.runs:
        if not run.is_over or run.kind == "CANCELLED" or run.line in judged:
            continue
        judged.add(run.line)
        if run.kind in _FAILED:
            when = f" on {run.ended_utc:%Y-%m-%d %H:%M} UTC" if run.ended_utc else ""
            text = f"{_FAILED[run.kind]}{when}: {_first_line(run.message)}"
            todo = f"fer logs {run.id}; then run it again, it goes on where it stopped"
            yield Matter(level="stop", subject=f"run {run.name}", text=text, todo=todo)
        elif "drift:found" in run.tags:
            text = f"its data drifted: {_first_line(run.message)}"
            todo = "read its quality report (fer report); what is wrong with the data is corrected at its source"
            yield Matter(level="warn", subject=f"run {run.name}", text=text, todo=todo)


def _schedules(server: Server) -> Iterator[Matter]:
    late: dict[str, Run] = {}
    for run in server.late:
        late.setdefault(run.line, run)
    down = {service.name for service in server.services if service.state == "down"}
    for run in late.values():
        yield Matter(
            level="stop",
            subject=f"run {run.name}",
            text=f"should have begun on {run.due_utc:%Y-%m-%d %H:%M} UTC",
            todo="start a worker (fer up)"
            if down
            else "see whether its pool's workers are busy, or its limit is used up",
        )
    for schedule in server.schedules:
        if schedule.is_paused or not schedule.n_schedules or schedule.next_utc is not None or schedule.is_new:
            continue
        yield Matter(
            level="stop",
            subject=f"schedule of {schedule.deployment}",
            text="is active, but plans no run",
            todo="the server's scheduler fails: see its log, and start it anew (fer down, fer up)",
        )


def _registry(registry: Registry) -> Iterator[Matter]:
    if registry.problem:
        yield Matter(level="stop", subject="registry", text=registry.problem, todo="fer doctor")
    for model in registry.models:
        yield from _model(model)


def _model(model: Model) -> Iterator[Matter]:
    name = model.name
    if model.problem:
        yield Matter(level="stop", subject=name, text=model.problem, todo=f"fer models repair {name}")
        return
    if model.champion is None and model.n_versions:
        yield Matter(level="stop", subject=name, text="has no champion", todo=f"fer models log {name}")
    newer = model.champion is None or (model.last_version or 0) > model.champion.version
    if model.last_status == "refused" and newer:
        when = f" on {model.last_utc:%Y-%m-%d}" if model.last_utc else ""
        text = f"version {model.last_version} was refused by the gates{when}"
        yield Matter(level="warn", subject=name, text=text, todo=f"fer report {name}@{model.last_version}")
    if model.drift is not None and model.drift.findings:
        text = f"the data has drifted since its champion was trained: {'; '.join(model.drift.findings)}"
        yield Matter(level="warn", subject=name, text=text, todo="fer retrain with the same sources and recipe")
    if model.reads is not None and model.reads.is_worn:
        text = (
            f"its test images are worn: {model.reads.verdicts:,.4g} verdicts have read one on average, and "
            f"gate.max_reads is {model.reads.max_reads:,}"
        )
        todo = f"draw fresh test images by a higher split.rotation (fer models ledger {name})"
        yield Matter(level="warn", subject=name, text=text, todo=todo)


def _disk(disk: Disk) -> Iterator[Matter]:
    if disk.budget_bytes is not None and disk.used_bytes >= _BUDGET_WARNED_FROM * disk.budget_bytes:
        is_used_up = disk.used_bytes >= disk.budget_bytes
        text = f"{words.size(disk.used_bytes)} of {words.size(disk.budget_bytes)} are used"
        text += ": no run begins any more" if is_used_up else "; when it is used up no run begins"
        todo = "see what can go: fer gc; or raise FER_DISK_BUDGET_BYTES"
        yield Matter(level="stop" if is_used_up else "warn", subject="disk budget", text=text, todo=todo)
    if disk.free_bytes >= _LITTLE_DISK_BYTES:
        return
    largest = ", ".join(f"{use.part} {words.size(use.size_bytes)}" for use in disk.parts[:3])
    text = f"{disk.free_bytes / 1e9:.1f} GB are free" + (f"; the most is in {largest}" if largest else "")
    is_full = disk.free_bytes < _NO_DISK_BYTES
    yield Matter(
        level="stop" if is_full else "warn",
        subject="disk",
        text=text,
        todo="free some, or set FER_HOME to a larger disk",
    )


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0] or "without a message"
