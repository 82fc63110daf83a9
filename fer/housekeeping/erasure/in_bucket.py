"""What a workspace in a bucket has beside its records: outputs that only this machine still has, and objects that no
record names."""

import concurrent.futures
from collections.abc import Iterable

from fer.engine import outputs
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.outputs import OutputRecord
from fer.engine.store import objectstore
from fer.engine.store.objectstore import ObjectStore
from fer.engine.workspace import Workspace

_OBJECTS = "objects/"
_UNFINISHED = (".partial/", ".again/", "damaged/")
_TRANSFERS = 8


def records(workspace: Workspace, stage: str) -> list[OutputRecord]:
    """Those of a stage, newest first; then those of outputs that are on this machine and in the bucket no more.

    Raises StoreError.
    """
    found = workspace.records(stage)
    if workspace.objects is None:
        return found
    there = {record.path for record in found}
    return [*found, *(one for one in LocalWorkspace(workspace.root).records(stage) if one.path not in there)]


def unfinished(store: ObjectStore) -> list[objectstore.Listed]:
    """What is there of uploads that came to nothing, of work at several machines, and of what was set aside.

    An upload that another machine is at is among it: without it that output counts as not made. Raises StoreError.
    """
    objects = list(store.list(_OBJECTS))
    aside = [listed for prefix in _UNFINISHED for listed in store.list(prefix)]
    keys = [listed.key for listed in store.list("") if _is_record(listed.key)]
    with concurrent.futures.ThreadPoolExecutor(_TRANSFERS) as threads:
        stored = list(threads.map(store.get, keys))
    known = [outputs.parse_record(one.data) for one in stored if one is not None]
    named = {file["sha256"] for record in known if record is not None for file in record.files.values()}
    return [*(listed for listed in objects if listed.key.removeprefix(_OBJECTS) not in named), *aside]


def remove_objects(workspace: Workspace, keys: Iterable[str]) -> None:
    """Remove objects of a workspace in a bucket. Raises StoreError."""
    if workspace.objects is not None:
        for key in keys:
            workspace.objects.store.delete(key)


def _is_record(key: str) -> bool:
    parts = key.split("/")
    return len(parts) == 3 and parts[2] == outputs.RECORD and not parts[0].startswith(".")


def remove(store: ObjectStore, output: str) -> None:
    """Remove an output, `stage/key`: first its record, so that it counts as never made, then its files.

    One that another output has too is made again with that one. Raises StoreError.
    """
    key = f"{output}/{outputs.RECORD}"
    stored = store.get(key)
    record = outputs.parse_record(stored.data) if stored is not None else None
    store.delete(key)
    for file in {} if record is None else record.files.values():
        store.delete(f"{_OBJECTS}{file['sha256']}")
