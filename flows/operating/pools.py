"""The work pool that the deployments run in, and its queue in which one training at a time is begun."""

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

TRAINING = "training"
_AT_ONCE = 1  # whatever trains takes the processors and the memory that it finds


def ensure(client: SyncPrefectClient, pool: str) -> list[str]:
    """See that the server has both; what is there, of any type or limit, stays. Returns what was made, in words."""
    made = []
    try:
        client.read_work_pool(pool)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=pool, type=ProcessWorker.type, base_job_template=template))
        made.append(f"the work pool {pool!r}, of processes")
    try:
        client.read_work_queue_by_name(TRAINING, work_pool_name=pool)
    except ObjectNotFound:
        client.create_work_queue(TRAINING, work_pool_name=pool, concurrency_limit=_AT_ONCE)
        made.append(f"the work queue {TRAINING!r}, {_AT_ONCE} run at a time")
    return made
