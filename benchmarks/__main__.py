"""`python -m benchmarks [NAME] [--json]` runs the quick benchmarks, one, or all: a table, and `bench.json`."""

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
_TABLE_WIDTH = 160  # where the output is not a terminal, which would tell its width
_LIBRARIES = ("keras", "numpy", "opencv-python-headless", "pyarrow", "tensorflow-cpu")


def main() -> None:
    modules = pkgutil.iter_modules(benchmarks.__path__)
    names = [module.name for module in modules if module.name != "__main__" and not module.ispkg]
    names.sort(key=lambda name: (name not in _QUICK, name))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the project against a reference."
    )
    parser.add_argument(
        "name", nargs="?", choices=[*names, _ALL], help=f"the benchmark to run (default: {', '.join(_QUICK)})"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line instead of a table")
    parser.add_argument(
        "--output", type=Path, default=Path("bench.json"), help="the JSON file that all results are also written to"
    )
    arguments = parser.parse_args()
    records: list[dict[str, Any]] = []
    about = machine()
    for name in {None: _QUICK, _ALL: names}.get(arguments.name, [arguments.name]):
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
            records.append(record)
            arguments.output.write_text(json.dumps({"machine": about, "rows": records}, indent=1, ensure_ascii=False))
            if arguments.json:
                print(json.dumps(record), flush=True)
    if not arguments.json:
        _show(records)


def machine() -> dict[str, Any]:
    """The machine and the libraries that are measured; `load` is the average of the last minute."""
    return {
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
        "libraries": {library: _version(library) for library in _LIBRARIES},
    }


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _show(records: list[dict[str, Any]]) -> None:
    import rich.console
    import rich.table

    table = rich.table.Table()
    for heading in ("bench", "metric"):
        table.add_column(heading, overflow="fold")
    for heading in ("value", "unit", "reference", "ratio", "bar"):
        table.add_column(heading, justify="left" if heading in ("unit", "bar") else "right", no_wrap=True)
    for record in records:
        cells = [record[key] for key in ("bench", "metric", "value", "unit", "reference", "ratio")]
        bar = {True: f"{record['bar']} [green]✓[/]", False: f"{record['bar']} [red]✗[/]", None: ""}[record["keeps"]]
        table.add_row(
            *("" if cell is None else f"{cell:,g}" if isinstance(cell, float) else cell for cell in cells), bar
        )
    console = rich.console.Console()
    rich.console.Console(width=None if console.is_terminal else _TABLE_WIDTH).print(table)


if __name__ == "__main__":
    main()
