"""A retraining that is killed at a random moment, and the same command again: does it end in the same predictions?

    python -m benchmarks.campaigns.kills               # all trials, a few minutes each; Ctrl-C, and go on later
    python -m benchmarks.campaigns.kills --trials 1    # the next one
    python -m benchmarks.campaigns.kills --table       # no trial: docs/reference/kills.md, from the file of results

The first line of the results is an undisturbed run, which tells how long one takes and what it predicts; it is made
anew when the code is another. A trial is held if, after the kill, no process is left within some seconds, and if the
same command then ends with exit code 0, the same predictions, no process left and nothing in `.partial`.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
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

_ROOT = Path(__file__).parents[2]
_PAGE = _ROOT / "docs" / "reference" / "kills.md"
_UNDISTURBED = "undisturbed"
_RUN_TIMEOUT_S = 1_200
_GONE_WITHIN_S = 20  # a store's clean stop takes 2.2 s, a busy machine longer
_POLL_S = 0.1


def _kill_everything(home: Path, pid: int) -> None:
    for process in sorted(_processes(home), key=lambda process: process.pid != pid):
        with contextlib.suppress(psutil.Error):
            process.kill()


def _kill_group(home: Path, pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)


def _kill_command(home: Path, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _terminate_command(home: Path, pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


def _hang_up(home: Path, pid: int) -> None:
    os.killpg(pid, signal.SIGHUP)


# Kind -> how many trials, and what is done to the run, given its folder and the PID of `fer`, which leads its group.
_KINDS: dict[str, tuple[int, Callable[[Path, int], None]]] = {
    "kill -9 of every process of the run": (50, _kill_everything),
    "SIGTERM to fer": (20, _terminate_command),
    "kill -9 of fer alone": (20, _kill_command),
    "kill -9 of fer's process group": (10, _kill_group),
    "SIGHUP to fer's process group": (10, _hang_up),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.campaigns.kills")
    parser.add_argument("--results", type=Path, default=Path("kills.jsonl"), help="one JSON object a line, appended")
    parser.add_argument("--trials", type=int, default=sys.maxsize, help="how many at most, of those that are missing")
    parser.add_argument("--table", action="store_true", help=f"write {_PAGE.relative_to(_ROOT)} and make no trial")
    arguments = parser.parse_args()
    if arguments.table:
        _PAGE.write_text(_page(_read(arguments.results)))
        return
    for _ in range(arguments.trials):
        results = _read(arguments.results)
        undisturbed = _undisturbed(results)
        if undisturbed is None:
            line = _undisturbed_run()
        else:
            kind = _next_kind(results)
            if kind is None:
                return
            line = _trial(kind, undisturbed, len(results))
        line = {"utc": datetime.now(UTC).isoformat(timespec="seconds"), "code": _code()} | line
        with arguments.results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _undisturbed(results: list[dict[str, Any]]) -> dict[str, Any] | None:
    ours = [line for line in results if line["kind"] == _UNDISTURBED and line["code"] == _code()]
    return ours[-1] if ours else None


def _code() -> str:
    """A digest of the code that runs: of every module and data file of the packages."""
    digest = hashlib.sha256()
    for package in ("data_contracts", "fer", "tasks", "flows"):
        for path in sorted((_ROOT / package).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _next_kind(results: list[dict[str, Any]]) -> str | None:
    """The kind of which the smallest share was tried, so that wherever the campaign stops all were; None: all done."""
    shares = {
        kind: sum(line["kind"] == kind and line["disturbed"] for line in results) / wanted
        for kind, (wanted, _) in _KINDS.items()
    }
    kind = min(shares, key=lambda kind: shares[kind])
    return kind if shares[kind] < 1 else None


def _undisturbed_run() -> dict[str, Any]:
    with _home() as home:
        began = time.monotonic()
        run = _start(home)
        stages_s: list[float] = []  # when each stage committed its output
        while run.poll() is None and time.monotonic() - began < _RUN_TIMEOUT_S:
            stages_s += [round(time.monotonic() - began, 1)] * (len(_stages(home)) - len(stages_s))
            time.sleep(_POLL_S)
        code = run.poll()
        seconds = time.monotonic() - began
        left = _left(home)
        if code != 0 or left:
            raise SystemExit(
                f"The undisturbed run must end well. Received: exit code {code}, processes {left}.\n{_said(home)}"
            )
        figures = {"seconds": round(seconds, 1), "stages_s": stages_s}
        return {"kind": _UNDISTURBED} | figures | {"predictions": _predictions(home)}


def _trial(kind: str, undisturbed: dict[str, Any], number: int) -> dict[str, Any]:
    draw = random.Random(f"{kind} {number}")  # noqa: S311 - no secret: the same trial has the same moment
    moment_s = draw.uniform(0, undisturbed["seconds"])
    with _home() as home:
        began = time.monotonic()
        run = _start(home)
        if not _waited(run, home, moment_s, undisturbed["stages_s"]):
            return {"kind": kind, "moment_s": round(moment_s, 1), "disturbed": False}
        after_s = time.monotonic() - began
        stages = _stages(home)
        _KINDS[kind][1](home, run.pid)
        signalled = time.monotonic()
        ended_with = _exit_code(run)
        ended_in_s = time.monotonic() - signalled
        left = _left(home)
        code = _exit_code(_start(home))
        line = {
            "kind": kind,
            "moment_s": round(moment_s, 1),
            "disturbed": True,
            "after_s": round(after_s, 1),
            "stages_before": stages,
            "ended_with": ended_with,
            "ended_in_s": round(ended_in_s, 1),
            "left": left,
            "exit_code": code,
            "predictions": _predictions(home),
            "left_then": _left(home),
            "partial": sorted(path.name for path in (home / "fer" / "workspace" / ".partial").glob("*/*")),
        }
        held = not left and code == 0 and not line["left_then"] and not line["partial"]
        line["held"] = held and line["predictions"] == undisturbed["predictions"]
        return line if line["held"] else line | {"said": _said(home)[-2_000:]}


def _waited(run: "subprocess.Popen[bytes]", home: Path, moment_s: float, stages_s: list[float]) -> bool:
    """Wait for what is `moment_s` in the undisturbed run: as many stages, and then as long, by this run's own pace.

    On a busy machine the moments would else crowd at the run's begin. False if the run ended before.
    """
    n_before = sum(stage_s <= moment_s for stage_s in stages_s)
    boundary_s = stages_s[n_before - 1] if n_before else 0.0
    began = time.monotonic()
    while run.poll() is None:
        n_now = len(_stages(home))
        if n_now >= n_before:
            reached_s = time.monotonic() - began
            pace = max(1.0, reached_s / boundary_s) if n_before else 1.0
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait((moment_s - boundary_s) * pace if n_now == n_before else 0)
            return run.poll() is None
        time.sleep(_POLL_S)
    return False


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    """A folder for one trial; whatever is left of its processes is killed in the end."""
    with tempfile.TemporaryDirectory(prefix="fer-kills-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        database = Path(tempfile.gettempdir()) / f"fer-kills-{os.getuid()}-prefect.db"
        if not database.exists():
            _make_database(database, home)
        (home / ".prefect").mkdir(exist_ok=True)
        shutil.copyfile(database, home / ".prefect" / "prefect.db")
        try:
            yield home
        finally:
            for process in _processes(home):
                with contextlib.suppress(psutil.Error):
                    process.kill()


def _make_database(database: Path, home: Path) -> None:
    """Prefect's empty database, made once: its migrations would take a fourth of each run."""
    upgrade = [str(Path(sys.executable).with_name("prefect")), "server", "database", "upgrade", "-y"]
    subprocess.run(upgrade, env=_environment(home), check=True, capture_output=True)
    shutil.move(home / ".prefect" / "prefect.db", database)


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "FER_HOME": str(home / "fer"), "COLUMNS": "160"}


def _start(home: Path) -> "subprocess.Popen[bytes]":
    recipe = Path(__file__).with_name("quick_demo.toml")
    with (home / "output").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-c", "from flows.cli.app import main; main()", "retrain", "--recipe", str(recipe)],
            env=_environment(home) | {"PYTHONPATH": str(_ROOT)},
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_heed_signals,
        )


def _exit_code(run: "subprocess.Popen[bytes]") -> int | None:
    """The run's exit code, less than 0 for a signal; None if it did not end in time."""
    try:
        return run.wait(_RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None


def _heed_signals() -> None:
    """In a process to be started: heed what this one ignores, in a shell's background or under nohup."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _said(home: Path) -> str:
    return (home / "output").read_text(errors="replace")


def _processes(home: Path) -> list[psutil.Process]:
    """The live ones whose environment or command line names the trial's folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            words = [process.environ().get("HOME", ""), *process.cmdline()]
            if any(str(home) in word for word in words):
                found.append(process)
    return found


def _left(home: Path) -> list[str]:
    """What of the run is still alive after a while."""
    deadline = time.monotonic() + _GONE_WITHIN_S
    while (left := _processes(home)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    names = []
    for process in left:
        with contextlib.suppress(psutil.Error):
            names.append(" ".join(process.cmdline())[:200])
    return sorted(names)


def _stages(home: Path) -> list[str]:
    """The stages that have committed an output."""
    workspace = home / "fer" / "workspace"
    return sorted(path.name for path in workspace.glob("*") if not path.name.startswith("."))


def _predictions(home: Path) -> str:
    """One digest of all predictions of the evaluations; not of those that a fetched champion brings with it."""
    digest = hashlib.sha256()
    for path in sorted((home / "fer" / "workspace").glob("evaluate*/*/predictions.parquet")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _page(results: list[dict[str, Any]]) -> str:
    trials = [line for line in results if line.get("disturbed")]
    rows = []
    for kind, (wanted, _) in _KINDS.items():
        of_kind = [line for line in trials if line["kind"] == kind]
        rows.append(f"| {kind} | {wanted} | {len(of_kind)} | {sum(line['held'] for line in of_kind)} |")
    days = sorted(line["utc"][:10] for line in trials)
    period = " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "No trials yet"
    about = machine()
    return "\n".join(
        [
            "# Killed runs",
            "",
            "A quick retraining of the demo was disturbed at a random moment, then the same command was run again. A",
            "trial is held if no process was left after the disturbance, and the second run ended with exit code 0,",
            "with the predictions of an undisturbed one, no process left and nothing in `.partial`.",
            "",
            "| what was done to the run | planned | tried | held |",
            "| --- | ---: | ---: | ---: |",
            *rows,
            "",
            f"{period}, Python {about['python']}, {about['cores']} cores. This page is made by",
            "`python -m benchmarks.campaigns.kills --table`; the campaign says more in its file of results.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
