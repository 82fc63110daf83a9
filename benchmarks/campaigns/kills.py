"""A retraining that is killed at a random moment, and the same command again: does it end in the same predictions?

    python -m benchmarks.campaigns.kills               # all trials, a few minutes each; Ctrl-C, and go on later
    python -m benchmarks.campaigns.kills --trials 1    # the next one
    python -m benchmarks.campaigns.kills --table       # no trial: docs/reference/kills.md, from the file of results

The first line of the results is an undisturbed run, which tells how long one takes and what it predicts; it is made
anew when the code is another. A trial is held if, after the kill, no process is left within some seconds, and if the
same command then ends with exit code 0, the same predictions, no process left and nothing in `.partial`.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.campaigns import trials

_PAGE = trials.ROOT / "docs" / "reference" / "kills.md"
_RUN_TIMEOUT_S = 1_200


def _kill_everything(home: Path, pid: int) -> None:
    trials.kill(sorted(trials.processes(home), key=lambda process: process.pid != pid))


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
    parser.add_argument(
        "--table", action="store_true", help=f"write {_PAGE.relative_to(trials.ROOT)} and make no trial"
    )
    arguments = parser.parse_args()
    if arguments.table:
        _PAGE.write_text(_page(trials.read(arguments.results)))
        return
    for _ in range(arguments.trials):
        results = trials.read(arguments.results)
        undisturbed = trials.undisturbed(results)
        if undisturbed is None:
            line = _undisturbed_run()
        else:
            kind = trials.least_tried(results, {kind: wanted for kind, (wanted, _) in _KINDS.items()})
            if kind is None:
                return
            line = _trial(kind, undisturbed, len(results))
        trials.append(arguments.results, line)


def _undisturbed_run() -> dict[str, Any]:
    with trials.home() as home:
        began = time.monotonic()
        run = _start(home)
        stages_s: list[float] = []  # when each stage committed its output
        while run.poll() is None and time.monotonic() - began < _RUN_TIMEOUT_S:
            stages_s += [round(time.monotonic() - began, 1)] * (len(trials.stages(home)) - len(stages_s))
            time.sleep(trials.POLL_S)
        code = run.poll()
        seconds = time.monotonic() - began
        left = trials.left(home)
        if code != 0 or left:
            raise SystemExit(
                f"The undisturbed run must end well. Received: exit code {code}, processes {left}.\n{_said(home)}"
            )
        figures = {"seconds": round(seconds, 1), "stages_s": stages_s}
        return {"kind": trials.UNDISTURBED} | figures | {"predictions": trials.predictions(home)}


def _trial(kind: str, undisturbed: dict[str, Any], number: int) -> dict[str, Any]:
    draw = random.Random(f"{kind} {number}")  # noqa: S311 - no secret: the same trial has the same moment
    moment_s = draw.uniform(0, undisturbed["seconds"])
    with trials.home() as home:
        began = time.monotonic()
        run = _start(home)
        if not trials.reached(moment_s, undisturbed["stages_s"], home, lambda: run.poll() is not None):
            return {"kind": kind, "moment_s": round(moment_s, 1), "disturbed": False}
        after_s = time.monotonic() - began
        stages = trials.stages(home)
        _KINDS[kind][1](home, run.pid)
        signalled = time.monotonic()
        ended_with = _exit_code(run)
        ended_in_s = time.monotonic() - signalled
        left = trials.left(home)
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
            "predictions": trials.predictions(home),
            "left_then": trials.left(home),
            "partial": trials.unfinished(home),
        }
        held = not left and code == 0 and not line["left_then"] and not line["partial"]
        line["held"] = held and line["predictions"] == undisturbed["predictions"]
        return line if line["held"] else line | {"said": _said(home)[-2_000:]}


def _start(home: Path) -> "subprocess.Popen[bytes]":
    with (home / "output").open("ab") as output:
        return subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from flows.cli.app import process; process()",
                "retrain",
                "--recipe",
                str(trials.QUICK_DEMO),
            ],
            env=trials.environment(home),
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


def _page(results: list[dict[str, Any]]) -> str:
    disturbed = [line for line in results if line.get("disturbed")]
    newest = max(results, key=lambda line: line["utc"], default={"code": None})["code"]
    rows = []
    for kind, (wanted, _) in _KINDS.items():
        of_kind = [line for line in disturbed if line["kind"] == kind]
        tried, held = len(of_kind), sum(line["held"] for line in of_kind)
        on_newest = sum(line["code"] == newest for line in of_kind)
        rows.append(f"| {kind} | {wanted} | {tried} | {held} | {on_newest} |")
    return "\n".join(
        [
            "# Killed runs",
            "",
            "A quick retraining of the demo was disturbed at a random moment, then the same command was run again. A",
            "trial is held if no process was left after the disturbance, and the second run ended with exit code 0,",
            "with the predictions of an undisturbed one, no process left and nothing in `.partial`.",
            "",
            "| what was done to the run | planned | tried | held | tried on the newest code |",
            "| --- | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            *trials.footer(disturbed, "kills"),
            "",
        ]
    )


if __name__ == "__main__":
    main()
