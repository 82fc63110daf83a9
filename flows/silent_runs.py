"""The automation by which Prefect's server ends the state of a run that was killed, as no heartbeat comes any more.

Without it such a run stays Running for ever, and holds its deployment's concurrency slot. Prefect calls it a zombie.
"""

import datetime

import typer
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

NAME = "fer: runs that were killed"
SILENCE = datetime.timedelta(minutes=5)  # ten heartbeats: a server may be down for a while, and a machine busy
_FLOWS = ["retrain", "ingest", "sweep", "compare"]


def automation(silence: datetime.timedelta = SILENCE) -> AutomationCore:
    """What Prefect's server is asked to do: after `silence` a run that sends heartbeats is crashed."""
    return AutomationCore(
        name=NAME,
        description=f"A run of {', '.join(_FLOWS)} that has not been heard of for {silence} is marked as crashed.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.*"},  # a heartbeat, or any end: ours have names of their own, as Released
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            match_related=ResourceSpecification({"prefect.resource.role": ["flow"], "prefect.resource.name": _FLOWS}),
            for_each={"prefect.resource.id"},
            threshold=1,
            within=silence,
        ),
        actions=[
            ChangeFlowRunState(
                name=None,
                state=StateType.CRASHED,
                message="No heartbeat came for minutes: it was killed, or its machine is down. Run it again to go on.",
                force=False,
            )
        ],
    )


def is_watched(client: SyncPrefectClient) -> bool:
    """Whether the server has the automation, on or off."""
    return bool(client.read_automations_by_name(NAME))


def watch(client: SyncPrefectClient) -> None:
    """See that the server has the automation; one that is there, also switched off or changed, stays as it is."""
    if not is_watched(client):
        client.create_automation(automation())
        typer.echo(f"made on the server: the automation {NAME!r}")
