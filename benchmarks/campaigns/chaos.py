"""Faults that meet a retraining on a server, a worker and a store: does the next run end in the same result?

    python -m benchmarks.campaigns.chaos               # all trials, some minutes each; Ctrl-C, and go on later
    python -m benchmarks.campaigns.chaos --trials 1    # the next one
    python -m benchmarks.campaigns.chaos --table       # no trial: docs/reference/faults.md, from the file of results

The first line of the results is an undisturbed run of the quick demo, made anew when the code is another. In a trial a
fault comes at a random moment of a first run, ends, and what has died is started again; then a second run is started. A
trial is held if the first run has ended in time, by itself or as the automation for killed runs ends it; and if the
second completes, with the same predictions, one champion of the same model, nothing that `fer models repair` would
repair, nothing in `.partial`, the deployment's slot free and no process left. The full disk needs a file system of its
own, hence root on Linux; elsewhere it is not tried.

A fault that met nothing is tried again at another moment. So is a trial that failed by time alone, as on a machine with
other work: it stays in the file of results and is counted apart. Trials of other code do not count at all.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.campaigns import faulty_proxy, trials
from benchmarks.campaigns.installation import MODEL, Installation
from flows.operating import silent_runs

_PAGE = trials.ROOT / "docs" / "reference" / "faults.md"
_RUN_TIMEOUT_S = 900
_NOTICED_WITHIN_S = 2 * silent_runs.START.total_seconds() + 60  # the automation's time, on a busy machine
_SHORTEST_S, _LONGEST_S = 1, 20  # how long a fault lasts that ends by itself
_DISK_BYTES = 2_000_000_000
_PARTS = {  # the part of the run -> the stages by which it ends
    "ingest": ("download", "index"),
    "curation": ("validate", "inspect", "curate", "split", "label errors", "drift", "quality"),
    "shards": ("preprocess", "balance"),
    "training": ("train", "calibrate"),
    "evaluation": ("evaluate", "evaluation report", "robustness", "explanations", "slices", "export", "gate"),
    "release": ("register",),
}


@dataclasses.dataclass(frozen=True)
class _Fault:
    """`strike` begins it, once it `is_possible`; some seconds after it `has_met` something, or when the first run has
    ended, `relieve` ends it."""

    planned: int
    strike: Callable[[Installation, random.Random], None]
    relieve: Callable[[Installation], None] = lambda place: None
    is_possible: Callable[[Installation], bool] = lambda place: True
    has_met: Callable[[Installation], bool] = lambda place: True
    during: str | None = None  # the part of the run in which alone it can come
    lasts_to_the_end: bool = False
    is_store_spoilt: bool = False
    needs_disk: bool = False


def _kill(planned: int, *roles: str, during: str | None = None) -> _Fault:
    def is_possible(place: Installation) -> bool:
        return all(place.processes(role) for role in roles)

    def strike(place: Installation, draw: random.Random) -> None:
        for role in roles:
            trials.kill(place.processes(role))

    return _Fault(planned, strike, is_possible=is_possible, during=during)


def _spoil_kaggle(fault: faulty_proxy.Fault) -> _Fault:
    return _Fault(
        3,
        lambda place, draw: place.kaggle.spoil(fault, times=draw.randint(1, 4)),
        lambda place: place.kaggle.heal(),
        has_met=lambda place: place.kaggle.met > 0,
        during="ingest",
        lasts_to_the_end=True,
    )


def _spoil_store(fault: faulty_proxy.Fault) -> _Fault:
    return _Fault(
        5,
        lambda place, draw: _proxy(place).spoil(fault),
        lambda place: _proxy(place).heal(),
        has_met=lambda place: _proxy(place).met > 0,
        is_store_spoilt=True,
    )


def _proxy(place: Installation) -> faulty_proxy.FaultyProxy:
    assert place.store is not None
    return place.store


def _fill_disk(place: Installation, draw: random.Random) -> None:
    ballast = place.home / "fer" / "ballast"
    with ballast.open("wb") as file:
        end, step = 0, shutil.disk_usage(ballast).free
        while step:  # others write meanwhile
            try:
                os.posix_fallocate(file.fileno(), end, step)
                end += step
            except OSError:
                step //= 2


def _free_disk(place: Installation) -> None:
    (place.home / "fer" / "ballast").unlink()


_SAID: dict[faulty_proxy.Fault, str] = {
    "reset": "resets connections",
    "silence": "does not answer",
    "503": "answers 503",
    "truncated": "breaks off its answers",
}
_FAULTS: dict[str, _Fault] = {
    "`kill -9` of the worker": _kill(10, "worker"),
    "`kill -9` of the run's process": _kill(10, "run"),
    "`kill -9` of the worker and the run's process": _kill(10, "worker", "run"),
    "`kill -9` of the training's process": _kill(5, "training", during="training"),
    "`kill -9` of the store": _kill(10, "store"),
    "`kill -9` of the server": _kill(10, "server"),
    **{f"Kaggle {said}": _spoil_kaggle(fault) for fault, said in _SAID.items()},
    **{f"the store {said}": _spoil_store(fault) for fault, said in _SAID.items()},
    "the disk is full": _Fault(10, _fill_disk, _free_disk, lasts_to_the_end=True, needs_disk=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.campaigns.chaos")
    parser.add_argument("--results", type=Path, default=Path("chaos.jsonl"), help="one JSON object a line, appended")
    parser.add_argument("--trials", type=int, default=sys.maxsize, help="how many at most, of those that are missing")
    parser.add_argument("--fault", choices=_FAULTS, help="this one alone")
    parser.add_argument(
        "--table", action="store_true", help=f"write {_PAGE.relative_to(trials.ROOT)} and make no trial"
    )
    arguments = parser.parse_args()
    if arguments.table:
        _PAGE.write_text(_page(trials.read(arguments.results)))
        return
    for _ in range(arguments.trials):
        lines = trials.read(arguments.results)
        undisturbed = trials.undisturbed(lines)
        if undisturbed is None:
            trials.append(arguments.results, _undisturbed_run())
            continue
        wanted = {name: fault.planned for name, fault in _FAULTS.items() if not fault.needs_disk or os.geteuid() == 0}
        if arguments.fault:
            wanted = {arguments.fault: wanted[arguments.fault]}
        name = trials.least_tried(_counted(lines, trials.code()), wanted)
        if name is None:
            return
        trials.append(arguments.results, _trial(name, undisturbed, len(lines)))


def _undisturbed_run() -> dict[str, Any]:
    with trials.home() as home:
        place = Installation(home)
        with place.running():
            began = time.monotonic()
            run = place.start_run()
            stages_s: dict[str, float] = {}  # when each stage committed its output
            while not place.is_over(run) and time.monotonic() - began < _RUN_TIMEOUT_S:
                for stage in trials.stages(home):
                    stages_s.setdefault(stage, round(time.monotonic() - began, 1))
                time.sleep(trials.POLL_S)
            seconds = time.monotonic() - began
            state = place.run(run).state
            if state is None or state.name != "Released" or place.strays():
                raise SystemExit(f"The undisturbed run must end in a release. Received: {state}, {place.strays()}")
            figures = {"seconds": round(seconds, 1), "stages_s": stages_s, "predictions": trials.predictions(home)}
            return {"kind": trials.UNDISTURBED} | figures | {"champion": _champion(place)}


def _trial(name: str, undisturbed: dict[str, Any], number: int) -> dict[str, Any]:
    fault = _FAULTS[name]
    draw = random.Random(f"{name} {number}")  # noqa: S311 - no secret: the same trial has the same moment
    moment_s, stages_s = _moment_s(fault, undisturbed, draw), undisturbed["stages_s"]
    with trials.home() as home, _disk(home, fault):
        place = Installation(home, is_store_spoilt=fault.is_store_spoilt)
        with place.running():
            first = place.start_run()
            is_over = partial(place.is_over, first)
            reached = trials.reached(moment_s, list(stages_s.values()), home, is_over)
            if not (reached and _is_struck(fault, place, draw, is_over)):
                ended = place.run(first).state
                about = {"kind": name, "moment_s": round(moment_s, 1), "disturbed": False}
                return about | {"first": ended and ended.name, "first_message": ended and ended.message}
            struck = time.monotonic()
            missing = [stage for stage in stages_s if stage not in trials.stages(home)]
            if not fault.lasts_to_the_end:
                time.sleep(draw.uniform(_SHORTEST_S, _LONGEST_S))
                fault.relieve(place)
                place.up()
            state = place.wait(first, _RUN_TIMEOUT_S if place.processes("run") else _NOTICED_WITHIN_S)
            ended_in_s = time.monotonic() - struck
            if fault.lasts_to_the_end:
                fault.relieve(place)
                place.up()
            run_count = place.run(first).run_count
            second_state = place.wait(place.start_run(), _RUN_TIMEOUT_S)
            line: dict[str, Any] = {
                "kind": name,
                "moment_s": round(moment_s, 1),
                "disturbed": True,
                "stage": missing[0] if missing else "register",
                "first": state.name,
                "first_message": state.message,
                "first_ended": state.is_final(),
                "first_ended_in_s": round(ended_in_s, 1),
                "first_run_count": run_count,
                "second": second_state.name,
                "second_message": second_state.message,
                "second_ended": second_state.is_final(),
                "strays": place.strays(),
                "slots_taken": place.slots_taken(),
                "partial": trials.unfinished(home),
                "predictions": trials.predictions(home),
                "champion": _champion(place),
                "repair": place.fer("models", "repair", MODEL).stdout.strip(),
            }
            said = {service: place.log(service)[-3_000:] for service in ("server", "worker-1")}
        line["left"] = trials.left(home)  # after its parts were stopped
    line["held"] = _is_held(line, undisturbed)
    line["out_of_time"] = not line["held"] and not (line["first_ended"] and line["second_ended"])
    return line if line["held"] else line | {"said": said}


def _is_struck(fault: _Fault, place: Installation, draw: random.Random, is_over: Callable[[], bool]) -> bool:
    """Begin the fault as soon as it can come, and wait until it has met something; False if the run ended before."""
    while not fault.is_possible(place):
        if is_over():
            return False
        time.sleep(trials.POLL_S)
    fault.strike(place, draw)
    while not fault.has_met(place):
        if is_over():
            return False
        time.sleep(trials.POLL_S)
    return True


def _moment_s(fault: _Fault, undisturbed: dict[str, Any], draw: random.Random) -> float:
    """Some moment of the undisturbed run, or of the part in which alone the fault can come."""
    stages_s = undisturbed["stages_s"]
    if fault.is_store_spoilt:  # it comes with the next request
        return draw.uniform(0, stages_s["gate"])
    if fault.during is None:
        return draw.uniform(0, undisturbed["seconds"])
    if fault.during == "ingest":  # Kaggle is asked at once
        return 0.0
    first = _PARTS[fault.during][0]
    begun_s = max((at_s for at_s in stages_s.values() if at_s < stages_s[first]), default=0.0)
    return draw.uniform(begun_s, (begun_s + stages_s[first]) / 2)  # on a quiet machine it is sooner over


@contextlib.contextmanager
def _disk(home: Path, fault: _Fault) -> Iterator[None]:
    """For the fault that needs one, a file system in memory for FER_HOME."""
    folder = home / "fer"
    if not fault.needs_disk:
        yield
        return
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "fer-trial", str(folder)], check=True)
    try:
        yield
    finally:
        trials.kill(trials.processes(home))
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _champion(place: Installation) -> dict[str, Any]:
    """How many versions there are, and the digest of the model that is champion."""
    listed = place.fer("models", "list", "--json")
    if listed.returncode != 0:
        return {"error": listed.stderr[-500:]}
    versions = json.loads(listed.stdout)
    digests = [version["model_digest"] for version in versions if version["champion"]]
    return {"versions": len(versions), "digests": digests}


def _is_held(line: dict[str, Any], undisturbed: dict[str, Any]) -> bool:
    clean = not (line["strays"] or line["slots_taken"] or line["partial"] or line["left"])
    same = all(line[figure] == undisturbed[figure] for figure in ("predictions", "champion"))
    is_whole = line["repair"].startswith("Nothing")
    return line["first_ended"] and line["second"] == "Released" and clean and same and is_whole


def _counted(lines: list[dict[str, Any]], code: str) -> list[dict[str, Any]]:
    """The trials of this code whose fault met something and that did not fail by time alone."""
    return [
        line for line in lines if line["code"] == code and line.get("disturbed") and not line.get("out_of_time", False)
    ]


def _page(lines: list[dict[str, Any]]) -> str:
    code = lines[-1]["code"] if lines else ""
    counted = _counted(lines, code)
    n_out_of_time = sum(line["code"] == code and line.get("out_of_time", False) for line in lines)
    part_of = {stage: part for part, stages in _PARTS.items() for stage in stages}
    rows = []
    for name, fault in _FAULTS.items():
        of_kind = [line for line in counted if line["kind"] == name]
        cells = []
        for part in _PARTS:
            there = [line["held"] for line in of_kind if part_of[line["stage"]] == part]
            cells.append(f"{sum(there)} of {len(there)}" if there else "")
        rows.append(f"| {name} | {' | '.join(cells)} | {len(of_kind)} of {fault.planned} |")
    return "\n".join(
        [
            "# Faults",
            "",
            "A retraining of the quick demo on a Prefect server with a worker and a store met a fault at a random",
            "moment; what had died was started again, and a second run followed. A trial is held if the first run",
            "ended, by itself or by the automation for",
            "[killed runs](../how-to/troubleshooting.md#a-run-that-was-killed), and the second completed with the",
            "predictions and the champion of an undisturbed run, one version, nothing for `fer models repair` to do,",
            "nothing in `.partial`, the deployment's slot free and no process left.",
            "",
            "*Held* of tried, by the part of the run that was at work when the fault came:",
            "",
            f"| the fault | {' | '.join(_PARTS)} | tried of planned |",
            f"| --- |{' ---: |' * (len(_PARTS) + 1)}",
            *rows,
            "",
            f"Counted are trials of one state of the code (its digest: `{code}`) whose fault met something. A trial in",
            "which a run had not ended in time, on a machine that has other work to do, is made again and not counted:",
            f"{n_out_of_time} of them.",
            "",
            *trials.footer(counted, "chaos"),
            "",
        ]
    )


if __name__ == "__main__":
    main()
