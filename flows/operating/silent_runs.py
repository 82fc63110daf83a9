"""The automations by which Prefect's server ends runs whose process is gone: it would show them as they were for ever.

A run that is ended so gives back the slot that it held, and the next one that waits for it begins.
"""

import datetime
from pathlib import Path

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

import flows

KILLED = "fer: runs that were killed"
NEVER_BEGAN = "fer: runs that never began"
SILENCE = datetime.timedelta(seconds=90)  # three heartbeats: what is killed is found out within two minutes
START = datetime.timedelta(minutes=5)  # from a worker's word that it starts a run to the first of the run itself
_ANY = {"prefect.flow-run.*"}  # ours end in states of names of their own, as Released


def flow_names() -> list[str]:
    """The flows of this project; each is the function of its module's name in this package."""
    folder = Path(flows.__file__).parent
    return sorted(path.stem for path in folder.glob("*.py") if "\n@flow(" in path.read_text(encoding="utf-8"))


def automations(silence: datetime.timedelta = SILENCE, start: datetime.timedelta = START) -> list[AutomationCore]:
    """What the server is asked to do: runs that were heard of and are not for `silence`, or begin for longer than
    `start`, are crashed."""
    return [
        AutomationCore(
            name=KILLED,
            description=f"A run of this project of which nothing was heard for {silence} is marked as crashed.",
            trigger=_silent_after({"prefect.flow-run.Running", "prefect.flow-run.heartbeat"}, silence),
            actions=[_crash("No heartbeat came for a while: it was killed, or its machine is down.")],
        ),
        AutomationCore(
            name=NEVER_BEGAN,
            description=f"A run of this project that a worker began to start {start} ago is marked as crashed.",
            trigger=_silent_after({"prefect.flow-run.Pending", "prefect.flow-run.Submitting"}, start),
            actions=[_crash("Its worker began to start it and was heard of no more: it was stopped, or killed.")],
        ),
    ]


def _silent_after(events: set[str], silence: datetime.timedelta) -> EventTrigger:
    return EventTrigger(
        posture=Posture.Proactive,
        after=events,
        expect=_ANY,
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
        match_related=ResourceSpecification({"prefect.resource.role": ["flow"], "prefect.resource.name": flow_names()}),
        for_each={"prefect.resource.id"},
        threshold=1,
        within=silence,
    )


def _crash(message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(
        name=None, state=StateType.CRASHED, message=f"{message} Run it again to go on where it was.", force=False
    )
