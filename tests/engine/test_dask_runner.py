"""The Dask runner with real schedulers and workers, on a small stage of its own."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import distributed
import prepared
import pytest

from fer import errors
from fer.engine import connect, dask_runner, disk, runners
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.objects import Objects
from fer.engine.refs import Ref
from fer.engine.remote_workspace import RemoteWorkspace
from fer.engine.store import objectstore
from fer.engine.workspace import Workspace
from fer.ingest.refs import DatasetRef
from fer.settings import Settings
from fer.shards import balance, preprocess, preprocessing
from fer.shards.refs import ShardsRef

pytestmark = pytest.mark.end_to_end

N = 6


@dataclass(frozen=True)
class Shout:
    """The file `name`: the input in capitals. `trouble` comes the first time, for who has `traces`."""

    name: str
    traces: Path
    trouble: str = ""
    n_images: int = 2

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)


def shout(folders: runners.Folders, item: Shout) -> str:
    path = folders.out / item.name
    if path.exists():
        (item.traces / f"{item.name} kept").touch()
        return path.read_text()
    if item.trouble:
        trouble = item.traces / f"{item.name} in trouble"
        had_trouble = trouble.exists()
        trouble.touch()
        if item.trouble == "error":
            raise errors.SourceError("The input must be fit.", received=item.name, todo="mend it")
        if item.trouble == "death" and not had_trouble:
            os.kill(os.getpid(), signal.SIGKILL)
        if item.trouble == "deaths":
            os.kill(os.getpid(), signal.SIGKILL)
        if item.trouble == "wait":
            time.sleep(5)
    text = f"{(folders.inputs[0] / 'word').read_text().upper()} {item.name}"
    disk.write(path, text.encode())
    (item.traces / f"{item.name} made").touch()
    return text


def word(workspace: Workspace) -> DatasetRef:
    def produce(out: Path) -> DatasetRef:
        (out / "word").write_text("happy")
        return DatasetRef(source="demo", n_files=1, size_bytes=5)

    return workspace.run("say", "k", DatasetRef, produce, resumable=False)


def loud(workspace: Workspace, runner: runners.Runner, traces: Path, troubles: dict[int, str] | None = None):
    """The stage: N files; its Ref, its results and what its progress said."""
    traces.mkdir(exist_ok=True)
    source = word(workspace)
    counts: list[tuple[int, int, str]] = []
    results: list[str] = []

    def produce(out: Path) -> DatasetRef:
        items = (Shout(f"f{number}", traces, (troubles or {}).get(number, "")) for number in range(N))
        results.extend(
            runner.run(
                shout,
                items,
                place=runners.Place(workspace, [source], out),
                n_images=2 * N,
                progress=lambda *report: counts.append(report),
                text="words",
            )
        )
        return DatasetRef(source="loud", n_files=N, size_bytes=1)

    output = workspace.run("shout", "k", DatasetRef, produce, resumable=True)
    return output, results, counts


def contents(workspace: Workspace, ref: Ref) -> dict[str, bytes]:
    """The output's files but its record, which says when it was made."""
    return {path.name: path.read_bytes() for path in workspace.folder(ref).iterdir() if path.name != "_ref.json"}


def traced(traces: Path, what: str) -> int:
    return len([path for path in traces.iterdir() if path.name.endswith(what)])


@dataclass(frozen=True)
class Cluster:
    """A scheduler, and two workers with a home of their own each, whose workspace is in `store`."""

    address: str
    scheduler: int  # its process
    store: objectstore.ObjectStore
    folder: Path


@pytest.fixture(scope="module")
def cluster(store_home, tmp_path_factory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    settings = Settings(home=store_home, store_endpoint=None, store_prefix=uuid.uuid4().hex)
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(connect.store(settings))
        secret = json.loads((store_home / "store" / "credentials.json").read_text())
        environment = {
            "FER_WORKSPACE": f"s3://{store.bucket}/{store.prefix}",
            "FER_STORE_ENDPOINT": store.endpoint,
            "FER_STORE_ACCESS_KEY_ID": secret["access_key_id"],
            "FER_STORE_SECRET_ACCESS_KEY": secret["secret_access_key"],
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(prepared.__file__).parent)]),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
        }
        file = folder / "scheduler.json"
        scheduler = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
        process = stack.enter_context(dask(scheduler, folder, environment))
        workers = ["worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard"]
        for number in range(2):
            home = folder / f"machine {number}"
            home.mkdir()
            stack.enter_context(dask(workers, home, environment))
        deadline = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        with distributed.Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield Cluster(address, process, store, folder)


@contextlib.contextmanager
def dask(arguments: list[str], home: Path, environment: dict[str, str]) -> Iterator[int]:
    """A Dask process that works in `home`, where its log is."""
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments],
            cwd=home,
            env={**os.environ, **environment, "FER_HOME": str(home)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def expected(tmp_path) -> dict[str, bytes]:
    workspace = LocalWorkspace(tmp_path / "expected")
    return contents(workspace, loud(workspace, runners.Processes(1), tmp_path / "expected traces")[0])


def test_a_cluster_of_its_own_gives_what_processes_give(tmp_path, expected):
    workspace = LocalWorkspace(tmp_path / "workspace")
    output, results, counts = loud(workspace, dask_runner.Dask(), tmp_path / "traces")
    assert contents(workspace, output) == expected
    assert results == [f"HAPPY f{number}" for number in range(N)]
    assert counts == [(2 * number, 2 * N, "words") for number in range(1, N + 1)]


def test_a_killed_worker_costs_nothing(cluster, tmp_path, expected):
    workspace = LocalWorkspace(tmp_path / "workspace")
    output, _, _ = loud(workspace, dask_runner.Dask(cluster.address), tmp_path / "traces", {2: "death"})
    assert contents(workspace, output) == expected


def test_a_result_that_is_here_counts_though_its_worker_dies_at_once(tmp_path):
    class Lost:
        """A future of Dask's whose result was brought here before its worker died, and its state with it."""

        status = "error"

        def add_done_callback(self, callback):
            callback(self)

        def result(self):
            return "made", {}

    assert dask_runner._take(Lost(), lambda: False, tmp_path, None) == "made"


def test_a_piece_that_kills_every_worker_is_an_error_and_finished_ones_are_kept(cluster, tmp_path, expected):
    workspace, traces = LocalWorkspace(tmp_path / "workspace"), tmp_path / "traces"
    with pytest.raises(errors.WorkspaceError, match="several were killed over one work item during 'words'"):
        loud(workspace, dask_runner.Dask(cluster.address), traces, {2: "deaths"})
    finished = {path.name.removesuffix(" made") for path in traces.glob("* made")}
    assert finished  # how many, depends on which of them its workers died with
    output, _, _ = loud(workspace, dask_runner.Dask(cluster.address), traces)
    assert contents(workspace, output) == expected
    assert finished <= {path.name.removesuffix(" kept") for path in traces.glob("* kept")}


def test_an_error_of_a_piece_comes_out_as_it_is(cluster, tmp_path):
    with pytest.raises(errors.SourceError, match=r"must be fit\. Received: f3\. Next: mend it\.") as caught:
        loud(
            LocalWorkspace(tmp_path / "workspace"), dask_runner.Dask(cluster.address), tmp_path / "traces", {3: "error"}
        )
    assert caught.value.exit_code == errors.SourceError.exit_code


def test_a_cluster_that_is_lost_ends_the_run(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_runner, "_LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(dask_runner, "_n_threads", lambda client: 0 if list(tmp_path.glob("traces/f1 *")) else 2)
    monkeypatch.setattr(dask_runner, "_WORKERS_TIMEOUT_S", 0.2)
    with pytest.raises(errors.WorkspaceError, match=r"they were lost during 'words'.*finished shards are kept"):
        loud(
            LocalWorkspace(tmp_path / "workspace"), dask_runner.Dask(cluster.address), tmp_path / "traces", {1: "wait"}
        )


def test_a_scheduler_that_is_there_but_does_not_answer_ends_the_run(cluster, tmp_path, monkeypatch):
    n_threads = dask_runner._n_threads

    def ask(client) -> int:
        if list(tmp_path.glob("traces/f1 *")):
            monkeypatch.setattr(dask_runner, "_CONNECT_TIMEOUT_S", 0.2)
            os.kill(cluster.scheduler, signal.SIGSTOP)
        return n_threads(client)

    monkeypatch.setattr(dask_runner, "_LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(dask_runner, "_n_threads", ask)
    monkeypatch.setattr(dask_runner, "_WORKERS_TIMEOUT_S", 1)
    try:
        with pytest.raises(errors.WorkspaceError, match="they were lost during 'words'"):
            loud(
                LocalWorkspace(tmp_path / "workspace"),
                dask_runner.Dask(cluster.address),
                tmp_path / "traces",
                {1: "wait"},
            )
    finally:
        os.kill(cluster.scheduler, signal.SIGCONT)


def test_workers_that_do_not_see_the_folder_refuse(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_runner, "_seen_by_workers", lambda out: contextlib.nullcontext("none"))
    with pytest.raises(errors.ConfigError, match=r"must see the workspace .* at tcp://.* Next: share the folder"):
        loud(LocalWorkspace(tmp_path / "here"), dask_runner.Dask(cluster.address), tmp_path / "traces")


def test_workers_with_other_code_refuse(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_runner.fingerprint, "of_module", lambda name: "another")
    with pytest.raises(errors.ConfigError, match=r"must run the code of this run.*another version at tcp://"):
        loud(LocalWorkspace(tmp_path / "here"), dask_runner.Dask(cluster.address), tmp_path / "traces")


def test_workers_with_another_workspace_refuse(cluster, store, tmp_path):
    workspace = RemoteWorkspace(tmp_path / "workspace", store)
    with pytest.raises(errors.ConfigError, match=r"must have the workspace of the run.* Next: set FER_WORKSPACE=s3://"):
        loud(workspace, dask_runner.Dask(cluster.address), tmp_path / "traces")


def test_workers_with_a_workspace_of_that_name_in_another_store_refuse(cluster, store, tmp_path, monkeypatch):
    workspace = RemoteWorkspace(tmp_path / "workspace", store)
    monkeypatch.setattr(Objects, "uri", f"s3://{cluster.store.bucket}/{cluster.store.prefix}")
    with pytest.raises(errors.ConfigError, match=r"must have the workspace .*none of its outputs in the store at http"):
        loud(workspace, dask_runner.Dask(cluster.address), tmp_path / "traces")


@pytest.mark.parametrize(
    "name", ["dask:localhost:8786", "dask:tcp://localhost", "dask:http://localhost:1", "dask:tcp://u:p@host:1", "Dask"]
)
def test_what_is_no_runner_is_refused(name):
    with pytest.raises(errors.ConfigError, match=r"must be processes, dask, or dask:tcp://HOST:PORT"):
        dask_runner.chosen(name)


def test_a_runner_is_chosen_by_its_name():
    assert dask_runner.chosen("processes") == runners.Processes()
    assert dask_runner.chosen("dask") == dask_runner.Dask()
    for address in ("tcp://10.0.0.5:8786", "tls://gpu-1.example.org:1", "tcp://[::1]:8786"):
        assert dask_runner.chosen(f"dask:{address}") == dask_runner.Dask(address)


def test_a_scheduler_that_does_not_answer_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_runner, "_CONNECT_TIMEOUT_S", 0.2)
    with pytest.raises(errors.ConfigError, match=r"scheduler at tcp://127\.0\.0\.1:9 must answer"):
        loud(LocalWorkspace(tmp_path / "here"), dask_runner.Dask("tcp://127.0.0.1:9"), tmp_path / "traces")


def test_machines_that_share_only_a_bucket_give_what_processes_give(cluster, tmp_path, expected):
    workspace, traces = RemoteWorkspace(tmp_path / "here", cluster.store), tmp_path / "traces"
    with pytest.raises(errors.SourceError):  # a run that ends before its output is whole
        loud(workspace, dask_runner.Dask(cluster.address), traces, {1: "death", 5: "error"})
    shutil.rmtree(tmp_path / "here")  # and goes on upon another machine
    output, results, _ = loud(workspace, dask_runner.Dask(cluster.address), traces)
    assert contents(workspace, output) == expected
    assert results == [f"HAPPY f{number}" for number in range(N)]
    assert traced(traces, "kept") == N - 1
    assert list(cluster.store.list(".partial/")) == []
    used = [home for home in cluster.folder.glob("machine *") if list(home.glob("workspaces/*/say/k/word"))]
    assert used  # the workers fetched the input to their own homes
    left = [path for home in used for path in home.glob("workspaces/*/.scratch/*")]
    assert len(left) == 1  # of the worker that was killed


def test_shards_and_their_balance_are_the_same_by_machines_and_by_processes(cluster, tmp_path):
    rows, encoded = prepared.drawn()

    def balanced_by(workspace: Workspace, runner: runners.Runner) -> list[ShardsRef]:
        manifest, split = prepared.dataset(workspace, rows, encoded)
        config = preprocessing.PreprocessConfig(height=16, width=16, images_per_shard=5)
        shards = preprocess.preprocess(manifest, split, config, workspace=workspace, runner=runner)
        return [shards, balance.balance(shards, balance.BalanceConfig(), workspace=workspace, runner=runner)]

    class Interrupted(dask_runner.Dask):
        """Stopped when a third of the images are done."""

        def run(self, *args, progress, **options):
            def stop(done: int, total: int, note: str) -> None:
                if done > total / 3:
                    raise KeyboardInterrupt

            return super().run(*args, progress=stop, **options)

    here = LocalWorkspace(tmp_path / "here")
    by_processes = balanced_by(here, runners.Processes(2, alone_s=0))
    there = RemoteWorkspace(tmp_path / "there", cluster.store)
    with pytest.raises(KeyboardInterrupt):
        balanced_by(there, Interrupted(cluster.address))
    assert list(cluster.store.list(".partial/preprocess/"))
    by_machines = balanced_by(there, dask_runner.Dask(cluster.address))
    assert by_machines == by_processes
    for ref in by_processes:
        assert prepared.files(there, ref) == prepared.files(here, ref)
    assert list(cluster.store.list(".partial/")) == []


def test_what_a_killed_worker_left_is_removed_after_a_day(tmp_path):
    old, young = (tmp_path / ".scratch" / name for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 2 * 86_400,) * 2)
    with dask_runner._scratch(tmp_path) as scratch:
        assert set(scratch.parent.iterdir()) == {young, scratch}
    assert list((tmp_path / ".scratch").iterdir()) == [young]
