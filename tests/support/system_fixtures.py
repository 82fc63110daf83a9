"""Fixtures of `make test-system`: what a machine may lack. A test is skipped where its part is not there.

`FER_REQUIRE_SYSTEM=1` makes that a failure: for a machine on which all of it is to be there, as that of `.ci/run`.
"""

import os
from collections.abc import Iterator
from typing import NoReturn

import browser
import postgresql
import pytest

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
