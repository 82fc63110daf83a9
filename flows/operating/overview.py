"""The overview of the installation that the settings name, collected from its disk, its store and Prefect's server."""

import concurrent.futures
import contextvars
import datetime
from pathlib import Path

from fer import errors, settings
from fer.engine import connect, disk
from fer.engine.store import seaweedfs
from fer.registry.registry import Registry as ModelRegistry
from fer.reports.overview import disk_use, kept, models, needs
from fer.reports.overview.document import Disk, Overview, Registry, Server, Service
from flows.operating import installation, own_server, server_state
from flows.operating import services as running

_READERS = 4
_START = "start it: fer up"


def collect(configured: settings.Settings) -> Overview:
    """The present state. What does not answer is said, and waited for some seconds at most."""
    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        used = readers.submit(disk_use.measure, configured)
        services = _services(configured)
        server = readers.submit(contextvars.copy_context().run, _server, configured, services)
        registry = _registry(configured)
        return assembled(configured, services, server.result(), registry, used.result())


def after_a_run(configured: settings.Settings) -> Overview:
    """The same at the end of a run, by whose server it is asked; no store is started for it.

    Where the embedded one has ended with the run the models are as the run left them.
    """
    registry = _registry(configured) if _is_in_reach(configured) else kept.read(configured.home)
    services = _services(configured)
    return assembled(configured, services, server_state.read(), registry, disk_use.measure(configured))


def _is_in_reach(configured: settings.Settings) -> bool:
    return configured.store_endpoint is not None or seaweedfs.status(configured.home) is not None


def assembled(
    configured: settings.Settings, services: tuple[Service, ...], server: Server, registry: Registry, used: Disk
) -> Overview:
    """The overview of these parts, with what needs a person."""
    own = installation.load(configured.home)
    if own is not None and own.is_up:  # its own workers stand for its pool
        others = tuple(service for service in server.services if service.name != server_state.worker_of(own.pool))
        server = server.model_copy(update={"services": others})
    elif server.url is not None:
        is_down = not server.answers or bool(server.problem)
        text = f"{server.url} {server.problem}".strip()
        configured_one = Service(name=installation.SERVER, state="down" if is_down else "up", text=text, todo=_START)
        services = (configured_one, *services)
    if registry.problem and configured.store_endpoint is not None:
        services = tuple(service for service in services if service.name != running.STORE)
        down = Service(name=running.STORE, state="down", text=registry.problem, todo="fer doctor")
        services, registry = (*services, down), registry.model_copy(update={"problem": ""})
    overview = Overview(
        made_utc=datetime.datetime.now(datetime.UTC).replace(microsecond=0),
        home=str(configured.home),
        services=services,
        server=server,
        registry=registry,
        disk=used,
    )
    return overview.model_copy(update={"needs": needs.of(overview)})


def _services(configured: settings.Settings) -> tuple[Service, ...]:
    """The processes of the installation that `fer up` started; without one the store alone."""
    own = installation.load(configured.home)
    if own is not None and own.is_up:
        found = [_service(service) for service in running.services(configured.home)]
    elif configured.store_endpoint is None:
        there = seaweedfs.status(configured.home)
        text = f"embedded, at {there.endpoint}" if there else "embedded; started by whoever needs it"
        found = [Service(name=running.STORE, state="up" if there else "unused", text=text)]
    else:
        found = []
    if configured.store_endpoint is not None:
        found.append(Service(name=running.STORE, state="up", text=configured.store_endpoint))
    return tuple(found)


def _service(service: running.Service) -> Service:
    if service.pid is None:
        return Service(name=service.name, state="down", text="does not run", todo=_START)
    where = f"{service.address}, process {service.pid}" if service.address else f"process {service.pid}"
    if not service.healthy:
        return Service(name=service.name, state="down", text=f"{where}, does not answer", todo="fer down, then fer up")
    return Service(name=service.name, state="up", text=where)


def _server(configured: settings.Settings, services: tuple[Service, ...]) -> Server:
    """The configured server, else that of the installation, where it answers."""
    if any(service.name == installation.SERVER and service.state == "down" for service in services):
        return Server(problem="the installation's server does not answer")
    try:
        own_server.use(configured.home, patience_s=0)
    except errors.PrefectUnavailable as error:
        return Server(problem=str(error))
    return server_state.read()


def _registry(configured: settings.Settings) -> Registry:
    """The models, for which an embedded store that does not run is started."""
    if configured.store_endpoint is None and not configured.home.is_dir():
        return Registry()
    try:
        with connect.store(configured) as store, connect.workspace(configured) as workspace:
            return models.all_standing(ModelRegistry(store), workspace)
    except errors.FerError as error:
        return Registry(problem=str(error))


def page_path(configured: settings.Settings) -> Path:
    """Where the page lies, unless another place is asked for."""
    return configured.home / "reports" / "overview.html"


def write(path: Path, text: str) -> None:
    """Write a page or metrics whole, in place of what is there. Raises ConfigError where that can't be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write(path, text.encode())
    except OSError as error:
        raise errors.ConfigError(
            "The overview must be written to a file.",
            received=f"{path}: {error.strerror}",
            todo="name another: --html FILE",
        ) from error
