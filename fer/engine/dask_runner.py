"""The runner for several machines: a stage's work items as tasks of a Dask cluster.

The workers run this project's code, of this very version. Where the workspace is a folder, they see it at the same
path. Where it is in a bucket, each has a folder of its own (its FER_HOME), and its own FER_WORKSPACE and FER_STORE_…:
no credentials travel. It fetches the inputs, and uploads the finished files with a record for each, so that a file
survives its worker and this run; the run fetches them, since it is where the model will be trained.
"""

import concurrent.futures
import contextlib
import functools
import logging
import math
import re
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fer import errors, redaction
from fer.engine import connect, disk
from fer.engine.code import fingerprint
from fer.engine.local_workspace import ABANDONED_AFTER_S
from fer.engine.objects import Objects
from fer.engine.outputs import RECORD, File
from fer.engine.processes import process_pool
from fer.engine.refs import Ref
from fer.engine.runners import Folders, ItemT, Place, Processes, R, Runner
from fer.engine.workspace import Workspace
from fer.progress import Progress
from fer.settings import Settings

if TYPE_CHECKING:
    from distributed import Client, Future

PATTERN = r"^(processes|dask(:(tcp|tls|ws|wss)://[^\s/@]+:\d+)?)$"
# The server checks it too, where a deployment is run.
Name = Annotated[str, Field(json_schema_extra={"pattern": PATTERN})]
_CONNECT_TIMEOUT_S = 10
_WORKERS_TIMEOUT_S = 60
_LOOK_EVERY_S = 1.0
_PENDING_PER_THREAD = 3  # work items, as in process_pool
_SCRATCH = ".scratch"  # in the workspace of a worker


def chosen(name: Name) -> Runner:
    """Who processes the work items of the stages: this machine's processes, or Dask's workers. Raises ConfigError."""
    if not re.fullmatch(PATTERN, name):
        raise errors.ConfigError(
            "The runner must be processes, dask, or dask:tcp://HOST:PORT (also tls, ws, wss).",
            received=repr(redaction.redacted(name)),
            todo="after dask: give the address that `dask scheduler` prints, or nothing for processes of this machine",
        )
    kind, _, address = name.partition(":")
    return Dask(address or None) if kind == "dask" else Processes()


@dataclass(frozen=True)
class Dask:
    """The workers of the scheduler at `address`; without one, processes of this machine: one per usable core.

    The latter listen on loopback alone, and to nobody without the certificate made for them.
    """

    address: str | None = None

    def run(
        self,
        function: Callable[[Folders, ItemT], R],
        items: Iterable[ItemT],
        *,
        place: Place,
        n_images: int,
        progress: Progress,
        text: str,
    ) -> list[R]:
        """See `runners.Runner`. Raises ConfigError where the cluster is of no use, WorkspaceError if it is lost."""
        workspace, inputs, out = place
        done = 0

        def on_done(item: ItemT) -> None:
            nonlocal done
            done += item.n_images
            progress(done, n_images, text)

        with _seen_by_workers(out) as token, _cluster(self.address) as client:
            # Processes of this machine see its folder, wherever the workspace is.
            objects = workspace.objects if self.address is not None else None
            work = _Work(
                function=function,
                code=fingerprint.of_module(function.__module__),
                inputs=tuple(inputs),
                folders=() if objects is not None else tuple(workspace.folder(ref) for ref in inputs),
                out=out,
                token=token,
                staged=out.relative_to(workspace.root).as_posix() if objects is not None else None,
                workspace=objects.uri if objects is not None else None,
            )
            n_pending = _PENDING_PER_THREAD * _n_threads(client)
            submitted: weakref.WeakSet[Future[Any]] = weakref.WeakSet()  # what is taken is released on the cluster
            takers = concurrent.futures.ThreadPoolExecutor(n_pending)
            with _watched(client) as is_lost:

                def submit(item: ItemT) -> "concurrent.futures.Future[R]":
                    if is_lost():
                        raise concurrent.futures.CancelledError
                    future = client.submit(work, item, pure=False)
                    submitted.add(future)
                    return takers.submit(_take, future, is_lost, out, objects)

                try:
                    return process_pool.bounded(submit, iter(items), lambda: n_pending, on_done)
                except Exception as error:
                    raise _translated(error, text) from error
                finally:
                    if not is_lost():
                        client.cancel(list(submitted))
                    takers.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class _Work:
    """What a worker does with a work item: the result of `function`, and the files that it uploaded."""

    function: Callable[[Folders, Any], Any]
    code: str  # the fingerprint of the function's module
    inputs: tuple[Ref, ...]
    folders: tuple[Path, ...]  # theirs, where the workers see the run's
    out: Path
    token: str  # a file in `out`
    staged: str | None  # the name of the output among those being made in the bucket; None where `out` is seen
    workspace: str | None  # the run's FER_WORKSPACE, where it is in a bucket

    def __call__(self, item: Any) -> tuple[Any, dict[str, File]]:
        if _code(self.function.__module__) != self.code:
            raise _unfit("run the code of this run, with the libraries of this run", "another version")
        if self.staged is None:
            if not (self.out / self.token).is_file():
                todo = "share the folder of the workspace at the same path, or set FER_WORKSPACE to s3://BUCKET/PREFIX"
                raise _unfit("see the workspace of the run", f"no folder {self.out}", todo)
            return self.function(Folders(self.folders, self.out), item), {}
        settings = Settings.load()
        if str(settings.workspace) != self.workspace:
            raise self._elsewhere(str(settings.workspace))
        with connect.workspace(settings) as workspace, _scratch(workspace.root) as scratch:
            return self._remotely(workspace, self.staged, scratch, item)

    def _remotely(self, workspace: Workspace, staged: str, scratch: Path, item: Any) -> tuple[Any, dict[str, File]]:
        objects = workspace.objects
        if objects is None:
            raise self._elsewhere(str(workspace.root))
        try:
            folders = tuple(workspace.folder(ref) for ref in self.inputs)
        except errors.WorkspaceError as error:
            if all(objects.store.size(f"{ref.path}/{RECORD}") is not None for ref in self.inputs):
                raise
            raise self._elsewhere(f"none of its outputs in the store at {objects.store.endpoint}") from error
        for name in item.names:
            finished = objects.finished(staged, name)
            if finished is not None:
                with contextlib.suppress(errors.IntegrityError):  # lost: made again
                    objects.download(finished, scratch / name)
        result = self.function(Folders(folders, scratch), item)
        files = {name: objects.share_finished(staged, name, scratch / name) for name in item.names}
        return result, files

    def _elsewhere(self, received: str) -> Exception:
        todo = f"set FER_WORKSPACE={self.workspace} there, and FER_STORE_… as for the run"
        return _unfit("have the workspace of the run", received, todo)


def _take(
    future: "Future[tuple[R, dict[str, File]]]",
    is_lost: Callable[[], bool],
    out: Path,
    objects: Objects | None,
) -> R:
    """The result of a work item, once its files are in `out`. Raises CancelledError if the cluster is lost."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    while not done.wait(_LOOK_EVERY_S):
        if is_lost():
            raise concurrent.futures.CancelledError
    # Not by Dask's own executor, which reads a result and its state one after the other: between the two a worker's
    # death can make an error of what was done.
    result, files = future.result()
    if objects is not None:  # else the workers see `out`
        for name, file in files.items():
            objects.download(file, out / name)
    return result


@contextlib.contextmanager
def _seen_by_workers(out: Path) -> Iterator[str]:
    """The name of a file in `out` by which a worker knows the folder."""
    with disk.staging_file(out / "seen") as path:
        path.touch()
        yield path.name


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator["Client"]:
    import dask
    from distributed import Client, LocalCluster

    with contextlib.ExitStack() as stack:
        if address is None:
            # Else it gives a worker up that was killed and, on a loaded machine, is not back after 15 s.
            stack.enter_context(dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}))
            cluster = LocalCluster(
                n_workers=process_pool.usable_workers(),
                threads_per_worker=1,
                host="127.0.0.1",
                security=True,
                dashboard_address=None,
                memory_limit=None,
                silence_logs=logging.CRITICAL,
            )
            client = stack.enter_context(Client(stack.enter_context(cluster)))
        else:
            try:
                client = stack.enter_context(Client(address, timeout=_CONNECT_TIMEOUT_S, set_as_default=False))
            except OSError as error:
                raise errors.ConfigError(
                    f"The Dask scheduler at {address} must answer.",
                    received=type(error).__name__,
                    todo="start it (`dask scheduler`), or correct the address; tls:// needs Dask's certificates",
                ) from error
        try:
            client.wait_for_workers(1, timeout=_WORKERS_TIMEOUT_S)
        except TimeoutError as error:
            raise errors.ConfigError(
                "The Dask scheduler must have workers.",
                received=f"none in {_WORKERS_TIMEOUT_S} s",
                todo=f"start some where this project is installed: dask worker {address} --nthreads 1",
            ) from error
        yield client


def _n_threads(client: "Client") -> int:
    """How many work items the workers can process at once. Raises TimeoutError if the scheduler doesn't say."""
    if client.scheduler is None:
        raise concurrent.futures.CancelledError("the client is closed")
    return sum(client.sync(client.scheduler.ncores, callback_timeout=_CONNECT_TIMEOUT_S).values())


@contextlib.contextmanager
def _watched(client: "Client") -> Iterator[Callable[[], bool]]:
    """Whether the scheduler is gone, or has had no workers for a minute: Dask itself would wait for ever."""
    is_over, is_lost = threading.Event(), threading.Event()

    def watch() -> None:
        seen = time.monotonic()
        while not is_over.wait(_LOOK_EVERY_S):
            try:
                seen = time.monotonic() if _n_threads(client) else seen
            except TimeoutError:  # the scheduler is busy: whether it has workers is not known
                pass
            except Exception:  # noqa: BLE001 - whatever distributed raises, no worker can be reached
                seen = -math.inf
            if time.monotonic() - seen > _WORKERS_TIMEOUT_S:
                is_lost.set()
                return

    threading.Thread(target=watch, name="watch-dask-workers", daemon=True).start()
    try:
        yield lambda: is_lost.is_set() or client.status == "closed"
    finally:
        is_over.set()


@contextlib.contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    """An empty folder for a work item; what killed workers left a day ago is removed."""
    folder = root / _SCRATCH
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED_AFTER_S:
                shutil.rmtree(path, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        yield Path(scratch)


@functools.cache  # as of the first work item: it is the code loaded then that runs
def _code(module: str) -> str:
    return fingerprint.of_module(module)


def _unfit(must: str, received: str, todo: str = "install the run's version there and restart the worker") -> Exception:
    from distributed import get_worker

    return errors.ConfigError(
        f"Every Dask worker must {must}.", received=f"{received} at {get_worker().address}", todo=todo
    )


def _translated(error: Exception, text: str) -> Exception:
    from distributed import KilledWorker
    from distributed.client import ClosedClientError

    if isinstance(error, KilledWorker):
        return errors.WorkspaceError(
            "Every worker must live until its work is done.",
            received=f"several were killed over one work item during '{text}', most often because memory ran out",
            todo="look at the workers' logs, then run the same command again; finished shards are kept",
        )
    if isinstance(error, (concurrent.futures.CancelledError, ClosedClientError)):
        return errors.WorkspaceError(
            "The Dask scheduler and its workers must live until the work is done.",
            received=f"they were lost during '{text}'",
            todo="look at their logs, then run the same command again; finished shards are kept",
        )
    if isinstance(error, ImportError) or "deserialization" in str(error):
        return errors.ConfigError(
            "The Dask scheduler and its workers must have this project.",
            received=f"{type(error).__name__}: {error}",
            todo="install the run's version there, and start them from that environment",
        )
    return error
