"""An installation by `fer up`, on SQLite and on PostgreSQL: deployed to, used, repaired, and ended without a trace."""

import json
import os
import signal

import installed
import psutil
import pytest
from installed import Installed
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.sorting import FlowRunSort

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    """The variables that name the server's database."""
    if request.param == "sqlite":
        return {}
    return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": request.getfixturevalue("postgresql_url")}


def runs_of(installation: Installed, deployment: str) -> list[tuple[str, str]]:
    """The names of the states of its runs, and their messages, the newest first."""
    with installation.client() as client:
        of = {"deployment_id": {"any_": [client.read_deployment_by_name(deployment).id]}}
        newest = FlowRunSort.EXPECTED_START_TIME_DESC
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(of), sort=newest)
    return [(run.state.name, run.state.message) for run in runs]


def test_an_installation_is_brought_up_used_repaired_and_ended(tmp_path, database):
    with installed.up(tmp_path, **database) as installation:
        server = installation.pid("server")

        installation.prefect("deploy", "--all")
        parameters = json.dumps(installed.few_faces())
        run = ["deployment", "run", "retrain/demo", "--params", parameters, "--watch"]
        installation.prefect(*run)
        assert [name for name, _ in runs_of(installation, "retrain/demo")] == ["Released"]
        assert "demo@champion" in installation.fer("models", "show", "demo@1")
        for secret in (url.partition("@")[0].rpartition(":")[2] for url in database.values()):
            assert secret not in installation.logs()
            assert not any(secret in " ".join(process.cmdline()) for process in installation.processes())

        killed = psutil.Process(installation.pid("worker-1"))
        killed.kill()
        killed.wait(60)
        assert "worker-1" in installation.fer("up")  # no variable is needed any more
        assert installation.pid("worker-1") != killed.pid
        assert installation.pid("server") == server

        interrupted = [argument for argument in run if argument != "--watch"]
        installation.prefect(*interrupted, "--param", "model_name=another")
        installed.until(lambda: runs_of(installation, "retrain/demo")[0][0] == "Running")
        said = installation.fer("down")
        assert "ended while at work, run it again to go on: " in said
        installed.until(lambda: installation.processes() == [])  # the store's keeper ends a moment after its store

        installation.fer("up")
        assert runs_of(installation, "retrain/demo")[0][0] == "Crashed"
        os.kill(installation.pid("server"), signal.SIGKILL)
        installation.fer("up")
        assert runs_of(installation, "retrain/demo")[1][0] == "Released"
    installed.until(lambda: installation.processes() == [])
