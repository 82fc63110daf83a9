"""Overviews of installations that are not there."""

import datetime

from fer.reports.overview import needs
from fer.reports.overview.document import (
    Disk,
    DiskUse,
    Drift,
    Figures,
    Model,
    Overview,
    Registry,
    Run,
    Schedule,
    Server,
    Service,
    TestReads,
)

NOW = datetime.datetime(2026, 11, 30, 12, 0, tzinfo=datetime.UTC)


def before(**time: float) -> datetime.datetime:
    """So long before the overview was made."""
    return NOW - datetime.timedelta(**time)


def run(kind="COMPLETED", *, line="weekly", state=None, hours_ago=1.0, **changed) -> Run:
    """A run that ended in a state of this type."""
    values = {
        "id": "00000000-0000-0000-0000-000000000001",
        "name": "fer2013-cnn from kaggle:msambare/fer2013/versions/1",
        "flow": "retrain",
        "deployment": line,
        "line": line,
        "state": state or kind.capitalize(),
        "kind": kind,
        "message": "fer2013-cnn@4: accuracy 0.66",
        "due_utc": before(hours=hours_ago),
        "started_utc": before(hours=hours_ago),
        "ended_utc": before(hours=hours_ago - 0.5),
        "seconds": 1800.0,
    }
    return Run(**values | changed)


def model(**changed) -> Model:
    """One with a champion that needs nobody."""
    values = {
        "name": "fer2013-cnn",
        "n_versions": 4,
        "champion": figures(4),
        "champion_since_utc": before(days=12),
        "age_days": 12.0,
        "max_age_days": 180,
        "source": "kaggle:msambare/fer2013/versions/1",
        "anchor": figures(2),
        "drift": Drift(accepted_utc=before(days=1), n_new=120, n_gone=3, n_relabelled=1),
        "reads": reads(4.0),
        "last_version": 4,
        "last_status": "released",
        "last_utc": before(days=12),
    }
    return Model(**values | changed)


def figures(version: int) -> Figures:
    return Figures(
        version=version,
        n_images=3_573,
        accuracy=0.6621,
        accuracy_interval=(0.6465, 0.6777),
        macro_f1=0.6334,
        macro_f1_interval=(0.6134, 0.6521),
    )


def reads(verdicts: float) -> TestReads:
    is_worn = verdicts >= 100
    return TestReads(
        test_set="ab" * 32, n_images=3_573, verdicts=verdicts, max_reads=100, is_worn=is_worn, accuracy_within=0.031
    )


def overview(
    *,
    models=None,
    services=(),
    runs=None,
    late=(),
    schedules=None,
    free_gb=80.0,
    budget_bytes=None,
    server=None,
    problem="",
) -> Overview:
    """An installation where all is well, apart from what is given."""
    made = Overview(
        made_utc=NOW,
        home="/srv/faces/.fer",
        services=(Service(name="Prefect server", state="up", text="http://127.0.0.1:4200/api"),),
        server=server
        or Server(
            url="http://127.0.0.1:4200/api",
            answers=True,
            services=(Service(name="worker of fer", state="up", text="online"), *services),
            runs=tuple([run(), run("RUNNING", line="daily", hours_ago=0.2)] if runs is None else runs),
            late=tuple(late),
            schedules=tuple(
                [schedule("weekly", -40.0), schedule("sweep", None, n_schedules=0)] if schedules is None else schedules
            ),
        ),
        registry=Registry(models=tuple([model()] if models is None else models), problem=problem),
        disk=Disk(
            folder="/srv/faces/.fer",
            free_bytes=int(free_gb * 1e9),
            total_bytes=int(200e9),
            budget_bytes=budget_bytes,
            parts=(
                DiskUse(part="workspace/preprocess", size_bytes=240_000_000),
                DiskUse(part="store", size_bytes=9_000),
            ),
        ),
    )
    return made.model_copy(update={"needs": needs.of(made)})


def schedule(deployment, hours_ago, **changed) -> Schedule:
    """A deployment whose next run is then; None: it has none."""
    values = {
        "deployment": deployment,
        "pool": "fer",
        "is_paused": False,
        "n_schedules": 1,
        "next_utc": None if hours_ago is None else before(hours=hours_ago),
    }
    return Schedule(**values | changed)
