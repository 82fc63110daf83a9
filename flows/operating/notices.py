"""What people are told of, and where to: automations that send to the receivers which the server has.

A receiver is a block named `fer-notices`, of any kind of notification (Slack, Teams, …) or a Webhook, or the deployment
`notify/mail`, if it names somebody. A message names flows, deployments, models and figures: no source,
whose address may hold a person's name, no error's text, which may name a file, and no key.
"""

import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.events.actions import ActionTypes, CallWebhook, RunDeployment, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from fer import settings
from flows.operating import installation, silent_runs
from tasks.runs import outcomes

BLOCK = "fer-notices"
MAIL = "notify/mail"
_NO_WORKER = datetime.timedelta(minutes=10)  # as long as a restart may take
_NOT_BEGUN = datetime.timedelta(hours=6)  # as long as the run before it may be at work
_RUN = "{{ flow.name }}{% if deployment %} of {{ deployment.name }}{% endif %}"
_WEBHOOK, _NOTIFY = "webhook", "notify"  # a type of block, and what others can do
_JSON = (  # what a webhook is sent
    "{{% set subject %}}{subject}{{% endset %}}{{% set message %}}{body}{{% endset %}}"
    '{{"subject": {{{{ subject | tojson }}}}, "message": {{{{ message | tojson }}}}}}'
)
_NEW = {"fer.repeated": "false"}  # not of a run that found everything cached


class Notice(NamedTuple):
    """One thing that people are told of; `subject` and `body` are templates over the event."""

    name: str
    description: str
    trigger: EventTrigger
    subject: str
    body: str


def automations(client: SyncPrefectClient) -> list[AutomationCore]:
    """One for each notice, which sends it to all receivers; none where the server has no receiver."""
    blocks, mail = _blocks(client), _mail(client)
    if not blocks and mail is None:
        return []
    configured = settings.Settings.load()
    return [
        AutomationCore(
            name=f"fer: {notice.name}",
            description=notice.description,
            trigger=notice.trigger,
            actions=list(_actions(notice, blocks, mail)),
        )
        for notice in notices(configured.notice_after_days, installation.pool(configured.home))
    ]


def notices(silent_days: float, pool: str) -> list[Notice]:
    """All that people are told of; `silent_days`: after how many days without a retraining. `pool`: whose workers."""
    flows = [name for name in silent_runs.flow_names() if name != "notify"]  # or a mail that fails would send one
    ended = {f"prefect.flow-run.{state}" for state in ("Failed", "Crashed", "TimedOut")}
    model, data = "fer.model.*", "fer.data.*"
    return [
        Notice(
            "a run failed",
            "A run of this project failed, crashed or ran out of time.",
            _when(ended, match_related=_of(flows)),
            f"fer: {_RUN} failed",
            f"{_RUN} ended as {{{{ flow_run.state.name }}}}. Next: fer logs {{{{ flow_run.id }}}}",
        ),
        Notice(
            "a model was refused",
            "The gates refused a model. Once for each version.",
            _when({outcomes.MODEL["refused"]}, resource=model, labels=_NEW),
            "fer: {{ event.resource.name }} was refused",
            "{{ event.payload.message }}. Next: fer report {{ event.payload.name }}@{{ event.payload.version }}",
        ),
        Notice(
            "data is not fit",
            "Data is not fit for training. Once for each version of the data.",
            _when({outcomes.UNFIT}, resource=data, labels=_NEW),
            "fer: data of {{ event.payload.recipe }} is not fit for training",
            "Data for the recipe {{ event.payload.recipe }} is not fit for training. Next: read why: fer status",
        ),
        Notice(
            "data drifted",
            "Data differs from what was accepted last. Once for each version of the data.",
            _when({outcomes.DRIFTED}, resource=data, labels=_NEW),
            "fer: data of {{ event.payload.recipe }} drifted",
            "Data for the recipe {{ event.payload.recipe }}: {{ event.payload.message }}. Next: fer status",
        ),
        Notice(
            "a champion changed",
            "A model was released, or a person promoted or rolled back one.",
            _when({outcomes.MODEL["released"], outcomes.MOVED}, resource=model, labels=_NEW),
            "fer: {{ event.resource.name }} has another champion",
            "{{ event.payload.message }}. Next: fer models log {{ event.resource.name }}",
        ),
        Notice(
            "no retraining",
            f"No retraining came to a verdict for {silent_days:g} days.",
            EventTrigger(
                posture=Posture.Proactive,
                expect={f"prefect.flow-run.{state}" for state in ("Released", "Kept", "Refused")},
                match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
                match_related=_of(["retrain"]),
                threshold=1,
                within=datetime.timedelta(days=silent_days),
            ),
            f"fer: no retraining for {silent_days:g} days",
            f"No retraining came to a verdict for {silent_days:g} days. Next: fer status",
        ),
        Notice(
            "a run did not begin",
            f"A run was due {_NOT_BEGUN.total_seconds() / 3600:g} hours ago and nothing was heard of it since.",
            EventTrigger(
                posture=Posture.Proactive,
                after={"prefect.flow-run.Late"},
                expect={"prefect.flow-run.*"},
                match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
                match_related=_of(flows),
                for_each={"prefect.resource.id"},
                threshold=1,
                within=_NOT_BEGUN,
            ),
            f"fer: a run of {_RUN} did not begin",
            f"A run of {_RUN} should have begun hours ago. Next: fer status",
        ),
        Notice(
            "no worker is online",
            f"The work pool {pool!r} has had no worker for {_NO_WORKER.total_seconds() / 60:g} minutes.",
            EventTrigger(
                posture=Posture.Proactive,
                after={"prefect.work-pool.not-ready"},
                expect={"prefect.work-pool.ready"},
                match=ResourceSpecification(
                    {"prefect.resource.id": "prefect.work-pool.*", "prefect.resource.name": pool}
                ),
                for_each={"prefect.resource.id"},
                threshold=1,
                within=_NO_WORKER,
            ),
            "fer: no worker is online",
            f"No worker of the pool {pool} is online: nothing that is scheduled runs. Next: fer up",
        ),
    ]


def _when(
    events: set[str],
    *,
    resource: str = "prefect.flow-run.*",
    labels: dict[str, str] | None = None,
    match_related: ResourceSpecification | None = None,
) -> EventTrigger:
    """At each of these events about such a resource."""
    return EventTrigger(
        posture=Posture.Reactive,
        expect=events,
        match=ResourceSpecification({"prefect.resource.id": resource, **(labels or {})}),
        match_related=match_related or ResourceSpecification({}),
        for_each={"prefect.resource.id"},
        threshold=1,
        within=datetime.timedelta(0),
    )


def _of(flows: Sequence[str]) -> ResourceSpecification:
    return ResourceSpecification({"prefect.resource.role": ["flow"], "prefect.resource.name": list(flows)})


class _Block(NamedTuple):
    id: Any
    is_webhook: bool  # else it is a notification's


def _blocks(client: SyncPrefectClient) -> list[_Block]:
    """The blocks of the name that notices are sent to."""
    named = [document for document in client.read_block_documents(include_secrets=False) if document.name == BLOCK]
    webhooks = [_Block(document.id, True) for document in named if _slug(document) == _WEBHOOK]
    notifying = [
        document for document in named if document.block_schema and _NOTIFY in document.block_schema.capabilities
    ]
    return [*webhooks, *(_Block(document.id, False) for document in notifying)]


def _slug(document: BlockDocument) -> str | None:
    return document.block_type.slug if document.block_type is not None else None


def _capabilities(document: BlockDocument) -> list[str]:
    return document.block_schema.capabilities if document.block_schema is not None else []


def _mail(client: SyncPrefectClient) -> Any | None:
    """The ID of the deployment that sends mail to somebody."""
    try:
        deployment = client.read_deployment_by_name(MAIL)
    except ObjectNotFound:
        return None
    return deployment.id if (deployment.parameters.get("mail") or {}).get("to") else None


def _actions(notice: Notice, blocks: Sequence[_Block], mail: Any | None) -> list[ActionTypes]:
    actions: list[ActionTypes] = []
    for block in blocks:
        if block.is_webhook:
            payload = _JSON.format(subject=notice.subject, body=notice.body)
            actions.append(CallWebhook(block_document_id=block.id, payload=payload))
        else:
            actions.append(SendNotification(block_document_id=block.id, subject=notice.subject, body=notice.body))
    if mail is not None:
        templates = {"subject": notice.subject, "message": notice.body}
        parameters = {name: {"__prefect_kind": "jinja", "template": text} for name, text in templates.items()}
        run = RunDeployment(source="selected", deployment_id=mail, parameters=parameters, job_variables=None)
        actions.append(run)
    return actions
