"""systemd's units: what systemd itself finds wrong with them, and what they keep from others."""

import os
import shutil
import stat
import subprocess

import pytest

from flows.operating import installation, systemd
from flows.operating.installation import Installation

KNOWN = {
    "Unit": {"Description", "PartOf", "After", "Wants", "StartLimitIntervalSec"},
    "Service": {
        *("Type", "WorkingDirectory", "Environment", "EnvironmentFile", "ExecStart", "Restart", "RestartSec"),
        *("KillMode", "TimeoutStopSec", "StandardOutput", "StandardError"),
    },
    "Install": {"WantedBy"},
}


@pytest.fixture
def home(tmp_path):
    """One with what systemd and shells take for something else."""
    home = tmp_path / "100% of $HOME"
    installation.folder(home).mkdir(parents=True)
    return home


@pytest.fixture
def units(home, tmp_path):
    into = tmp_path / "units"
    made = systemd.units(home, Installation(prefect_home=tmp_path, workers=2), with_store=True)
    systemd.write(home, into, made, {"FER_STORE_BUCKET": "faces", "KAGGLE_KEY": 'a"b$c'})
    return into


def test_units_hold_only_keys_that_systemd_knows(units):
    names = {path.name for path in units.iterdir()}
    assert names == {
        "fer-store.service",
        "fer-server.service",
        "fer-worker-1.service",
        "fer-worker-2.service",
        "fer.target",
    }
    for path in units.iterdir():
        section = ""
        for line in filter(None, path.read_text().splitlines()):
            if line.startswith("["):
                section = line.strip("[]")
            else:
                assert line.partition("=")[0] in KNOWN[section], line


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not on this machine")
def test_systemd_finds_nothing_wrong(units, tmp_path):
    verify = ["systemd-analyze", "verify", "--user", "--man=no", *sorted(units.iterdir())]
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    environment = os.environ | {"XDG_RUNTIME_DIR": str(runtime)}
    done = subprocess.run(verify, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_worker_that_is_not_to_be_any_more_loses_its_unit(home, units, tmp_path):
    systemd.write(home, units, systemd.units(home, Installation(prefect_home=tmp_path), with_store=False), {})
    assert {path.name for path in units.iterdir()} == {"fer-server.service", "fer-worker-1.service", "fer.target"}


def test_what_is_passed_on_is_for_its_owner_alone(home, units):
    file = installation.folder(home) / "environment"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == 'FER_STORE_BUCKET="faces"\nKAGGLE_KEY="a\\"b\\$c"\n'


def test_only_what_services_need_is_passed_on():
    other = {
        "FER_HOME": "/x",
        "PREFECT_SERVER_API_AUTH_STRING": "a:b",
        "PREFECT_API_URL": "x",
        "SECRET": "s",
        "HOME": "/",
    }
    needed = {"AWS_PROFILE": "p", "PREFECT_WORKER_QUERY_SECONDS": "5", "https_proxy": "http://proxy"}
    names = [line.partition("=")[0] for line in systemd.environment_file(other | needed).splitlines()]
    assert names == sorted(needed)
    assert systemd.environment_file({"AWS_PROFILE": "a\nExecStart=x"}) == ""
