"""The overview as metrics, and the Grafana dashboard that draws them."""

import json
import re
from pathlib import Path

import overviews
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fer.reports.overview import metrics
from fer.reports.overview.document import Service, StageRun

DASHBOARD = Path(__file__).parents[3] / "monitoring" / "grafana-dashboard.json"
STAGES = (
    StageRun(stage="train", outcome="made", seconds=120.0),
    StageRun(stage="train", outcome="made", seconds=90.0),
    StageRun(stage="split", outcome="cached", seconds=0.1),
    StageRun(stage="download", outcome="failed", seconds=1.0),
)


@pytest.fixture
def values():
    """(name, labels) -> value of an installation with something of each kind."""
    overview = overviews.overview(
        runs=[overviews.run("FAILED"), overviews.run("RUNNING", line="daily"), overviews.run(line="daily")],
        late=[overviews.run("SCHEDULED", state="Late")],
        services=[Service(name="worker of gpu", state="down", text="", todo="")],
    )
    families = text_string_to_metric_families(metrics.render(overview, STAGES))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_what_a_dashboard_needs_is_there(values):
    model = ("model", "fer2013-cnn")
    assert values["fer_champion_accuracy", (model,)] == 0.6621
    assert values["fer_champion_accuracy_low", (model,)] == 0.6465
    assert values["fer_champion_since_timestamp_seconds", (model,)] == overviews.before(days=12).timestamp()
    assert values["fer_needs_person", (("level", "stop"),)] == 3
    assert values["fer_service_up", (("service", "worker of gpu"),)] == 0
    assert values["fer_run_last_completed", (("deployment", "weekly"), ("flow", "retrain"))] == 0
    assert values["fer_run_last_completed", (("deployment", "daily"), ("flow", "retrain"))] == 1
    assert values["fer_runs_recent", (("flow", "retrain"), ("state", "Running"))] == 1
    assert values["fer_runs_late", ()] == 1
    assert values["fer_stages_recent", (("outcome", "made"), ("stage", "train"))] == 2
    assert values["fer_stage_last_duration_seconds", (("stage", "train"),)] == 120
    assert values["fer_disk_used_bytes", (("part", "workspace/preprocess"),)] == 240_000_000
    assert values["fer_data_changed_images", (("kind", "new"), model)] == 120
    assert values["fer_test_reads", (model,)] == 4


def test_an_empty_installation_has_metrics_too():
    text = metrics.render(overviews.overview(models=(), runs=(), schedules=()))
    assert 'fer_needs_person{level="stop"} 0.0' in text


def test_text_from_outside_stays_in_its_label():
    hostile = overviews.run(line='x"\n} 1\nfer_fake 7')
    families = text_string_to_metric_families(metrics.render(overviews.overview(runs=[hostile])))
    assert "fer_fake" not in {family.name for family in families}


def test_the_dashboard_draws_every_metric_by_its_name_and_no_other(values):
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    drawn = set(re.findall(r"fer_\w+", " ".join(expressions)))
    assert drawn == {name for name, _ in values}
    for panel in dashboard["panels"]:
        assert panel["title"]
        assert panel["description"]


def test_the_dashboards_panels_do_not_overlap_and_filter_by_labels_that_there_are(values):
    dashboard = json.loads(DASHBOARD.read_text())
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    labels = {name: {label for label, _ in pairs} for name, pairs in values}
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            (name, *_) = re.findall(r"fer_\w+", target["expr"])
            assert used <= labels[name], target
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert set(re.findall(r"\$(\w+)", json.dumps(dashboard["panels"]))) <= variables
