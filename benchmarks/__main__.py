"""`python -m benchmarks [NAME] [--json]`: run all benchmarks or one; a table, or one JSON object a line."""

import argparse
import importlib
import json
import pkgutil
from typing import Any

import benchmarks


def main() -> None:
    names = sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name != "__main__")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the project beside a reference.")
    parser.add_argument("name", nargs="?", choices=names, help="the benchmark to run (default: all)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    chosen = parser.parse_args()
    measured: list[dict[str, Any]] = []
    for name in [chosen.name] if chosen.name else names:
        for row in importlib.import_module(f"benchmarks.{name}").run():
            record = {
                "bench": name,
                "metric": row.metric,
                "value": _rounded(row.value),
                "unit": row.unit,
                "reference": _rounded(row.reference),
                "ratio": _rounded(row.ratio),
            }
            measured.append(record)
            if chosen.json:
                print(json.dumps(record), flush=True)
    if not chosen.json:
        _show(measured)


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _show(measured: list[dict[str, Any]]) -> None:
    import rich.console
    import rich.table

    table = rich.table.Table()
    for heading in ("bench", "metric"):
        table.add_column(heading, overflow="fold")
    for heading in ("value", "unit", "reference", "ratio"):
        table.add_column(heading, justify="left" if heading == "unit" else "right", no_wrap=True)
    for record in measured:
        table.add_row(
            *("" if each is None else f"{each:,g}" if isinstance(each, float) else each for each in record.values())
        )
    rich.console.Console().print(table)


if __name__ == "__main__":
    main()
