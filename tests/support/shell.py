"""The `fer` command in a process of its own, isolated from the machine's configuration."""

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

FER = [sys.executable, "-c", "from flows.cli.app import main; main()"]
_ONCE = tempfile.TemporaryDirectory(prefix="fer-tests-")


@functools.cache
def prefect_database() -> Path:
    """An empty Prefect database, made once: making one for every new home would take ten seconds each."""
    upgrade = [Path(sys.executable).with_name("prefect"), "server", "database", "upgrade", "-y"]
    environment = {"PATH": os.environ["PATH"], "HOME": _ONCE.name, "PREFECT_HOME": _ONCE.name}
    subprocess.run(upgrade, env=environment, check=True, capture_output=True, timeout=300)
    return Path(_ONCE.name) / "prefect.db"


def bare(home: Path) -> dict[str, str]:
    """The variables of an environment that is isolated from the machine's configuration."""
    database = home / ".prefect" / "prefect.db"
    if not database.exists():
        database.parent.mkdir(exist_ok=True)
        shutil.copyfile(prefect_database(), database)
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
    return inherited | {"HOME": str(home), "FER_HOME": str(home / "fer"), "COLUMNS": "160"}


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


def in_group(number: int) -> list[str]:
    """The names of the processes in a process group."""
    names = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):  # it has ended
            if os.getpgid(process.pid) == number:
                names.append(process.name())
    return names


def of_home(home: Path) -> list[psutil.Process]:
    """The live processes of commands that were given this home, their store among them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # it has ended
            if process.environ().get("HOME", "").startswith(str(home)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def written(home: Path) -> list[str]:
    """The files of the workspace except its locks and attempts."""
    workspace = home / "fer" / "workspace"
    files = [path.relative_to(workspace) for path in workspace.rglob("*") if path.is_file()]
    return sorted(str(path) for path in files if path.parts[0] not in (".locks", ".attempts"))
