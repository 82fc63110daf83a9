"""`fer plan` in this process, where nothing was ever run. Beside real runs: `tests/end_to_end/test_retrain.py`."""

import json

import pytest
import shell
from flow_artifacts import shown_in

from tasks.planning import walks

pytestmark = pytest.mark.slow  # the flow and all that it needs are imported


@pytest.fixture
def answer(tmp_path, capsys):
    return shell.fer_here("plan", "--json", "--set", "evaluation.folds=2", home=tmp_path, capsys=capsys)


def test_on_a_new_machine_all_stages_are_to_run_and_nothing_is_written_and_no_server_asked(answer, tmp_path):
    assert answer.returncode == 0, answer.stderr
    planned = json.loads(answer.stdout)
    stages = [row["stage"] for row in planned["rows"]]
    assert stages[:3] == ["download", "index", "validate"]
    assert stages[-2:] == ["gate", "register"]
    assert {"folds", "fold 1", "fold 2", "out of fold"} < set(stages)
    unknown = [row["stage"] for row in planned["rows"] if row["plan"] != "will run"]
    assert unknown == ["register"]  # of no stage
    assert planned["end"] == ""
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert walks.current() is None


def test_what_a_run_would_refuse_a_plan_refuses(tmp_path, capsys):
    answer = shell.fer_here("plan", "--again", "trian", home=tmp_path, capsys=capsys)
    assert answer.returncode != 0
    assert "label errors" in answer.stderr
    assert "--again" in answer.stderr


def test_the_flow_makes_its_plan_where_prefect_shows_it(prefect_server, tmp_path, monkeypatch):
    from flows.retrain import retrain

    monkeypatch.setenv("FER_HOME", str(tmp_path))
    state = retrain(sources=["demo"], recipe="demo", plan_only=True, return_state=True)
    assert state.name == "Planned"
    assert state.message.startswith(f"{len(state.result().rows) - 1} to run, 1 unknown until these have run")
    rows = json.loads(shown_in(state.state_details.flow_run_id)["plan"].data)
    assert [row["stage"] for row in rows] == [row["stage"] for row in state.result().rows]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
