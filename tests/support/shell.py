"""The `fer` command in a process of its own, with nothing of this machine's configuration."""

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
    """A Prefect database without any run; to make one takes ten seconds, for each run in a new home."""
    upgrade = [Path(sys.executable).with_name("prefect"), "server", "database", "upgrade", "-y"]
    kept = {"PATH": os.environ["PATH"], "HOME": _ONCE.name, "PREFECT_HOME": _ONCE.name}
    subprocess.run(upgrade, env=kept, check=True, capture_output=True, timeout=300)
    return Path(_ONCE.name) / "prefect.db"


def bare(home: Path) -> dict[str, str]:
    """An environment with nothing of this machine's configuration."""
    database = home / ".prefect" / "prefect.db"
    if not database.exists():
        database.parent.mkdir(exist_ok=True)
        shutil.copyfile(prefect_database(), database)
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
    return kept | {"HOME": str(home), "FER_HOME": str(home / "fer"), "COLUMNS": "160"}


def fer(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a shell does, with nothing of this machine's configuration."""
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
    """The processes of a process group."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):  # it ended meanwhile
            if os.getpgid(process.pid) == number:
                found.append(process.name())
    return found


def written(home: Path) -> list[str]:
    """What a run left in the workspace, but for its bookkeeping."""
    workspace = home / "fer" / "workspace"
    files = [path.relative_to(workspace) for path in workspace.rglob("*") if path.is_file()]
    return sorted(str(path) for path in files if path.parts[0] not in (".locks", ".attempts"))
