"""The overview as metrics in Prometheus' text format. All are gauges: what they count is what is known now."""

from collections import Counter
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from fer.reports.overview.document import Model, Overview, Run, StageRun


class _Metrics:
    """Gauges by their names, each made by its first value."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}

    def put(self, name: str, about: str, value: float, **labels: str) -> None:
        """Set `fer_NAME` for these labels."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(f"fer_{name}", about, sorted(labels), registry=self.registry)
        gauge = self._gauges[name]
        (gauge.labels(**labels) if labels else gauge).set(value)


def render(overview: Overview, stage_runs: Sequence[StageRun] = ()) -> str:
    """The text; `stage_runs` are the tasks that ended last, the newest first."""
    metrics = _Metrics()
    about = "When the overview was made, seconds since 1970."
    metrics.put("overview_timestamp_seconds", about, overview.made_utc.timestamp())
    for service in (*overview.services, *overview.server.services):
        if service.state != "unused":
            metrics.put(
                "service_up", "1 where it works, 0 where it does not.", service.state == "up", service=service.name
            )
    levels = Counter(matter.level for matter in overview.needs)
    for level in ("stop", "warn"):
        metrics.put("needs_person", "Things that need a person, by their urgency.", levels[level], level=level)
    _put_runs(metrics, overview)
    _put_stages(metrics, stage_runs)
    for model in overview.registry.models:
        _put_model(metrics, model)
    metrics.put("disk_free_bytes", "Free on the disk of FER_HOME.", overview.disk.free_bytes)
    for use in overview.disk.parts:
        metrics.put("disk_used_bytes", "On the disk, by part of the installation.", use.size_bytes, part=use.part)
    return generate_latest(metrics.registry).decode()


def _put_runs(metrics: _Metrics, overview: Overview) -> None:
    server = overview.server
    for (flow, state), count in Counter((run.flow, run.state) for run in server.runs).items():
        metrics.put("runs_recent", "Of the newest 100 runs, by flow and state.", count, flow=flow, state=state)
    newest: dict[tuple[str, str], Run] = {}
    for run in server.runs:
        if run.is_over and run.ended_utc is not None:
            newest.setdefault((run.flow, run.deployment or ""), run)
    for (flow, deployment), run in newest.items():
        labels = {"flow": flow, "deployment": deployment}
        metrics.put("run_last_duration_seconds", "Of the newest run that is over.", run.seconds, **labels)
        ended = run.ended_utc.timestamp() if run.ended_utc else 0.0
        metrics.put("run_last_end_timestamp_seconds", "When the newest run that is over ended.", ended, **labels)
        succeeded = run.kind == "COMPLETED"
        metrics.put("run_last_completed", "1 if the newest run that is over completed, else 0.", succeeded, **labels)
    metrics.put("runs_late", "Runs that should have begun five minutes ago.", len(server.late))
    for schedule in server.schedules:
        if schedule.next_utc is not None:
            about, when = "When the deployment runs next.", schedule.next_utc.timestamp()
            metrics.put("schedule_next_timestamp_seconds", about, when, deployment=schedule.deployment)


def _put_stages(metrics: _Metrics, stage_runs: Sequence[StageRun]) -> None:
    for (stage, outcome), count in Counter((run.stage, run.outcome) for run in stage_runs).items():
        about = "Of the newest 200 tasks, by stage and outcome: cached, made or failed."
        metrics.put("stages_recent", about, count, stage=stage, outcome=outcome)
    made: dict[str, StageRun] = {}
    for run in stage_runs:
        if run.outcome == "made":
            made.setdefault(run.stage, run)
    for stage, run in made.items():
        about = "How long a stage took that was not cached, when it was made last."
        metrics.put("stage_last_duration_seconds", about, run.seconds, stage=stage)


def _put_model(metrics: _Metrics, model: Model) -> None:
    name = {"model": model.name}
    champion = model.champion
    metrics.put("model_versions", "Versions in the registry.", model.n_versions, **name)
    if champion is not None:
        metrics.put("champion_version", "The champion's number.", champion.version, **name)
        metrics.put("champion_accuracy", "On its test images.", champion.accuracy, **name)
        metrics.put("champion_macro_f1", "On its test images.", champion.macro_f1, **name)
        for score, ends in (("accuracy", champion.accuracy_interval), ("macro_f1", champion.macro_f1_interval)):
            for side, value in zip(("low", "high"), ends or (), strict=False):
                metrics.put(f"champion_{score}_{side}", "End of its interval at 95 %.", value, **name)
    if model.champion_since_utc is not None:
        since = model.champion_since_utc.timestamp()
        metrics.put("champion_since_timestamp_seconds", "When the champion became that.", since, **name)
    if model.drift is not None and not model.drift.unknown:
        about = "Of the data accepted last, against what the champion was trained on."
        for kind in ("new", "gone", "relabelled"):
            metrics.put("data_changed_images", about, getattr(model.drift, f"n_{kind}"), kind=kind, **name)
        about = "Ways in which that data has drifted."
        metrics.put("data_drift_findings", about, len(model.drift.findings), **name)
    if model.reads is not None:
        metrics.put("test_reads", "Verdicts that read a test image, on average.", model.reads.verdicts, **name)
        metrics.put("test_reads_max", "Of how many at most, gate.max_reads.", model.reads.max_reads, **name)
