"""The result of a run as it stands in Prefect: states, names, tags, log lines, events; on a real server."""

import http.server
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import flow, task
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterName,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.events import AutomationCore
from prefect.events.filters import EventFilter, EventNameFilter, EventRelatedFilter, EventResourceFilter
from prefect.events.schemas.events import Event
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from fer import errors
from fer.curation.refs import DriftRef, ValidationRef
from fer.evaluation.refs import Check, EvaluationRef, VerdictRef
from fer.registry.refs import ReleaseRef
from fer.reports.refs import QualityRef
from fer.training.refs import ModelRef, WeightsRef
from tasks import caching
from tasks.runs import events, heartbeats, outcomes
from tasks.runs.results import ChampionMoved, RetrainResult

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(autouse=True)
def kept_log() -> Iterator[None]:
    """Prefect's test server is not sent log lines unless this is said."""
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}):
        yield


def retrain_result(*, passed: bool, name: str = "demo", champion: int | None = 1) -> RetrainResult:
    return RetrainResult(
        sources=("demo",),
        recipe="demo",
        quality=QualityRef(verdict="pass", failures=(), warnings=()),
        model=ModelRef(
            model="vgg",
            classes=("happy", "sad"),
            n_parameters=12,
            epochs_run=3,
            best_epoch=2,
            validation_accuracy=0.75,
            train_seconds=6.0,
        ),
        evaluation=EvaluationRef(
            split="test",
            n_images=1250,
            accuracy=0.7,
            accuracy_interval=(0.4, 0.9),
            macro_f1=0.6,
            macro_f1_interval=(0.3, 0.8),
        ),
        verdict=VerdictRef(
            passed=passed,
            checks=(
                Check(name="floor", passed=passed, detail="accuracy 0.7, floor 0.8"),
                Check(name="other", passed=True, detail="macro-F1 0.6, floor 0.5"),
            ),
            champion_version=1,
        ),
        release=ReleaseRef(
            name=name,
            version=2,
            status="released" if passed else "refused",
            uri="s3://models/demo/2",
            champion_version=champion,
        ),
        reports={"report": "/reports/report.html"},
    )


def flow_of(body: Callable[[], Any], name: str) -> Callable[[], Any]:
    """A flow that does what ours do around their bodies."""

    def run() -> Any:
        return body()

    return flow(name="outcomes", flow_run_name=name, **caching.NOT_PERSISTED)(outcomes.as_final_state(run))


def run_of(name: str) -> FlowRun:
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))
    return run


def log_of(run: FlowRun) -> list[str]:
    APILogWorker.drain_all(timeout=30)
    with get_client(sync_client=True) as client:
        of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
        return [line.message for line in client.read_logs(of_run, limit=200)]


def events_of(*wanted: EventNameFilter, run: FlowRun | None = None, n: int = 1) -> list[Event]:
    """The events of such a name on the server, of one run or all, once there are `n`; it stores them now and then."""
    related = None
    if run is not None:
        related = EventRelatedFilter(id=[f"prefect.flow-run.{run.id}"])
    stored: list[Event] = []
    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while len(stored) < n and time.monotonic() < deadline:
            time.sleep(0.5)
            for name in wanted:
                stored = client.read_events(EventFilter(event=name, related=related), limit=50).events
    return stored


def test_a_run_sends_a_heartbeat_that_names_it_and_its_flow():
    with heartbeats.in_place_of_prefects():
        flow_of(lambda: retrain_result(passed=True), "run that lives")()
    of_run = EventResourceFilter(id=[f"prefect.flow-run.{run_of('run that lives').id}"])
    sent = EventFilter(event=EventNameFilter(name=["prefect.flow-run.heartbeat"]), resource=of_run)
    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while not (found := client.read_events(sent, limit=5).events) and time.monotonic() < deadline:
            time.sleep(0.2)
    assert len(found) == 1
    assert ("flow", "outcomes") in {(related.role, related.name) for related in found[0].related}


@pytest.mark.parametrize(
    ("result", "state", "message", "event"),
    [
        (
            retrain_result(passed=True, champion=2),
            "Released",
            "demo@2: accuracy 0.700 [0.400, 0.900] on 1,250 test images, champion",
            "fer.model.released",
        ),
        (
            retrain_result(passed=True, champion=3),
            "Released",
            "demo@2: accuracy 0.700 [0.400, 0.900] on 1,250 test images, not champion",
            "fer.model.released",
        ),
        (retrain_result(passed=False), "Refused", "demo@2: accuracy 0.7, floor 0.8", "fer.model.refused"),
    ],
)
def test_a_run_ends_in_a_state_that_says_what_it_came_to_and_its_caller_gets_the_outcome(result, state, message, event):
    name = f"run to {state} {result.release.champion_version}"
    assert flow_of(lambda: result, name)() == result
    run = run_of(name)
    assert (run.state_name, run.state.is_completed(), run.state.message) == (state, True, message)
    assert {f"outcome:{state.lower()}", "model:demo"} <= set(run.tags)
    log = log_of(run)
    assert "report: /reports/report.html" in log
    assert any(message in line for line in log)
    (emitted,) = events_of(EventNameFilter(prefix=["fer."]), run=run)
    assert emitted.event == event
    assert dict(emitted.resource) == {
        "prefect.resource.id": "fer.model.demo",
        "prefect.resource.name": "demo",
        "fer.recipe": "demo",
        "fer.version": "2",
        "fer.repeated": "false",
    }
    assert emitted.payload["message"] == message
    assert emitted.payload["accuracy_interval"] == [0.4, 0.9]
    assert [check["passed"] for check in emitted.payload["checks"]] == [result.verdict.passed, True]


def test_a_known_error_is_its_message_in_the_state_and_in_the_log_and_reaches_the_caller():
    error = errors.UnfitData("Data must be fit.", received="3 of 4", todo="read it", reports={"as JSON": "/a.json"})

    @task(name="check", **caching.UNCACHED, **caching.retried(3))
    def check() -> None:
        raise error

    with pytest.raises(errors.UnfitData) as caught:
        flow_of(check, "unfit")()
    assert caught.value.reports == {"as JSON": "/a.json"}
    run = run_of("unfit")
    assert (run.state_name, run.state.is_failed(), run.state.message) == ("Failed", True, str(error))
    log = log_of(run)
    assert f"UnfitData: {error}" in log
    assert "Traceback" not in "\n".join(log)


def test_a_known_error_that_was_tried_again_in_vain_has_no_traceback_in_the_log():
    @task(name="ask", **caching.UNCACHED, **(caching.retried(1) | {"retry_delay_seconds": 0}))
    def ask() -> None:
        raise errors.StoreUnavailable("The store must answer.")

    with pytest.raises(errors.StoreUnavailable):
        flow_of(ask, "in vain")()
    log = "\n".join(log_of(run_of("in vain")))
    assert "Retries are exhausted" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(("error", "tries"), [(errors.StoreUnavailable, 3), (errors.ConfigError, 1)])
def test_a_run_is_begun_again_by_the_settings_after_what_may_pass_and_after_nothing_else(monkeypatch, error, tries):
    monkeypatch.setenv("FER_RUN_RETRIES", "2")
    monkeypatch.setenv("FER_RUN_RETRY_WAIT_S", "0")
    begun = []

    def ask() -> None:
        begun.append(error)
        raise error("It must be so.")

    name = f"tries {tries}"
    with pytest.raises(error):
        flow_of(ask, name)()
    assert len(begun) == tries
    assert run_of(name).state.is_failed()


def test_a_run_that_is_begun_again_can_succeed(monkeypatch):
    monkeypatch.setenv("FER_RUN_RETRIES", "1")
    monkeypatch.setenv("FER_RUN_RETRY_WAIT_S", "0")
    failures = [errors.StoreUnavailable("The store must answer.")]

    def ask() -> RetrainResult:
        if failures:
            raise failures.pop()
        return retrain_result(passed=True)

    assert flow_of(ask, "second try")().is_refused is False
    assert (run_of("second try").state_name, run_of("second try").run_count) == ("Released", 2)


def test_a_champion_that_was_moved_is_told_and_one_that_stays_is_not(monkeypatch):
    moved = ChampionMoved(name="demo", action="promote", from_version=1, to_version=2, sentence="version 1 → version 2")
    flow_of(lambda: moved, "moved")()
    (event,) = events_of(EventNameFilter(prefix=["fer.model"]), run=run_of("moved"))
    assert event.event == "fer.model.moved"
    assert event.resource["prefect.resource.id"] == "fer.model.demo"
    assert (event.payload["from_version"], event.payload["to_version"]) == (1, 2)
    stays = moved.model_copy(update={"to_version": 1})
    flow_of(lambda: stays, "stays")()
    assert run_of("stays").state.message == moved.sentence
    emitted = []
    monkeypatch.setattr(outcomes, "emit_event", lambda *arguments, **named: emitted.append(arguments))
    flow_of(lambda: stays, "stays again")()
    assert emitted == []


def test_an_error_that_nobody_foresaw_keeps_its_traceback():
    def divide() -> float:
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        flow_of(divide, "unforeseen")()
    run = run_of("unforeseen")
    assert run.state.is_failed()
    assert "in divide" in "\n".join(log_of(run))


def test_a_task_is_a_line_with_its_summary_in_the_log_and_nothing_else():
    weights = WeightsRef(file="model.keras", identity="registry:demo@1", origin="a release")

    @task(name="weights", **caching.UNCACHED, **caching.announced("weights"))
    def fetch() -> WeightsRef:
        return weights

    assert flow_of(fetch, "one task")() == weights
    (first, summary, last) = log_of(run_of("one task"))
    assert (first.startswith("Beginning"), summary, last.startswith("Finished")) == (
        True,
        "weights: model.keras, registry:demo@1; a release",
        True,
    )


def test_tags_are_added_to_those_that_a_run_has():
    from prefect import tags

    def tagged() -> None:
        outcomes.tag(recipe="demo", model="demo")
        outcomes.tag(outcome="fit")

    with tags("mine"):
        flow_of(tagged, "tagged")()
    assert set(run_of("tagged").tags) == {"mine", "recipe:demo", "model:demo", "outcome:fit"}


DRIFTED = DriftRef(n_baseline=9, n_new=3, n_gone=1, n_relabelled=0, failures=(), warnings=("brightness drifted: 0.4",))
CALM = DRIFTED.model_copy(update={"warnings": ()})
FIT = QualityRef(verdict="pass", failures=(), warnings=())
UNFIT = QualityRef(verdict="stop", failures=("too few images",), warnings=())
FOUND = ValidationRef(classes=("happy",), n_found=9, n_accepted=8, quarantined={}, failures=(), warnings=())


@pytest.mark.parametrize(
    ("drift", "quality", "expected"),
    [
        (CALM, FIT, []),
        (None, FIT, []),
        (DRIFTED, FIT, ["fer.data.drifted"]),
        (None, UNFIT, ["fer.data.refused"]),
        (DRIFTED, UNFIT, ["fer.data.drifted", "fer.data.refused"]),
    ],
)
def test_data_that_drifted_or_is_unfit_is_told_with_its_figures(drift, quality, expected):
    name = f"data {drift and drift.warnings} {quality.verdict}"
    kaggle = "kaggle:owner/slug/versions/3"

    def tell() -> None:
        outcomes.emit_data_events("demo", [kaggle], FOUND, drift, quality, {"data quality": "/quality.html"})

    flow_of(tell, name)()
    flow_of(lambda: retrain_result(passed=True, name="sentinel"), f"{name}, after")()  # events arrive in order
    events_of(EventNameFilter(prefix=["fer.model"]), run=run_of(f"{name}, after"))
    emitted = events_of(EventNameFilter(prefix=["fer."]), run=run_of(name), n=len(expected))
    assert sorted(event.event for event in emitted) == expected
    for event in emitted:
        assert event.resource["prefect.resource.id"].startswith("fer.data.demo-kaggle-owner-slug-")
        assert event.resource["prefect.resource.name"] == "demo from kaggle:owner/slug"
        assert event.payload["sources"] == [kaggle]
        assert event.payload["n_accepted"] == 8
        assert event.payload["reports"] == {"data quality": "/quality.html"}
        assert event.resource["fer.fit"] == str(not quality.failures).lower()
        figure = "brightness drifted" if event.event == "fer.data.drifted" else "too few images"
        assert figure in event.payload["message"]
    assert ("outcome:unfit-data" in run_of(name).tags) == bool(quality.failures)


class Inbox:
    """Where notifications arrive: a server on loopback that keeps what is posted."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        inbox = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                inbox.arrived.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    receiver = Inbox()
    threading.Thread(target=receiver.server.serve_forever, daemon=True).start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


def refused_before() -> RetrainResult:
    """What a run comes to that finds everything cached."""
    events.publish(events.Ended("register", cached=True, failed=False, seconds=0.0, summary=""))
    return retrain_result(passed=False, name="as before")


def test_a_run_that_found_everything_cached_says_so_in_its_state_tags_and_event():
    flow_of(refused_before, "all cached")()
    run = run_of("all cached")
    assert (run.state_name, "stages:cached" in run.tags) == ("Refused", True)
    assert run.state.message.endswith("(every stage cached)")
    (emitted,) = events_of(EventNameFilter(prefix=["fer."]), run=run)
    assert emitted.resource["fer.repeated"] == "true"


def test_the_automation_in_the_docs_notifies_of_what_is_refused_and_of_nothing_else(inbox):
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "notifications.md").read_text()
    (text,) = re.findall(r"```\n(name: .*?)```", page, flags=re.DOTALL)
    webhook = CustomWebhookNotificationBlock(
        name="test inbox", url=inbox.url, method="POST", json_data={"said": "{{subject}} | {{body}}"}
    )
    webhook.save("test-inbox", overwrite=True)
    documented = yaml.safe_load(text)
    documented["actions"][0]["block_document_id"] = webhook._block_document_id
    with get_client(sync_client=True) as client:
        automation = client.create_automation(AutomationCore.model_validate(documented))
        time.sleep(2)  # until the server listens by it
        flow_of(refused_before, "refused before")()
        fine, worse = retrain_result(passed=True, name="fine"), retrain_result(passed=False, name="worse")
        for number, result in enumerate([fine, worse]):
            flow_of(lambda result=result: result, f"notified {number}")()
        deadline = time.monotonic() + 60
        while not inbox.arrived and time.monotonic() < deadline:
            time.sleep(0.5)
        client.delete_automation(automation)
    (arrived,) = inbox.arrived
    assert json.loads(arrived) == {"said": "worse: refused | worse@2: accuracy 0.7, floor 0.8"}
