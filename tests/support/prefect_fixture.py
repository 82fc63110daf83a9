"""Fixtures: one real Prefect server for the session, and a home for the runs of a test module."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A temporary Prefect server with a database of its own."""
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="module")
def home(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A FER_HOME for the module's runs, whose embedded store stays up between them."""
    from fer.engine.store import seaweedfs

    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_HOME", str(folder))
        patch.delenv("FER_STORE_ENDPOINT", raising=False)
        with seaweedfs.running(folder):
            yield folder
