"""`python -m benchmarks [NAME] [--json]`: the quick benchmarks, one, or all; a table, and beside it `bench.json`."""

import argparse
import importlib
import json
import os
import pkgutil
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import benchmarks

_QUICK = ("augmentation", "faces", "shards", "validation")  # together under five minutes on two quiet cores
_ALL = "all"
_TABLE_WIDTH = 160  # of a file, which does not say how wide it is
_LIBRARIES = ("keras", "numpy", "opencv-python-headless", "pyarrow", "tensorflow-cpu")


def main() -> None:
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name != "__main__"]
    names.sort(key=lambda name: (name not in _QUICK, name))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the project beside a reference.")
    parser.add_argument(
        "name", nargs="?", choices=[*names, _ALL], help=f"the benchmark to run (default: {', '.join(_QUICK)})"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    parser.add_argument("--output", type=Path, default=Path("bench.json"), help="where all is written too, as JSON")
    chosen = parser.parse_args()
    measured: list[dict[str, Any]] = []
    machine = _machine()
    for name in {None: _QUICK, _ALL: names}.get(chosen.name, [chosen.name]):
        for row in importlib.import_module(f"benchmarks.{name}").run():
            record = {
                "bench": name,
                "metric": row.metric,
                "value": _rounded(row.value),
                "unit": row.unit,
                "reference": _rounded(row.reference),
                "ratio": _rounded(row.ratio),
                "bar": row.bar,
                "keeps": row.keeps,
            }
            measured.append(record)
            chosen.output.write_text(json.dumps({"machine": machine, "rows": measured}, indent=1, ensure_ascii=False))
            if chosen.json:
                print(json.dumps(record), flush=True)
    if not chosen.json:
        _show(measured)


def _machine() -> dict[str, Any]:
    """Where and by what it is measured; `load` is that of the minute before."""
    return {
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
        "libraries": {each: _version(each) for each in _LIBRARIES},
    }


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _show(measured: list[dict[str, Any]]) -> None:
    import rich.console
    import rich.table

    table = rich.table.Table()
    for heading in ("bench", "metric"):
        table.add_column(heading, overflow="fold")
    for heading in ("value", "unit", "reference", "ratio", "bar"):
        table.add_column(heading, justify="left" if heading in ("unit", "bar") else "right", no_wrap=True)
    for record in measured:
        shown = [record[each] for each in ("bench", "metric", "value", "unit", "reference", "ratio")]
        kept = {True: f"{record['bar']} [green]✓[/]", False: f"{record['bar']} [red]✗[/]", None: ""}[record["keeps"]]
        table.add_row(
            *("" if each is None else f"{each:,g}" if isinstance(each, float) else each for each in shown), kept
        )
    console = rich.console.Console()
    rich.console.Console(width=None if console.is_terminal else _TABLE_WIDTH).print(table)


if __name__ == "__main__":
    main()
