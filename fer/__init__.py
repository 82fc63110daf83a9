"""Retraining of facial-emotion models: the library below the Prefect tasks and flows.

Importing it switches off the telemetry of the libraries that it drives, and sets their limits. A value already set in
the environment wins, except where it would shape an output.
"""

import os

_DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "ORT_DISABLE_TELEMETRY": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OPENCV_LOG_LEVEL": "FATAL",  # what it says of broken files is in the manifest
    # Its 20 s limit times out on a loaded machine.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}
for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)
# 8192 x 8192: a small file may claim far more, and take the memory. What is over it goes into quarantine, and no key
# holds the environment.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(2**26)
