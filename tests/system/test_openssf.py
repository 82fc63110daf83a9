"""OpenSSF model signing in an environment that has it: the tests that are skipped where the extra is not installed."""

import site
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import system_fixtures

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests/flows/cli/trust/test_openssf.py"


@pytest.fixture(scope="module")
def extended_python(tmp_path_factory):
    """The interpreter of a new environment: the extra's packages, beside the locked versions of what is here."""
    folder = tmp_path_factory.mktemp("openssf") / "venv"
    uv, python = [sys.executable, "-m", "uv"], folder / "bin" / "python"
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["openssf"]
    install = [
        *uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        str(python),
        "--constraints",
        str(ROOT / "requirements.lock"),
    ]
    for command in (
        [*uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
        [*install, *extra],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            system_fixtures.left_out("A package index", f"let uv reach one: {done.stderr.strip()[-300:]}")
    own = next(iter((folder / "lib").glob("python*/site-packages")))
    there = "".join(f"import site; site.addsitedir({place!r})\n" for place in site.getsitepackages())
    (own / "beside.pth").write_text(there)
    return python


def test_a_release_is_signed_and_verified_by_the_openssfs_tool(extended_python):
    command = [extended_python, "-m", "pytest", TESTS, "-p", "no:cacheprovider", "-x", "-v"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=500)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
