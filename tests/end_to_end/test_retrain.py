"""The whole flow, with a real Prefect server, the real store and real training on few and small faces."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import numpy as np
import pytest
import quick_demo
import shown_pages
from flow_artifacts import shown_in
from huggingface_hub import ModelCard
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from fer import errors
from fer import settings as settings_module
from fer.images import encode
from fer.ingest.demo import faces as demo_faces
from fer.recipes import overrides
from fer.registry import moves, releases
from fer.training import hardware
from flows.cli import app as cli
from tasks.runs.results import RetrainResult, RunPlan

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("in_this_process")]

DATA_STAGES = ("download", "index", "validate", "inspect", "curate", "split", "label errors", "drift", "quality")
SETTINGS = (*quick_demo.SETTINGS, 'export.formats=["onnx"]')
MODEL_STAGES = ("train", "calibrate", "evaluate", "robustness", "explanations", "slices", "export", "gate", "register")
STAGES = (*DATA_STAGES, "preprocess", "balance", *MODEL_STAGES)
WITHOUT_EXPORTS = "export.formats=[]"
# For what is about the training, the shards or the champion.
BRIEF = (WITHOUT_EXPORTS, "robustness.enabled=false", "explanations.enabled=false", "slices.enabled=false")
# Whether the champion is the best release so far depends on how models of two epochs turn out; what is known of its
# robustness, on which runs met it before.
OF_OPPONENTS = {"evaluate best release", "champion's robustness", "compare robustness"}


ANY_REPLACES = ("gate.margin=1", "gate.max_churn=1", "gate.superiority=0")  # the champion
NONE_REPLACES = ("gate.margin=1", "gate.max_churn=1", "gate.superiority=0.9999999")


class Run(NamedTuple):
    result: RetrainResult
    executed: list[str]
    cached: list[str]
    id: UUID  # Prefect's
    planned: RunPlan | None  # before it, where that was asked for
    ended: dict[str, bool]  # all stages in their order -> whether cached


def plan(*settings: str, again: tuple[str, ...] = ()) -> RunPlan:
    """The plan of `retrain` with these settings, made without a server."""
    from flows.retrain import ExtraWork, plan

    parsed = overrides.parse_settings([*SETTINGS, *settings])
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        return plan(["demo"], "demo", parsed, extra=ExtraWork(again=again))


def files(folder: Path) -> dict[Path, int]:
    """All files but those of the store's own -> when they were written."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "store" not in path.parts)
    return {path: path.stat().st_mtime_ns for path in paths}


def is_as_planned(run: Run) -> bool:
    """Whether the run had the stages of its plan, in its order, and those cached that were to be."""
    assert run.planned is not None
    assert [row["stage"] for row in run.planned.rows] == list(run.ended)
    foretold = {str(row["stage"]): row["plan"] == "cached" for row in run.planned.rows if row["plan"] != "unknown"}
    return all(run.ended[stage] == is_cached for stage, is_cached in foretold.items())


def retrain(*settings: str, model_name: str | None = None, planned: bool = False, again: tuple[str, ...] = ()) -> Run:
    from flows.retrain import ExtraWork
    from flows.retrain import retrain as flow
    from tasks.runs import events

    before = plan(*settings, again=again) if planned else None

    heard_events: list[events.Event] = []
    with events.heard_by(heard_events.append):
        state = flow(
            sources=["demo"],
            recipe="demo",
            settings=overrides.parse_settings([*SETTINGS, *settings]),
            model_name=model_name,
            extra=ExtraWork(again=again),
            return_state=True,
        )
        result = state.result()
    ended = [event for event in heard_events if isinstance(event, events.Ended)]
    return Run(
        result,
        [event.name for event in ended if not event.cached and event.name not in OF_OPPONENTS],
        [event.name for event in ended if event.cached and event.name not in OF_OPPONENTS],
        state.state_details.flow_run_id,
        before,
        {event.name: event.cached for event in ended},
    )


def report_of(run: Run) -> str:
    """The report of the run's evaluation, as its release holds it."""
    with releases.local_copy(f"demo@{run.result.release.version}") as (_, folder):
        assert (folder / "confusion.png").read_bytes().startswith(b"\x89PNG")
        return (folder / "report.md").read_text()


@pytest.fixture(scope="module")
def first(home: Path) -> Run:
    """The one run whose training and scoring are processes of their own: it is there before `in_this_process`."""
    return retrain(planned=True)


def test_a_plan_has_the_stages_of_the_run_in_their_order_and_says_what_is_cached(first, home):
    assert is_as_planned(first)
    assert [row["stage"] for row in first.planned.rows if row["plan"] != "will run"] == ["register"]
    assert "no earlier run says how long" in first.planned.message
    before = files(home)
    after = plan()
    assert files(home) == before
    assert [row["plan"] for row in after.rows] == len(STAGES) * ["cached"]
    assert after.message == f"{len(STAGES)} cached"


def test_the_first_run_executes_every_stage_and_makes_a_champion(first):
    assert first.executed == list(STAGES)
    release = first.result.release
    assert (release.version, release.status, release.champion_version) == (1, "released", 1)
    assert "no other model was champion before it" in " ".join(check.detail for check in first.result.verdict.checks)


def test_the_first_run_found_the_planted_defects(first):
    report = json.loads(Path(first.result.reports["as JSON"]).read_text())
    assert report


def test_the_first_run_leaves_its_reports_where_it_says(first, home):
    for path in first.result.reports.values():
        assert Path(path).exists()
        assert Path(path).is_relative_to(home / "reports")
    docs = Path(first.result.reports["data docs"])
    assert {folder.name for folder in docs.iterdir()} == {"manifest", "shards", "balanced", "predictions"}
    assert all((folder / "index.html").is_file() for folder in docs.iterdir())


def test_the_report_of_the_first_run_shows_what_its_json_holds_and_has_its_cards_beside_it(first):
    folder = Path(first.result.reports["report"]).parent
    document = json.loads((folder / "report.json").read_text())
    page = shown_pages.Page((folder / "report.html").read_text())
    assert set(shown_pages.unfounded(page, document)) <= {"95 %", "0", "1", "2"}
    assert document["metrics"]["accuracy"] == first.result.evaluation.accuracy
    assert str(first.id) in document["release"]["made_by"]
    assert all((folder / link).is_file() for link in document["links"].values() if "://" not in link)
    assert ModelCard((folder / "README.md").read_text()).data.model_name == "demo"
    data_card = json.loads((folder / "croissant.json").read_text())
    with releases.local_copy("demo@1") as (manifest, _):
        digests = {file["@id"]: file["sha256"] for file in data_card["distribution"]}
        listed = ("trained_on.parquet", "tested_on.parquet", "predictions.parquet")
        assert digests == {name: manifest.files[name].sha256 for name in listed}


def test_the_report_is_found_by_its_release_and_by_its_run_and_fetched_where_it_is_gone(first, home):
    page = Path(first.result.reports["report"])
    written = page.read_bytes()
    shutil.rmtree(page.parent)
    for which in (str(first.id), "demo@1"):
        found = CliRunner().invoke(cli.app, ["report", which])
        assert found.exit_code == 0, found.output
        assert found.stdout.strip() == str(page)
        assert page.read_bytes() == written


def test_the_release_can_be_fetched_and_says_what_it_was_made_of(first):
    with releases.local_copy("demo@champion") as (manifest, folder):
        assert (folder / "model.keras").is_file()
        known_by_the_split = {"download", "inspect", "label errors", "drift", "quality"}
        assert set(manifest.inputs) >= {"source", *STAGES[:-1]} - known_by_the_split
        assert manifest.metrics["accuracy"] == pytest.approx(first.result.evaluation.accuracy)
        assert manifest.recipe["train"]["epochs"] == 2
        assert manifest.inputs["split_origin"] == "drawn"


def test_the_command_lists_shows_and_predicts_by_the_release(first, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a long path is cut in several lines of the table
    shell = CliRunner(env={"COLUMNS": "400"})
    listed = shell.invoke(cli.app, ["models", "list"])
    assert listed.exit_code == 0, listed.output
    assert f"{first.result.evaluation.macro_f1:.3f}" in listed.output
    assert "champion" in listed.output
    shown = shell.invoke(cli.app, ["models", "show", "demo@champion", "--json"])
    assert json.loads(shown.output)["version"] == 1
    face = Path("face[1].png")
    face.write_bytes(encode.png(demo_faces.draw("happy", np.random.default_rng(0))))
    predicted = shell.invoke(cli.app, ["predict", str(face), "--model", "demo", "--json"])
    assert predicted.exit_code == 0, predicted.output
    (only,) = json.loads(predicted.output)
    assert sum(only["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    table = shell.invoke(cli.app, ["predict", str(face)])
    assert table.exit_code == 0
    assert "face[1]" in table.output
    missing = shell.invoke(cli.app, ["predict", str(face), "none.png"])
    assert isinstance(missing.exception, errors.SourceError)
    assert "none.png" in str(missing.exception)


def test_a_second_run_executes_nothing_and_comes_to_the_same(first):
    again = retrain()
    assert again.executed == []
    assert again.cached == list(STAGES)
    assert again.result == first.result


def test_a_stage_that_is_made_again_comes_out_the_same_and_nothing_after_it_runs(first):
    run = retrain(planned=True, again=("train",))
    assert run.executed == ["train"]
    assert is_as_planned(run)
    assert run.result == first.result


def in_prefect(run: Run) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run.id)


def newest_run(model_name: str) -> FlowRun:
    """The last one of those that were to register under this name."""
    of_model = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"model:{model_name}"]))
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=of_model, sort=FlowRunSort.START_TIME_DESC, limit=1)[0]


def test_a_run_that_is_cached_shows_the_pages_that_the_first_one_showed(first):
    again = retrain()
    release = again.result.release
    run = in_prefect(again)
    shown = {key: artifact.description for key, artifact in shown_in(again.id).items()}
    assert set(shown) == {
        *("quality-report", "balance", "learning-curves", "evaluation", "robustness", "explanations", "slices"),
        *("exports", "verdict", "release", "summary"),
    }
    assert shown["verdict"].startswith("Passed the gates: accuracy ")
    assert shown["release"] == "demo version 1: released; demo@champion is version 1"
    assert run.state_name == "Released"
    assert run.state.message.startswith(f"demo@{release.version}: accuracy 0.")
    assert set(run.tags) == {"recipe:demo", "model:demo", "outcome:released", "stages:cached"}


def test_a_changed_training_setting_runs_only_train_and_what_follows(first):
    run = retrain("train.seed=1", "train.precision=auto", *ANY_REPLACES, planned=True)
    assert run.executed == list(MODEL_STAGES)
    assert is_as_planned(run)
    by_stage = {row["stage"]: row for row in run.planned.rows}
    assert "train.seed: 0 → 1" in by_stage["train"]["why"]  # beside the precision, where this machine has a faster one
    assert (by_stage["evaluate"]["plan"], by_stage["evaluate"]["depends on"]) == ("unknown", "train, calibrate")
    assert "min, as before" in run.planned.message
    assert "of memory, as the training train/" in run.planned.message
    assert by_stage["register"]["minutes"] != "?"
    assert run.cached[-1] == "evaluate champion"  # when it was a candidate
    shown = shown_in(run.id)
    assert shown["evaluation"].data.startswith(report_of(run))
    assert shown["champion-evaluation"].data.startswith(report_of(first))
    assert "data:image/svg+xml;base64," in shown["verdict"].data
    assert run.result.verdict.champion_version == 1
    assert run.result.release.version == 2
    with releases.local_copy("demo@2") as (manifest, _):
        assert manifest.recipe["train"]["precision"] == hardware.fastest_precision()


def test_a_champion_is_trained_further_on_its_own_split_and_the_release_says_from_where(first):
    run = retrain("train.weights=registry:demo@1", "train.seed=2", *ANY_REPLACES, *BRIEF)
    assert run.result.release.status == "released"
    release = f"{run.result.release.name}@{run.result.release.version}"
    with releases.local_copy(release) as (manifest, _), releases.local_copy("demo@1") as (start, _):
        assert manifest.inputs["weights"] == f"registry:demo@1:{start.files['model.keras'].sha256}"
        assert manifest.inputs["weights_origin"] == run.result.model.started_from
        assert run.result.model.started_from == "registry:demo@1, checked against the images held out"


def test_a_changed_blur_runs_from_preprocess(first):
    run = retrain("preprocess.blur_kernel=5", *ANY_REPLACES, WITHOUT_EXPORTS)
    assert run.executed == ["preprocess", "balance", *(stage for stage in MODEL_STAGES if stage != "export")]
    assert set(run.cached) == {*DATA_STAGES, "preprocess champion", "evaluate champion"}


def test_shards_of_another_size_are_the_champions_too(first):
    blurred = ("preprocess.blur_kernel=5", *ANY_REPLACES, *BRIEF)
    retrain(*blurred, model_name="blurred")
    run = retrain(*blurred, "preprocess.images_per_shard=64", "train.seed=3", model_name="blurred")
    assert run.executed[-2:] == ["gate", "register"]
    assert "evaluate champion" in run.executed + run.cached
    assert "preprocess champion" not in run.executed + run.cached


def refused(*settings: str, error: type[errors.FerError], match: str, **parameters: str) -> None:
    """Hold a run to being refused with this message before it prepares, trains, registers or accepts anything."""
    from tasks.runs import events

    with releases.open_registry() as models:
        before = [len(models.versions(name)) for name in models.names()]
    heard_events: list[events.Event] = []
    accepted = notes()
    with events.heard_by(heard_events.append), pytest.raises(error, match=match):
        retrain(*settings, **parameters)
    ended = [event.name for event in heard_events if isinstance(event, events.Ended)]
    assert ended == list(DATA_STAGES)
    assert notes() == accepted
    with releases.open_registry() as models:
        assert [len(models.versions(name)) for name in models.names()] == before


def notes() -> dict[Path, bytes]:
    """The records of what was accepted."""
    folder = settings_module.Settings.load().home / "workspace" / ".accepted"
    return {path: path.read_bytes() for path in folder.iterdir()}


def test_a_champion_that_was_trained_on_nearly_all_of_the_test_images_stops_the_run_before_it_trains(first):
    refused(
        "split.seed=1",
        "gate.min_images=14",
        error=errors.ConfigError,
        match=r"fewer than gate\.min_images=14.* was trained on the other .*split\.seed",
    )


def test_too_few_test_images_stop_the_first_run_of_a_name_too_before_it_trains(first):
    refused(
        "gate.min_images=50",
        model_name="others",
        error=errors.ContractViolation,
        match=r"fewer than gate\.min_images=50.*add about \d+ images.*--set gate\.min_images=",
    )
    assert "outcome:unfit-data" in newest_run("others").tags


def test_another_name_begins_a_registry_of_its_own(first):
    run = retrain(model_name="faces")
    assert run.executed == ["register"]  # without a champion the verdict is the first one's
    assert (run.result.release.name, run.result.release.version) == ("faces", 1)
    assert retrain(model_name="faces").executed == []


def test_a_candidate_below_its_floor_is_registered_as_refused_and_the_champion_stays(first):
    before = retrain(*ANY_REPLACES).result.release.champion_version
    run = retrain("gate.min_accuracy=1", *ANY_REPLACES)
    assert run.result.release.status == "refused"
    assert run.result.release.champion_version == before
    with releases.open_registry() as models:
        refused_release = models.get("demo", str(run.result.release.version))
    assert any("floor 1" in reason for reason in refused_release.reasons)
    state = in_prefect(run).state
    assert (state.name, state.is_completed()) == ("Refused", True)
    assert "floor 1" in state.message
    shown = shown_in(run.id)
    assert shown["verdict"].description.startswith("Refused by the gates: accuracy ")
    assert ": refused by the gates; demo@champion is version" in shown["release"].description


def test_what_was_rolled_back_is_kept_by_the_next_run_on_the_same_data_until_it_is_promoted_by_name(first, monkeypatch):
    settings = ("train.seed=1", "train.precision=auto", *ANY_REPLACES)
    retrain(*ANY_REPLACES, model_name="again")
    released = retrain(*settings, model_name="again").result.release
    assert (released.version, released.status, released.champion_version) == (2, "released", 2)
    with releases.open_registry() as models:
        moves.rollback(models, "again", reason="too sad", by="ann@host")
        assert models.log("again").entries[-2].by.startswith("run ")
    run = retrain(*settings, model_name="again")
    assert run.executed == ["register"]
    kept = run.result.release
    assert (kept.version, kept.status, kept.champion_version) == (2, "kept", 1)
    assert "by ann@host: too sad; `fer models promote again@2` lifts it" in kept.kept_because
    assert "too sad" in Path(run.result.reports["report"]).read_text()
    state = in_prefect(run).state
    assert (state.name, state.is_completed()) == ("Kept", True)
    assert "too sad" in state.message
    monkeypatch.setenv("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    options = [f"--set={setting}" for setting in (*SETTINGS, *settings)]
    command = CliRunner(env={"COLUMNS": "300"}).invoke(cli.app, ["retrain", "--name", "again", *options])
    assert command.exit_code == 0, command.output
    assert "again version 2: kept, not promoted; again@champion is version 1" in command.output
    with releases.open_registry() as models:
        assert [version.version for version in models.versions("again")] == [1, 2]
        moves.promote(models, "again", 2)
    assert retrain(*settings, model_name="again").result.release == released


def test_a_candidate_that_is_not_better_is_kept_which_is_no_failure(first, monkeypatch):
    settings = ("train.seed=1", "train.precision=auto", *NONE_REPLACES)
    retrain(model_name="steady")
    run = retrain(*settings, model_name="steady")
    kept = run.result.release
    assert (kept.version, kept.status, kept.champion_version) == (2, "kept", 1)
    assert "no reason to change: the data and the code are the same" in kept.kept_because
    state = newest_run("steady").state
    assert (state.name, state.is_completed()) == ("Kept", True)
    assert "no reason to change" in state.message
    monkeypatch.setenv("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    options = [f"--set={setting}" for setting in (*SETTINGS, *settings)]
    command = CliRunner(env={"COLUMNS": "300"}).invoke(cli.app, ["retrain", "--name", "steady", *options])
    assert command.exit_code == 0, command.output
    assert "steady version 2: kept, not promoted; steady@champion is version 1" in command.output


def test_a_version_that_was_withdrawn_predicts_by_its_number_alone_and_says_so(first, tmp_path):
    retrain(model_name="withdrawn")
    with releases.open_registry() as models:
        moves.withdraw(models, "withdrawn", 1, "its faces may not be used", by="ann@host")
    face = tmp_path / "face.png"
    face.write_bytes(encode.png(demo_faces.draw("happy", np.random.default_rng(0))))
    shell = CliRunner(env={"COLUMNS": "300"})
    predicted = shell.invoke(cli.app, ["predict", str(face), "--model", "withdrawn@1"])
    assert predicted.exit_code == 0, predicted.output
    assert "version 1 was withdrawn" in predicted.stderr
    assert "by ann@host: its faces may not be used" in predicted.stderr
    without_version = shell.invoke(cli.app, ["predict", str(face), "--model", "withdrawn"])
    assert isinstance(without_version.exception, errors.ConfigError)
    assert "its faces may not be used" in str(without_version.exception)


def test_a_stage_whose_output_is_gone_is_made_anew(first, home):
    shutil.rmtree(home / "workspace" / first.result.quality.path)
    again = retrain()
    # What follows only if another champion reigns by now.
    assert again.executed in (["quality"], ["quality", "gate", "register"])
    assert Path(again.result.reports["report"]).is_file()


def test_a_champion_of_other_classes_stops_the_run_before_it_trains(first):
    refused(
        'index.classes=["happy", "surprise"]',
        'index.ignore_labels=["sad"]',
        error=errors.ConfigError,
        match="knows other classes.*--name NAME",
    )


def test_broken_contracts_stop_the_run_and_name_what_failed(home):
    with pytest.raises(errors.ContractViolation, match="quarantine"):
        retrain("contracts.max_quarantined_share=0")


def test_a_store_that_is_down_stops_the_run_before_anything_is_made(home, monkeypatch, tmp_path):
    monkeypatch.setenv("FER_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("FER_STORE_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    with pytest.raises(errors.StoreUnavailable, match=r"127\.0\.0\.1:9"):
        retrain()
    assert [path for path in (tmp_path / "workspace").glob("*") if not path.name.startswith(".")] == []
