"""Retraining of facial-emotion models: the library below the Prefect tasks and flows.

Importing it switches off the telemetry of the libraries that it drives, sets their limits, and keeps loopback from
proxies, for the processes that this one starts as well. A value already set in the environment wins, except where it
would shape an output.
"""

import os
from collections.abc import Mapping

_DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "ORT_DISABLE_TELEMETRY": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OPENCV_LOG_LEVEL": "FATAL",  # what it says of broken files is in the manifest
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds; flows/operating/silent_runs.py waits for three of them
    # Its 20 s limit times out on a loaded machine.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}
for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)
# 8192 x 8192: a small file may claim far more, and take the memory. What is over it goes into quarantine, and keys hold
# the limit (`fer.images.limits`), not this variable.
_side = os.environ.get("FER_LIMIT_IMAGE_SIDE_PX", "")
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(max(8_192, int(_side) if _side.isdecimal() else 0) ** 2)


def _without_proxy(environment: Mapping[str, str]) -> str:
    """The hosts that no proxy is to be asked for: those that the environment names, and loopback.

    Behind a company's proxy Prefect's temporary server would be asked of that proxy, and never seem to start.
    """
    named = environment.get("no_proxy") or environment.get("NO_PROXY") or ""  # the small one wins where both are set
    hosts = [host.strip() for host in named.split(",") if host.strip()]
    if "*" in hosts:  # it holds for all hosts only where it stands alone
        return "*"
    loopback = ["127.0.0.1", "::1"]
    if (
        environment.get("KAGGLE_API_ENVIRONMENT") != "LOCALHOST"
    ):  # then kagglehub asks a proxy for `localhost` on purpose
        loopback.insert(0, "localhost")
    return ",".join(dict.fromkeys(hosts + loopback))


os.environ["NO_PROXY"] = os.environ["no_proxy"] = _without_proxy(os.environ)
