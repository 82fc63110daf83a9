"""Which Prefect server the commands of `fer` ask: the one that is configured, else that of the installation here."""

import os
import time
from pathlib import Path

from prefect import context
from prefect.settings import get_current_settings

from fer import errors
from flows.operating import installation, services

_PATIENCE_S = 30.0  # one that has just been started
_POLL_S = 0.2

_used: list[installation.Installation] = []  # by this process, once it asks one's server


def use(home: Path, patience_s: float = _PATIENCE_S) -> bool:
    """Let Prefect here, and in processes that this one starts, ask the installation's server, unless one is configured.

    Returns whether there is a server to ask. Raises PrefectUnavailable if the installation's runs and does not answer
    within `patience_s`.
    """
    named, asked = get_current_settings().api.url, installation.load(home)
    is_another = named is not None and (asked is None or named.rstrip("/") != asked.url)
    if asked is None or is_another or not services.is_running(home, installation.SERVER):
        return named is not None
    deadline = time.monotonic() + patience_s
    while not services.answers(asked):
        if time.monotonic() > deadline:
            raise errors.PrefectUnavailable(
                "The installation's server must answer.",
                received=f"no answer from {asked.url} for {patience_s:.0f} s",
                todo=f"read {installation.log(home, installation.SERVER)}; then fer down, and fer up",
            )
        time.sleep(_POLL_S)
    os.environ.update(installation.client_settings(asked, installation.server_settings(home)))
    context.refresh_global_settings_context()
    _used.append(asked)
    return True


def is_used() -> bool:
    """Whether this process asks the installation's server, since no other is configured."""
    return bool(_used)
