"""The store and the workspace that the settings name.

Within `store(settings)` and `workspace(settings)` the embedded store runs, where the settings name no other. What knows
that it runs calls `running_store` and `running_workspace`.
"""

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fer.engine import usage
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.read_only import ReadOnlyWorkspace
from fer.engine.remote_workspace import RemoteWorkspace
from fer.engine.store import objectstore, probing, seaweedfs
from fer.engine.store.credentials import Credentials
from fer.engine.workspace import Say, Workspace, log
from fer.settings import Settings, overridden


@contextlib.contextmanager
def store(settings: Settings) -> Iterator[objectstore.ObjectStore]:
    """The store that the settings name; without one the embedded store, for as long as the `with` block lasts.

    Raises StoreUnavailable where the embedded store does not start, and WorkspaceError where its folder can't be
    written.
    """
    if settings.store_endpoint is not None:
        yield running_store(settings)
        return
    with seaweedfs.running(settings.home):
        embedded = running_store(settings)
        embedded.ensure_bucket()
        yield embedded


def running_store(settings: Settings) -> objectstore.ObjectStore:
    """The same for those who know that it runs, as within `store`. Raises StoreUnavailable if none was started."""
    if settings.store_endpoint is None:
        endpoint, credentials = seaweedfs.access(settings.home)
    else:
        endpoint, credentials = settings.store_endpoint, None
        if settings.store_access_key_id is not None and settings.store_secret_access_key is not None:
            credentials = Credentials(settings.store_access_key_id, settings.store_secret_access_key)
    proofs = None if settings.store_endpoint is None else _proofs(settings)
    return _store(endpoint, settings.store_bucket, credentials, settings.store_region, settings.store_prefix, proofs)


@contextlib.contextmanager
def workspace(settings: Settings) -> Iterator[Workspace]:
    """The workspace that the settings name, and its store, held for as long as the `with` block lasts.

    What was used in it since then is not removed meanwhile. Raises StoreError if its store or bucket is of no use.
    """
    if settings.remote_workspace is None:
        with usage.working(settings.workspace_folder):
            yield running_workspace(settings)
        return
    with usage.working(settings.workspace_folder), store(settings):
        connected = running_workspace(settings)
        if connected.objects is not None:
            if settings.store_endpoint is None:
                connected.objects.store.ensure_bucket()
            connected.objects.store.ping()
        yield connected


def was_of_use(settings: Settings, store: objectstore.ObjectStore) -> bool:
    """Whether a store that the settings name, and that is not the embedded one, answered here before."""
    return settings.store_endpoint is not None and probing.is_known(store, _proofs(settings))


def _proofs(settings: Settings) -> Path:
    return settings.home / "probed-stores"


def running_workspace(settings: Settings, *, made_by: str = "", say: Say = log) -> Workspace:
    """The workspace that the settings name: a folder, or one in their store, which must run, as within `workspace`.

    `made_by` and `say`: see Workspace.
    Raises StoreUnavailable where the embedded store does not run.
    """
    location = settings.remote_workspace
    if location is None:
        return LocalWorkspace(settings.workspace_folder, made_by=made_by, say=say)
    there = settings.model_copy(update={"store_bucket": location.bucket, "store_prefix": location.prefix})
    return RemoteWorkspace(settings.workspace_folder, running_store(there), made_by=made_by, say=say)


@contextlib.contextmanager
def looked_at(settings: Settings) -> Iterator[ReadOnlyWorkspace]:
    """The workspace that the settings name, to be looked at and not written within the `with` block.

    What must be fetched goes to a folder that is removed at the block's end. Raises as `store` does, if it is in one.
    """
    location = settings.remote_workspace
    with tempfile.TemporaryDirectory() as aside, contextlib.ExitStack() as held:
        there: Workspace
        if location is None:
            there = LocalWorkspace(settings.workspace_folder, read_only=True)
        else:
            held.enter_context(store(settings))
            bucket = settings.model_copy(update={"store_bucket": location.bucket, "store_prefix": location.prefix})
            there = RemoteWorkspace(settings.workspace_folder, running_store(bucket), read_only=True)
        yield ReadOnlyWorkspace(there, Path(aside))


@contextlib.contextmanager
def alone(settings: Settings, home: Path) -> Iterator[None]:
    """Have the settings name a home of its own, with a workspace in it, within the `with` block, and the same store.

    The store must run, as within `store`. It is the environment that changes: child processes have it too.
    """
    own = {
        "FER_HOME": str(home),
        "FER_WORKSPACE": str(home / "workspace"),
        "FER_TRUSTED_KEYS": str(settings.trusted_keys),
    }
    if settings.store_endpoint is None:
        endpoint, credentials = seaweedfs.access(settings.home)
        own["FER_STORE_ENDPOINT"] = endpoint
        if credentials is not None:
            own["FER_STORE_ACCESS_KEY_ID"] = credentials.access_key_id
            own["FER_STORE_SECRET_ACCESS_KEY"] = credentials.secret_access_key.get_secret_value()
    with overridden(own):
        yield


def has_store(settings: Settings) -> bool:
    """Whether there is a store that something may be in: an embedded one is made when it is first needed."""
    return settings.store_endpoint is not None or (settings.home / "store").is_dir()


@functools.lru_cache
def _store(
    endpoint: str, bucket: str, credentials: Credentials | None, region: str, prefix: str, proofs: Path | None
) -> objectstore.ObjectStore:
    """One for all that ask for the same: its connections are kept. Before the first conditional put it is found out
    whether it honours these, unless a file in `proofs` says so; None: it is known to."""
    made = objectstore.ObjectStore(endpoint, bucket, credentials, region=region, prefix=prefix)
    if proofs is not None:
        made.before_conditions = functools.partial(probing.require_once, made, proofs)
    return made
