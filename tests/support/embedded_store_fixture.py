"""Fixtures: one real SeaweedFS for the whole session, and a store of its own for each test in it."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from fer.engine import connect
from fer.engine.store import objectstore, seaweedfs
from fer.settings import Settings


@pytest.fixture(scope="session")
def store_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A FER_HOME whose embedded store runs until the session ends."""
    home = tmp_path_factory.mktemp("home")
    with seaweedfs.running(home):
        yield home


@pytest.fixture
def store_settings(store_home: Path) -> Settings:
    """Settings for that store, with a prefix that no other test has."""
    return Settings(home=store_home, store_endpoint=None, store_prefix=uuid.uuid4().hex)


@pytest.fixture
def store(store_settings: Settings) -> Iterator[objectstore.ObjectStore]:
    """An empty store."""
    with connect.store(store_settings) as connected:
        yield connected
