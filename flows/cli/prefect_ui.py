"""Where the runs are seen: the server that is configured, by what, or how to start one. Its functions load Prefect."""

import os
from pathlib import Path
from typing import NamedTuple

_MAKEFILE = Path(__file__).parents[2] / "Makefile"
_FILES = (".env", "prefect.toml", "pyproject.toml")  # of the working folder, where Prefect looks for settings too
API_URL = ("PREFECT_API_URL",)
ALLOWS_TEMPORARY = ("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "PREFECT_SERVER_EPHEMERAL_ENABLED")


class Origin(NamedTuple):
    """What gives a setting of Prefect's its value: `name`, `place` in words, and what takes it away again."""

    name: str
    place: str
    undo: str


def start_command() -> str:
    """How the UI is started: by `make` in a checkout, by `fer` where the package is installed without one."""
    return "make ui" if _MAKEFILE.is_file() else "fer ui"


def where() -> str:
    """The address of the configured server's UI, or the command that serves one."""
    import httpx
    from prefect.settings import get_current_settings

    configured = get_current_settings()
    if not configured.ui_url:  # Prefect takes it from the server's address, unless that has none
        return start_command()
    return str(httpx.URL(configured.ui_url).copy_with(userinfo=b""))  # no password in a terminal


def remedy() -> str:
    """What to do where the server does not answer."""
    from flows.operating import own_server

    if own_server.is_used():
        return "bring it up again (fer up)"
    return f"start it ({start_command()}), or {origin(API_URL).undo} to use a temporary server"


def origin(names: tuple[str, ...]) -> Origin:
    """What sets a setting, which has one of these names: the environment, a file here, or the active profile."""
    from prefect.context import get_settings_context

    for name in names:
        if name in os.environ:
            return Origin(name, "the environment", f"unset {name}")
    profile = get_settings_context().profile
    set_there = {setting.name for setting in profile.settings}
    if set_there.intersection(names):
        name = next(name for name in names if name in set_there)
        file = f" in {profile.source}" if profile.source else ""
        place = f"the Prefect profile {profile.name!r}{file}"
        undo = f"take {name} out of {place} (prefect config unset {name}) or choose another (PREFECT_PROFILE=ephemeral)"
        return Origin(name, place, undo)
    return Origin(names[0], "a file of settings here", f"remove it from {', '.join(_FILES)} here")
