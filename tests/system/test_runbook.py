"""The commands of the runbook are run, page after page, in one installation."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import runbook
import shell

ROOT = Path(__file__).parents[2]
QUICK_DEMO = ROOT / "benchmarks" / "campaigns" / "quick_demo.toml"
TIMEOUT_S = 400

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of an operator whose installation has a port of its own, and one model."""
    home = tmp_path_factory.mktemp("operator")
    shell.give_prefect_database(home)
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = shell.bare(home) | {"PATH": search, "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        run(f"fer up --port {port} && fer retrain --recipe {QUICK_DEMO}", variables)
        yield variables | {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    finally:
        run("fer down", variables)
        for process in shell.of_home(home):
            process.kill()


def run(script: str, variables: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-c", script],
        env=variables,
        cwd=variables["HOME"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("page", runbook.pages(), ids=lambda page: page.stem)
def test_the_commands_of_a_page_succeed(page, environment):
    run(runbook.script(page), environment)
