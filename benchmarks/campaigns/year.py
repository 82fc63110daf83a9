"""A year in a row: 200 retrainings of the quick demo on one server. Do its memory and the disk stay as they are?

    python -m benchmarks.campaigns.year               # all runs, half a minute to two each; Ctrl-C, and go on later
    python -m benchmarks.campaigns.year --runs 10     # the next ten
    python -m benchmarks.campaigns.year --table       # no run: docs/reference/year.md, from the file of results

Every tenth run trains with another seed, as if there were new data; the others find all stages cached. After each `fer
gc` removes what nothing needs. The folder of the installation lies beside the file of results and stays. What is begun
again has a new server and worker, whose memory is judged by itself: flat is what changes by less than a tenth over the
last 100 runs of one server.
"""

import argparse
import contextlib
import itertools
import os
import statistics
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.campaigns import trials
from benchmarks.campaigns.installation import Installation

_PAGE = trials.ROOT / "docs" / "reference" / "year.md"
_RUNS = 200
_TRAINS_EVERY = 10
_RUN_TIMEOUT_S = 900
_ENDS = ("Released", "Kept", "Refused")
_SETTLE_S = 5  # from a run's last state to the end of its process
_POLICY = ("--older-than", "0", "--grace", "0", "--keep-last", "1")  # what is left after each run
_LAST = 100
_WITHIN = 0.1
_MB = 1e6
_MEMORY = ("server", "worker", "store")
_FOLDERS = {  # of the installation
    "workspace": "fer/workspace",
    "store": "fer/store",
    "reports": "fer/reports",
    "Prefect's database": ".prefect",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.campaigns.year")
    parser.add_argument("--results", type=Path, default=Path("year.jsonl"), help="one JSON object a line, appended")
    parser.add_argument("--runs", type=int, default=_RUNS, help="how many at most, of those that are missing")
    parser.add_argument("--table", action="store_true", help=f"write {_PAGE.relative_to(trials.ROOT)} and make no run")
    arguments = parser.parse_args()
    if arguments.table:
        _PAGE.write_text(_page(trials.read(arguments.results)))
        return
    n_before = len(trials.read(arguments.results))
    home = arguments.results.resolve().with_suffix("")
    home.mkdir(exist_ok=True)
    trials.give_database(home)
    place = Installation(home)
    try:
        with place.running():
            for number in range(n_before, min(_RUNS, n_before + arguments.runs)):
                line = {"kind": "run", "number": number, "server": place.url} | _run(place, number // _TRAINS_EVERY)
                trials.append(arguments.results, line)
    finally:
        trials.kill(trials.processes(home))


def _run(place: Installation, seed: int) -> dict[str, Any]:
    began = time.monotonic()
    run = place.start_run(settings={"train": {"seed": seed}})
    state = place.wait(run, _RUN_TIMEOUT_S)
    seconds = time.monotonic() - began
    time.sleep(_SETTLE_S)
    collected = place.fer("gc", "--yes", *_POLICY)
    return {
        "state": state.name,
        "message": state.message,
        "seconds": round(seconds, 1),
        "memory_mb": {role: round(_memory_bytes(place, role) / _MB, 1) for role in _MEMORY},
        "disk_mb": {name: round(_size_bytes(place.home / folder) / _MB, 2) for name, folder in _FOLDERS.items()},
        "gc": collected.returncode,
        "strays": place.strays(),
    }


def _memory_bytes(place: Installation, role: str) -> int:
    """Of all processes of the role, the resident memory."""
    total = 0
    for process in place.processes(role):
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def _size_bytes(folder: Path) -> int:
    """What the files of a folder take on the disk."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(path) / name).lstat().st_blocks * 512
    return total


def _change(values: list[float]) -> float:
    """From the first fifth to the last, by their medians, as a share of the first."""
    n = max(1, len(values) // 5)
    first = statistics.median(values[:n])
    return (statistics.median(values[-n:]) - first) / first if first else 0.0


def _page(lines: list[dict[str, Any]]) -> str:
    groups = [list(group) for _, group in itertools.groupby(lines, key=lambda line: line["server"])]
    longest = max(groups, key=len, default=[])
    last = longest[-_LAST:]
    rows = []
    for unit, names in (("memory_mb", _MEMORY), ("disk_mb", tuple(_FOLDERS))):
        for name in names:
            values = [line[unit][name] for line in last]
            if values:
                change = _change(values)
                flat = "yes" if abs(change) <= _WITHIN else "no"
                what = f"memory of the {name}" if unit == "memory_mb" else f"disk: {name}"
                a_run = (values[-1] - values[0]) / max(1, len(values) - 1)
                rows.append(f"| {what} | {values[0]:.1f} | {values[-1]:.1f} | {a_run:+.2f} | {change:+.1%} | {flat} |")
    well = sum(line["state"] in _ENDS and not (line["strays"] or line["gc"]) for line in lines)
    return "\n".join(
        [
            "# A year in a row",
            "",
            "Retrainings of the quick demo, one after the other, on one server with a worker and a store; every",
            f"{_TRAINS_EVERY}th trains anew, the others find all stages cached, and `fer gc` follows each. Flat is",
            "what changes by less than a tenth, from the first fifth to the last, over the last",
            f"{_LAST} runs of one server.",
            "",
            f"{len(lines)} runs of {_RUNS} planned; {well} ended well with no process left. The longest row on one",
            f"server was {len(longest)} runs; its last {len(last)}:",
            "",
            "| | first, MB | last, MB | a run, MB | change | flat |",
            "| --- | ---: | ---: | ---: | ---: | --- |",
            *rows,
            "",
            "Prefect's database is bounded by age: its server removes events after a week, and runs after 90 days.",
            "",
            *trials.footer(lines, "year"),
            "",
        ]
    )


if __name__ == "__main__":
    main()
