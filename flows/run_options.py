"""What the flows share: Prefect keeps no result of them, a run ends at the time-out that its deployment sets, and the
overview is renewed after it."""

from typing import Any

from fer import settings
from flows.operating import renewal
from tasks import caching

# Read as the flow is imported, which a worker does for each run, in the environment of the run's deployment.
OPTIONS: dict[str, Any] = {
    **caching.NOT_PERSISTED,
    **renewal.AFTER_EACH_RUN,
    "timeout_seconds": settings.Settings.load_valid()[0].run_timeout_s,
}
