"""Fixtures of `make test-system`: what a machine may lack. A test is skipped where its part is not there.

`FER_REQUIRE_SYSTEM=1` makes that a failure: for a machine on which all of it is to be there, as that of `.ci/run`.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

import browser
import postgresql
import pytest

if TYPE_CHECKING:
    from installed import Installed

REQUIRED = "FER_REQUIRE_SYSTEM"


def left_out(part: str, fix: str) -> NoReturn:
    """End the test, which can't be run without `part`: skipped, or failed where everything is to be there."""
    text = f"{part} is not on this machine: {fix}"
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{text} ({REQUIRED}=1 demands it)", pytrace=False)
    pytest.skip(text)


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    """The URL, with its password, of an empty database on a PostgreSQL server of this module's own, for Prefect."""
    if postgresql.programs() is None:
        left_out("PostgreSQL", "apt-get install postgresql")
    with postgresql.serving() as url:
        yield url


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of this machine's Chromium."""
    found = browser.found()
    if found is None:
        left_out("Chromium", "apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Installed]":
    """An installation of this module's own, by `fer up`: server, a worker of the pool `fer`, store."""
    import installed

    with installed.up(tmp_path_factory.mktemp("installation")) as running:
        yield running
