"""What needs a person."""

import overviews
import pytest

from fer.reports.overview.document import Drift, Service


def subjects(overview):
    return [(matter.level, matter.subject) for matter in overview.needs]


def test_where_all_is_well_nothing_needs_a_person():
    assert subjects(overviews.overview()) == []


def test_nothing_made_yet_needs_nobody():
    assert subjects(overviews.overview(models=(), runs=(), schedules=())) == []


@pytest.mark.parametrize("kind", ["FAILED", "CRASHED"])
def test_a_job_whose_last_run_failed_needs_a_person(kind):
    (matter,) = overviews.overview(runs=[overviews.run(kind, message="It broke. Next: mend it.")]).needs
    assert matter.level == "stop"
    assert "It broke. Next: mend it." in matter.text
    assert "fer logs 00000000" in matter.todo


def test_a_failure_after_which_the_same_job_went_well_needs_nobody():
    runs = [overviews.run("COMPLETED", hours_ago=1), overviews.run("FAILED", hours_ago=2)]
    assert subjects(overviews.overview(runs=runs)) == []


def test_a_run_that_is_still_at_work_does_not_excuse_the_one_before():
    runs = [overviews.run("RUNNING", hours_ago=1), overviews.run("FAILED", hours_ago=2)]
    assert len(overviews.overview(runs=runs).needs) == 1


def test_another_jobs_success_does_not_excuse_a_failure():
    runs = [overviews.run("COMPLETED", line="daily"), overviews.run("FAILED", line="weekly")]
    assert len(overviews.overview(runs=runs).needs) == 1


def test_a_run_that_somebody_cancelled_says_nothing():
    runs = [overviews.run("CANCELLED"), overviews.run("COMPLETED")]
    assert subjects(overviews.overview(runs=runs)) == []


def test_data_that_drifted_is_named_until_a_run_finds_none():
    drifted = overviews.run(tags=("drift:found",))
    assert [level for level, _ in subjects(overviews.overview(runs=[drifted]))] == ["warn"]
    assert subjects(overviews.overview(runs=[overviews.run(), drifted])) == []


def test_a_run_that_no_worker_took_needs_a_worker():
    down = Service(name="worker of gpu", state="down", text="none is online", todo="start one")
    late = overviews.run("SCHEDULED", state="Late", started_utc=None, ended_utc=None)
    found = overviews.overview(services=[down], late=[late, late])
    assert [matter.subject for matter in found.needs] == ["worker of gpu", f"run {late.name}"]
    assert "worker" in found.needs[1].todo


def test_an_active_schedule_without_a_coming_run_needs_a_person():
    idle = overviews.schedule("weekly", None)
    assert [subject for _, subject in subjects(overviews.overview(schedules=[idle]))] == ["schedule of weekly"]
    for nobody in ({"is_paused": True}, {"n_schedules": 0}, {"is_new": True}):
        assert subjects(overviews.overview(schedules=[overviews.schedule("weekly", None, **nobody)])) == []


def test_a_model_that_was_refused_last_is_named_until_a_later_one_is_released():
    refused = overviews.model(last_version=5, last_status="refused")
    (matter,) = overviews.overview(models=[refused]).needs
    assert matter.todo == "fer report fer2013-cnn@5"
    assert subjects(overviews.overview(models=[overviews.model(last_version=5, last_status="kept")])) == []


def test_drift_since_training_and_worn_test_images_need_a_person():
    drifted = Drift(findings=("class shares of all images",))
    found = overviews.overview(models=[overviews.model(drift=drifted, reads=overviews.reads(100.0))])
    assert [level for level, _ in subjects(found)] == ["warn", "warn"]
    assert "class shares of all images" in found.needs[0].text
    assert "split.rotation" in found.needs[1].todo


def test_what_of_a_registry_can_not_be_read_is_repaired():
    found = overviews.overview(models=[overviews.model(champion=None, problem="its alias was lost")])
    assert [matter.todo for matter in found.needs] == ["fer models repair fer2013-cnn"]
    assert subjects(overviews.overview(models=[], problem="no answer")) == [("stop", "registry")]


def test_a_model_without_a_champion_needs_one():
    found = overviews.overview(models=[overviews.model(champion=None, last_status="refused")])
    assert subjects(found) == [("stop", "fer2013-cnn"), ("warn", "fer2013-cnn")]


@pytest.mark.parametrize(("free_gb", "levels"), [(80.0, []), (3.0, ["warn"]), (0.5, ["stop"])])
def test_a_disk_is_warned_of_before_it_is_full(free_gb, levels):
    assert [level for level, _ in subjects(overviews.overview(free_gb=free_gb))] == levels


def test_the_most_urgent_comes_first():
    found = overviews.overview(free_gb=0.5, models=[overviews.model(last_version=5, last_status="refused")])
    assert [matter.level for matter in found.needs] == ["stop", "warn"]


@pytest.mark.parametrize(("budget", "levels"), [(None, []), (400e6, []), (300e6, ["warn"]), (200e6, ["stop"])])
def test_a_disk_budget_is_warned_of_before_it_is_used_up(budget, levels):
    found = overviews.overview(budget_bytes=None if budget is None else int(budget))  # 240 MB are used
    assert subjects(found) == [(level, "disk budget") for level in levels]
