"""The database of a server with the settings of `fer up` forgets old runs, as Prefect's own vacuum does it."""

import datetime
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import prefect_server
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.flows import flow
from prefect.states import Completed

from flows.operating import installation

_TIMEOUT_S = 120


@flow
def nothing():
    pass


@pytest.fixture
def server(tmp_path):
    """A client of a server as `fer up` starts it, but that looks for old runs each second; and its database."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shutil.copyfile(prefect_server.migrated_database(), tmp_path / "prefect.db")
    asked = installation.Installation(port=port, prefect_home=tmp_path)
    often = {"PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "1"}
    environment = installation.environment(asked, tmp_path, installation.SERVER, often, os.environ)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", asked.host, "--port", str(port)]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            deadline = time.monotonic() + _TIMEOUT_S
            with SyncPrefectClient(asked.url) as client:
                while client.api_healthcheck() is not None and time.monotonic() < deadline:
                    time.sleep(0.2)
                yield client, tmp_path / "prefect.db"
        finally:
            process.terminate()


def test_a_run_that_ended_over_90_days_ago_goes_and_a_younger_one_stays(server):
    client, database = server
    ended = {}
    for days in (91, 89):
        run = client.create_flow_run(nothing)
        client.set_flow_run_state(run.id, Completed(), force=True)
        ended[run.id] = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        for run_id, when in ended.items():
            values = (when.strftime("%Y-%m-%d %H:%M:%S.%f"), str(run_id))
            assert connection.execute("UPDATE flow_run SET end_time = ? WHERE id = ?", values).rowcount == 1
        connection.commit()
    old, young = ended
    deadline = time.monotonic() + _TIMEOUT_S
    while old in (left := {run.id for run in client.read_flow_runs()}) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left == {young}
