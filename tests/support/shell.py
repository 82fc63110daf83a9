"""The `fer` command, in a process of its own or in this one, isolated from the machine's configuration."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import prefect_server
import psutil
import pytest

FER = [sys.executable, "-c", "from flows.cli.app import process; process()"]


def bare(home: Path) -> dict[str, str]:
    """The variables of an environment that is isolated from the machine's configuration."""
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
    return inherited | {"HOME": str(home), "FER_HOME": str(home / "fer"), "COLUMNS": "160"}


def give_prefect_database(home: Path) -> None:
    """Let the temporary server of a run in this home find its database made."""
    database = home / ".prefect" / "prefect.db"
    database.parent.mkdir()
    shutil.copyfile(prefect_server.migrated_database(), database)


def fer(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `fer` with these arguments in a process of its own, isolated from the machine's configuration."""
    return subprocess.run(
        [*FER, *arguments],
        env=bare(home) | environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


class Answer(NamedTuple):
    """What a command came to, as `subprocess.run` says it."""

    returncode: int
    stdout: str
    stderr: str


def fer_here(*arguments: str, home: Path, capsys: pytest.CaptureFixture[str], **environment: str) -> Answer:
    """Run `fer` in this process, isolated as if it had one of its own: a second faster, for what imports little."""
    from flows.cli import app

    argv, environ = mock.patch.object(sys, "argv", ["fer", *arguments]), bare(home) | environment
    environment_here = mock.patch.dict(os.environ, environ, clear=True)
    with contextlib.chdir(home), argv, environment_here, pytest.raises(SystemExit) as ended:
        app.main()
    return Answer(ended.value.code or 0, *capsys.readouterr())


def heed_signals() -> None:
    """In a process to be started: heed what the tests themselves may ignore, in a shell's background or under nohup."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def of_home(home: Path) -> list[psutil.Process]:
    """The live processes of commands that were given this home, their store among them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # it has ended
            if process.environ().get("HOME", "").startswith(str(home)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


_NO_OUTPUTS = (".locks", ".attempts", ".used", ".running", ".code")


def written(home: Path) -> list[str]:
    """The files of the workspace except locks, attempts, marks of use, and the notes on whose code works in it."""
    workspace = home / "fer" / "workspace"
    files = [path.relative_to(workspace) for path in workspace.rglob("*") if path.is_file()]
    return sorted(str(path) for path in files if path.parts[0] not in _NO_OUTPUTS)
