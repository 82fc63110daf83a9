"""What `prefect deploy` asks the server before it replaces a deployment."""

from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from flows import deploying
from flows.operating import pools

ROOT = Path(__file__).parents[2]
TRIGGER = "fer2013-weekly-on-new-data"


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
