"""An installation on one machine: what `fer up` was asked for, and the environment that each of its services gets.

<home>/installation/asked.json              what `fer up` was asked for last
<home>/installation/server-settings.json    Prefect's settings of the server, passwords among them: for its owner alone
<home>/installation/server.json, …          which process each service is (see `services`)
<home>/logs/server.log, worker-1.log, …     what they say
"""

import ipaddress
import json
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pydantic
from pydantic import Field

from fer import errors
from fer.engine import disk
from fer.engine.records import Record
from flows.operating import log_format

MARK = "FER_INSTALLATION"  # in the environment of the services and of all that they start: the installation's token
SERVER = "server"
POOL = "fer"  # the work pool, where none was chosen
PASSWORD = "PREFECT_SERVER_API_AUTH_STRING"  # noqa: S105 - the setting's name
DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
_SERVER_SETTINGS = ("PREFECT_SERVER_", "PREFECT_API_DATABASE_")  # how their names begin; the latter are older names
_CLIENT_SETTINGS = ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING")
_SET_ANYWAY = {"PREFECT_SERVER_ANALYTICS_ENABLED", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"}  # by `fer`
_OF_A_LONG_LIVED_SERVER = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs,orphans",  # what is older than 90 days goes
    # Below PREFECT_HOME: in memory, a run's lease of its slot is lost with the server, and Prefect ends the run for it.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}


class Installation(Record):
    """What `fer up` was asked for."""

    host: str = "127.0.0.1"
    port: int = Field(default=4200, ge=1, le=65_535)
    pool: str = Field(default=POOL, min_length=1)
    workers: int = Field(default=1, ge=0, le=64)
    runs_at_once: int = Field(default=2, ge=1)  # of each worker
    prefect_home: Path
    token: str = Field(default_factory=lambda: secrets.token_hex(8))
    is_up: bool = False  # whether it is to run: after `fer up` until `fer down`

    @property
    def url(self) -> str:
        """The API's address, as this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared with
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/api"

    @property
    def ui_url(self) -> str:
        """The UI's address, as this machine reaches it."""
        return self.url.removesuffix("/api")

    @property
    def services(self) -> list[str]:
        """The names of its processes, in the order in which they start; without the embedded store."""
        return [SERVER, *(f"worker-{n}" for n in range(1, self.workers + 1))]


def folder(home: Path) -> Path:
    """Where the files of an installation are."""
    return home / "installation"


def log(home: Path, service: str) -> Path:
    """The file that a service writes its log to."""
    return home / "logs" / f"{service}.log"


def load(home: Path) -> Installation | None:
    """What `fer up` was asked for last; None if it never was, or the file is damaged."""
    try:
        return Installation.model_validate_json((folder(home) / "asked.json").read_bytes())
    except (OSError, pydantic.ValidationError):
        return None


def pool(home: Path) -> str:
    """The work pool that `fer up` was asked to work for here."""
    asked = load(home)
    return POOL if asked is None else asked.pool


def save(home: Path, asked: Installation) -> None:
    """Keep it. Raises OSError."""
    disk.write_private(folder(home) / "asked.json", asked.model_dump_json().encode())


def server_settings(home: Path) -> dict[str, str]:
    """Prefect's settings that the server was given, by variable; secrets among them."""
    try:
        kept = json.loads((folder(home) / "server-settings.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(name): str(value) for name, value in kept.items()} if isinstance(kept, dict) else {}


def given_settings(environment: Mapping[str, str], kept: Mapping[str, str]) -> dict[str, str]:
    """The settings of the server: the environment's, and `kept` ones; an empty variable takes a kept one away."""
    given = {
        name: value
        for name, value in environment.items()
        if name.startswith(_SERVER_SETTINGS) and name not in _SET_ANYWAY
    }
    return {name: value for name, value in {**kept, **given}.items() if value}


def save_settings(home: Path, settings: Mapping[str, str]) -> None:
    """Keep the server's settings, for the owner of the file alone. Raises OSError."""
    disk.write_private(folder(home) / "server-settings.json", json.dumps(dict(settings)).encode())


def require_guarded(asked: Installation, settings: Mapping[str, str]) -> None:
    """Refuse a server that other machines reach and that asks for no password. Raises ConfigError."""
    password = settings.get(PASSWORD)
    if password is not None and not all(password.partition(":")[::2]):
        raise errors.ConfigError(
            f"{PASSWORD} must be USER:PASSWORD.", received="something else", todo="set it so, or unset it"
        )
    if password is None and not _is_loopback(asked.host):
        raise errors.ConfigError(
            "A server that other machines reach must ask for a password: whoever reaches it can run code here.",
            received=f"--host {asked.host}, and no {PASSWORD}",
            todo=f"set {PASSWORD}=USER:PASSWORD, and put TLS before it; or leave out --host",
        )


def environment(
    asked: Installation, home: Path, service: str, settings: Mapping[str, str], base: Mapping[str, str]
) -> dict[str, str]:
    """The variables of a service: `base`, and the installation's. Only the server gets the server's settings."""
    variables = {
        name: value
        for name, value in base.items()
        if name not in _CLIENT_SETTINGS and not name.startswith(_SERVER_SETTINGS)
    }
    variables |= {"FER_HOME": str(home), "PREFECT_HOME": str(asked.prefect_home), MARK: asked.token}
    variables |= log_format.variables(base.get("FER_LOG_FORMAT", ""))
    if service != SERVER:
        return variables | client_settings(asked, settings)
    ui = asked.url if _is_loopback(asked.host) else f"http://{socket.getfqdn()}:{asked.port}/api"
    return variables | _OF_A_LONG_LIVED_SERVER | {"PREFECT_SERVER_UI_API_URL": ui} | dict(settings)


def client_settings(asked: Installation, settings: Mapping[str, str]) -> dict[str, str]:
    """The variables by which Prefect's client finds the server, and is let in."""
    password = settings.get(PASSWORD)
    return {"PREFECT_API_URL": asked.url} | ({"PREFECT_API_AUTH_STRING": password} if password else {})


def database(settings: Mapping[str, str], prefect_home: Path) -> str:
    """Where the server keeps its runs, without user and password."""
    url = settings.get(DATABASE)
    if url is None:
        return str(prefect_home / "prefect.db")
    parts = urlsplit(url)
    return f"{parts.scheme.partition('+')[0]}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def default_prefect_home(environment: Mapping[str, str]) -> Path:
    """Prefect's home, as Prefect has it in this environment."""
    return Path(environment.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser().resolve()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
