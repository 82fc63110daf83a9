"""What the campaigns share: a file of results, a folder for a trial, what is alive in it and what it has made."""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.__main__ import machine

ROOT = Path(__file__).parents[2]
QUICK_DEMO = Path(__file__).with_name("quick_demo.toml")
UNDISTURBED = "undisturbed"
POLL_S = 0.1
_GONE_WITHIN_S = 20  # a store's clean stop takes 2.2 s, a busy machine longer


def read(results: Path) -> list[dict[str, Any]]:
    """The lines of a file of results, oldest first."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def append(results: Path, line: dict[str, Any]) -> None:
    """Add a line, with the time and the digest of the code, and print it."""
    line = {"utc": datetime.now(UTC).isoformat(timespec="seconds"), "code": code()} | line
    with results.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


def undisturbed(lines: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The undisturbed run of the code as it is now; None if there was none."""
    ours = [line for line in lines if line["kind"] == UNDISTURBED and line["code"] == code()]
    return ours[-1] if ours else None


def least_tried(lines: list[dict[str, Any]], wanted: dict[str, int]) -> str | None:
    """The kind of which the smallest share was tried, so that wherever the campaign stops all were; None: all done."""
    shares = {kind: sum(line["kind"] == kind and line["disturbed"] for line in lines) / n for kind, n in wanted.items()}
    kind = min(shares, key=lambda kind: shares[kind])
    return kind if shares[kind] < 1 else None


def code() -> str:
    """A digest of the code that runs: of every module and data file of the packages, nothing compiled."""
    digest = hashlib.sha256()
    for package in ("data_contracts", "fer", "tasks", "flows"):
        for path in sorted((ROOT / package).rglob("*")):
            if path.is_file() and path.parent.name != "__pycache__":  # there, names that end otherwise come and go
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def home() -> Iterator[Path]:
    """A folder for one trial, with Prefect's empty database; whatever is left of its processes is killed in the end."""
    with tempfile.TemporaryDirectory(prefix="fer-trial-", ignore_cleanup_errors=True) as folder:
        path = Path(folder)
        give_database(path)
        try:
            yield path
        finally:
            kill(processes(path))


def give_database(home: Path) -> None:
    """Prefect's empty database, where the folder has none."""
    database = Path(tempfile.gettempdir()) / f"fer-trials-{os.getuid()}-prefect.db"
    if not database.exists():
        _make_database(database, home)
    own = home / ".prefect" / "prefect.db"
    if not own.exists():
        own.parent.mkdir(exist_ok=True)
        shutil.copyfile(database, own)


def _make_database(database: Path, home: Path) -> None:
    """Made once: its migrations would take a fourth of each run."""
    upgrade = [str(Path(sys.executable).with_name("prefect")), "server", "database", "upgrade", "-y"]
    subprocess.run(upgrade, env=environment(home), check=True, capture_output=True)
    shutil.move(home / ".prefect" / "prefect.db", database)


def environment(home: Path) -> dict[str, str]:
    """The variables of a trial's processes: nothing of this machine's configuration."""
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"HOME": str(home), "FER_HOME": str(home / "fer"), "PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    return {"PATH": search, "DO_NOT_TRACK": "1"} | own


def processes(home: Path) -> list[psutil.Process]:
    """The live ones whose environment or command line names the trial's folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            words = [process.environ().get("HOME", ""), *process.cmdline()]
            if any(f"{home}{os.sep}" in f"{word}{os.sep}" for word in words):
                found.append(process)
    return found


def kill(which: list[psutil.Process]) -> None:
    """SIGKILL to each; one that has ended meanwhile is no error."""
    for process in which:
        with contextlib.suppress(psutil.Error):
            process.kill()


def left(home: Path) -> list[str]:
    """The command lines of what of the trial is still alive after a while."""
    deadline = time.monotonic() + _GONE_WITHIN_S
    while (alive := processes(home)) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return shown(alive)


def shown(which: list[psutil.Process]) -> list[str]:
    """Their command lines, cut."""
    lines = []
    for process in which:
        with contextlib.suppress(psutil.Error):
            lines.append(" ".join(process.cmdline())[:200])
    return sorted(lines)


def stages(home: Path) -> list[str]:
    """The stages that have committed an output."""
    workspace = home / "fer" / "workspace"
    return sorted(path.name for path in workspace.glob("*") if not path.name.startswith("."))


def reached(moment_s: float, stages_s: list[float], home: Path, is_over: Callable[[], bool]) -> bool:
    """Wait for what is `moment_s` in the undisturbed run: as many stages, and then as long, by this run's own pace.

    On a busy machine the moments would else crowd at the run's begin, on a quiet one at its end. `stages_s` are the
    undisturbed run's commits.
    False if the run ended before.
    """
    n_before = sum(stage_s <= moment_s for stage_s in stages_s)
    boundary_s = stages_s[n_before - 1] if n_before else 0.0
    began = time.monotonic()
    at_s: float | None = None
    while not is_over():
        now_s = time.monotonic() - began
        n_now = len(stages(home))
        if at_s is None and n_now >= n_before:
            pace = now_s / boundary_s if n_before else 1.0
            at_s = now_s + ((moment_s - boundary_s) * pace if n_now == n_before else 0)
        if at_s is not None and now_s >= at_s:
            return True
        time.sleep(POLL_S)
    return False


def unfinished(home: Path) -> list[str]:
    """What is left of outputs that were begun."""
    return sorted(path.name for path in (home / "fer" / "workspace" / ".partial").glob("*/*"))


def predictions(home: Path) -> str:
    """One digest of all predictions of the evaluations; not of those that a fetched champion brings with it."""
    digest = hashlib.sha256()
    for path in sorted((home / "fer" / "workspace").glob("evaluate*/*/predictions.parquet")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def footer(lines: list[dict[str, Any]], campaign: str) -> list[str]:
    """The last lines of a campaign's page: when and where, and what makes it."""
    days = sorted(line["utc"][:10] for line in lines)
    period = " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "No trials yet"
    about = machine()
    return [
        f"{period}, Python {about['python']}, {about['cores']} cores. This page is made by",
        f"`python -m benchmarks.campaigns.{campaign} --table`; the campaign says more in its file of results.",
    ]
