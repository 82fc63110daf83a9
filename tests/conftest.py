import gc
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import prefect_server
import pytest
import shared

from fer.engine import arithmetic

# TensorFlow reads some of these variables once, when a test first imports it. They are set so that training gives the
# same bits in this process as in a worker process.
os.environ.update(arithmetic.child_environment())

# The duration of an example depends on how busy the machine is.
hypothesis.settings.register_profile("fer", deadline=None)
hypothesis.settings.register_profile("fer fast", deadline=None, max_examples=25)
hypothesis.settings.load_profile("fer")

pytest_plugins = [
    "embedded_store_fixture",
    "in_process_fixture",
    "limits_fixture",
    "prefect_fixture",
    "system_fixtures",
]

_SLOW_FIXTURES = {"prefect_server", "store_home"}
_SYSTEM = Path(__file__).with_name("system")
_ALL_SLOW = re.compile(r"^pytestmark = .*(mark\.slow|mark\.end_to_end|\"prefect_server\")", re.MULTILINE)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the examples of this run; make the folder of what its processes share, and remove it at the end."""
    if _are_slow_left_out(config):
        hypothesis.settings.load_profile("fer fast")
    if hasattr(config, "workerinput"):  # a process that pytest-xdist has started
        return
    folder = tempfile.TemporaryDirectory(prefix="fer-tests-", ignore_cleanup_errors=True)
    os.environ[shared.VARIABLE] = folder.name
    config.add_cleanup(folder.cleanup)
    config.add_cleanup(prefect_server.wait_until_ended)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where slow tests are left out, do not even import a file that has no others: most import TensorFlow."""
    if _are_slow_left_out(config) and collection_path.suffix == ".py" and _ALL_SLOW.search(collection_path.read_text()):
        return True
    if _are_system_left_out(config) and collection_path == _SYSTEM:
        return True
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the tests of whole installations, where they were left out, and the command that runs them."""
    if _are_system_left_out(config):
        names = sorted(path.stem.removeprefix("test_") for path in _SYSTEM.glob("test_*.py"))
        terminalreporter.write_line(f"not run: whole installations ({', '.join(names)}); run them: make test-system")


def _are_slow_left_out(config: pytest.Config) -> bool:
    return "not slow" in config.option.markexpr


def _are_system_left_out(config: pytest.Config) -> bool:
    return "not system" in config.option.markexpr


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need a Prefect server or a store as slow, and run the files with slow tests first: started last,
    such a file would keep one worker busy alone."""
    for item in items:
        if item.path.is_relative_to(_SYSTEM):
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.slow)
        if _SLOW_FIXTURES & set(getattr(item, "fixturenames", ())) or item.get_closest_marker("end_to_end"):
            item.add_marker(pytest.mark.slow)
    end_to_end = {item.path for item in items if item.get_closest_marker("end_to_end")}
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in end_to_end, item.path not in slow))


def pytest_collection_finish() -> None:
    """Let no garbage collection look through all modules and tests again, which stay until the end."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """What `os.sync` is for, a power cut, is no test's; it waits for all that the machine writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sync", lambda: None)
        yield
