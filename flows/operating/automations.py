"""The project's automations on Prefect's server: made once, renewed while nobody changed them, then the user's."""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import Automation, AutomationCore

from flows.operating import notices, silent_runs

Source = Callable[[SyncPrefectClient], list[AutomationCore]]
_MARK = re.compile(r" \(made by fer, (?P<digest>[0-9a-f]{8})\)$")


def _of_silent_runs(client: SyncPrefectClient) -> list[AutomationCore]:
    return silent_runs.automations()


SOURCES: tuple[Source, ...] = (
    _of_silent_runs,
    notices.automations,
)  # each names those that the server of this client is to have


class Changes(NamedTuple):
    """The names of automations that were made on the server, and of those that were renewed."""

    made: list[str]
    renewed: list[str]


def wanted(client: SyncPrefectClient) -> list[AutomationCore]:
    """All that the server is to have."""
    return [automation for source in SOURCES for automation in source(client)]


def missing(client: SyncPrefectClient) -> list[str]:
    """The names of those that the server does not have, on or off."""
    return [automation.name for automation in wanted(client) if not client.read_automations_by_name(automation.name)]


def ensure(client: SyncPrefectClient) -> Changes:
    """See that the server has all of them; one that a user changed or switched off stays as it is."""
    changes = Changes([], [])
    for automation in wanted(client):
        ours = _marked(automation)
        there = client.read_automations_by_name(automation.name)
        if not there:
            client.create_automation(ours)
            changes.made.append(ours.name)
        elif len(there) == 1 and _is_as_made(there[0]) and there[0].description != ours.description:
            client.delete_automation(there[0].id)
            client.create_automation(ours)
            changes.renewed.append(ours.name)
    return changes


def _marked(automation: AutomationCore) -> AutomationCore:
    """The automation with its digest in the description, by which a change of it is seen."""
    return automation.model_copy(
        update={"description": f"{automation.description} (made by fer, {_digest(automation)})"}
    )


def _is_as_made(there: Automation) -> bool:
    mark = _MARK.search(there.description)
    if mark is None or not there.enabled:
        return False
    unmarked = there.model_copy(update={"description": there.description[: mark.start()]})
    return mark["digest"] == _digest(unmarked)


def _digest(automation: AutomationCore) -> str:
    document = automation.model_dump(include=set(AutomationCore.model_fields), exclude={"owner_resource"})
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=_plain).encode()).hexdigest()[:8]


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | frozenset) else str(value)
