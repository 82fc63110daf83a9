"""Where the runs are seen: the server that is configured, or how to start one."""

from pathlib import Path

_MAKEFILE = Path(__file__).parents[2] / "Makefile"


def start_command() -> str:
    """How the UI is started: by `make` in a checkout, by `fer` where the package is installed without one."""
    return "make ui" if _MAKEFILE.is_file() else "fer ui"


def where() -> str:
    """The address of the configured server's UI, or the command that serves one. Loads Prefect."""
    import httpx
    from prefect.settings import get_current_settings

    configured = get_current_settings()
    if configured.api.url is None:
        return start_command()
    return str(httpx.URL(configured.ui_url or configured.api.url).copy_with(userinfo=b""))  # no password in a terminal


def remedy() -> str:
    """What to do where the configured server does not answer."""
    return f"start it ({start_command()}), or unset PREFECT_API_URL to use a temporary server"
