"""What the flows share: Prefect keeps no result of them, and a run ends at the time-out that its deployment sets."""

from typing import Any

from fer import settings
from tasks import caching

# Read as the flow is imported, which a worker does for each run, in the environment of the run's deployment.
OPTIONS: dict[str, Any] = {
    **caching.NOT_PERSISTED,
    "timeout_seconds": settings.Settings.load_valid()[0].run_timeout_s,
}
