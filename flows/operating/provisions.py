"""What an installation needs on its Prefect server beside the deployments: pool, queue and automations."""

from prefect.client.orchestration import SyncPrefectClient

from flows.operating import automations, pools


def ensure(client: SyncPrefectClient, pool: str) -> list[str]:
    """See that the server has all of it; what is there is the user's and stays. Returns what was made, in words."""
    changes = automations.ensure(client)
    return [
        *pools.ensure(client, pool),
        *(f"the automation {name!r}" for name in changes.made),
        *(f"the automation {name!r}, anew, since it was as an earlier version had made it" for name in changes.renewed),
    ]
