"""Fixtures: one real Prefect server for the test run, and a home for the runs of a test module."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock
import prefect_server as server
import pytest
import shared


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """The URL of a temporary Prefect server, by which flows run; the other processes of this test run share it.

    Heartbeats are sent as by the `fer` command, or each run would wait up to a second for Prefect's thread.
    """
    from prefect import context
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

    from tasks.runs import heartbeats

    with (
        server.running() as url,
        temporary_settings({PREFECT_API_URL: url, PREFECT_LOGGING_TO_API_ENABLED: False}),
        heartbeats.in_place_of_prefects(),
    ):
        with context._temporary_global_settings_context(context.get_settings_context()):  # Prefect's threads read these
            yield url
        APILogWorker.drain_all()
        EventsWorker.drain_all()


@pytest.fixture(scope="module")
def home(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A FER_HOME for the module's runs, whose embedded store stays up between them. What is timed in this process is
    timed in as few rounds as there may be."""
    from fer.engine.store import seaweedfs
    from fer.evaluation.comparing import costs
    from fer.registry import trial

    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for timing in (costs, trial):
            patch.setattr(timing, "_SECONDS", 0)
        patch.setenv("FER_HOME", str(folder))
        patch.delenv("FER_STORE_ENDPOINT", raising=False)
        with seaweedfs.running(folder):
            yield folder


@pytest.fixture
def bare_server(prefect_server: str) -> Iterator[str]:
    """The server without what an installation has on it, before and after; one test at a time of all processes."""
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.exceptions import ObjectNotFound

    from flows.operating import automations, installation

    def clear() -> None:
        for wanted in automations.wanted(client):
            for there in client.read_automations_by_name(wanted.name):
                client.delete_automation(there.id)
        with contextlib.suppress(ObjectNotFound):
            client.delete_work_pool(installation.POOL)

    with filelock.FileLock(shared.folder() / "bare-server.lock"), SyncPrefectClient(prefect_server) as client:
        clear()
        yield prefect_server
        clear()
