"""What `prefect deploy` asks the server before it replaces a deployment."""

from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from flows import deploying
from flows.operating import installation, pools

ROOT = Path(__file__).parents[2]
TRIGGER = "fer2013-weekly-on-new-data"


def test_what_is_missing_is_made_for_the_pool_of_the_declaration(bare_server, monkeypatch, tmp_path, capsys):
    (tmp_path / "prefect.yaml").write_text(
        "deployments: [{name: mine, entrypoint: flows.retrain.retrain, work_pool: {name: faces}}]"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    deploying.keep_pauses("mine")
    said = capsys.readouterr().out
    assert "made on the server: the work pool 'faces'" in said
    assert "pool 'fer'," not in said
    assert "mine: for workers of the pool 'faces', but `fer up` was asked for the pool 'fer' here" in said
    with SyncPrefectClient(bare_server) as client:
        client.delete_work_pool("faces")
    (tmp_path / "installation").mkdir()
    installation.save(tmp_path, installation.Installation(pool="faces", prefect_home=tmp_path))
    deploying.keep_pauses("mine")
    assert "but `fer up`" not in capsys.readouterr().out
    with SyncPrefectClient(bare_server) as client:
        client.delete_work_pool("faces")


@pytest.mark.parametrize("enabled", [True, False])
def test_a_trigger_that_was_switched_off_stays_so_and_what_is_missing_is_made(
    bare_server, monkeypatch, capsys, enabled
):
    monkeypatch.chdir(ROOT)
    kept = deploying.keep_pauses("fer2013-weekly")
    assert (kept["active"], kept["enabled"]) == ({"weekly": True}, {TRIGGER: True})
    assert kept["recipes"] in deploying.declarations()["fer2013-weekly"]["description"]
    assert f"made on the server: the work queue '{pools.TRAINING}'" in capsys.readouterr().out
    there = AutomationCore(
        name=TRIGGER,
        enabled=enabled,
        trigger=EventTrigger(expect={"fer.data.grown"}, posture=Posture.Reactive, threshold=1),
        actions=[DoNothing()],
    )
    with SyncPrefectClient(bare_server) as client:
        made = client.create_automation(there)
        try:
            assert deploying.keep_pauses("fer2013-weekly")["enabled"] == {TRIGGER: enabled}
        finally:
            client.delete_automation(made)
