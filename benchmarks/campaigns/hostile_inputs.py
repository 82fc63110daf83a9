"""Hostile inputs, one after the other: does each end in a declared error, in little memory and time?

    python -m benchmarks.campaigns.hostile_inputs            # all inputs, minutes; Ctrl-C, and go on later
    python -m benchmarks.campaigns.hostile_inputs --table    # none: docs/reference/hostile-inputs.md, from the results

The inputs are those of the tests (`tests/support/hostile_*.py`), and the large ones that are too slow for these. Each
kind is read in a process of its own, by the reader that meets such files. An input is held if what it raises, if
anything, is an error of this project's, with at most 1.5 GB more memory than before and within 10 s. The memory is the
process's own peak (VmHWM), which is reset before each input.
"""

import argparse
import contextlib
import ctypes
import dataclasses
import functools
import gc
import io
import json
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_PAGE = _ROOT / "docs" / "reference" / "hostile-inputs.md"
_MOST_MB, _MOST_S = 1_500, 10
_TIMEOUT_S = 3_600


@dataclasses.dataclass(frozen=True)
class _Input:
    """Bytes, and the limits of time for as many files as they are."""

    name: str
    make: Callable[[], bytes]
    n_files: int = 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.campaigns.hostile_inputs")
    parser.add_argument("--results", type=Path, default=Path("hostile-inputs.jsonl"), help="a JSON object a line")
    parser.add_argument("--kind", help="one kind instead of all")
    parser.add_argument("--table", action="store_true", help=f"write {_PAGE.relative_to(_ROOT)} from the results")
    arguments = parser.parse_args()
    if arguments.table:
        _PAGE.write_text(_page(_read(arguments.results)))
        return
    for kind in _KINDS if arguments.kind is None else [arguments.kind]:
        code = "from benchmarks.campaigns import hostile_inputs; hostile_inputs.work()"
        command = [sys.executable, "-c", code, kind, str(arguments.results)]
        while (ended := subprocess.run(command, timeout=_TIMEOUT_S, cwd=_ROOT).returncode) != 0:
            print(f"{kind}: the process ended with code {ended}; the input counts as not held", flush=True)


def work() -> None:
    """The measured process: the inputs of a kind that the results don't have yet."""
    kind, results = sys.argv[1], Path(sys.argv[2])
    sys.path.insert(0, str(_ROOT / "tests" / "support"))
    known = {line["name"] for line in _read(results) if line["kind"] == kind}
    inputs, read = _KINDS[kind]
    with tempfile.TemporaryDirectory(prefix="fer-hostile-") as folder:
        for item in inputs():
            if item.name in known:
                continue
            data = item.make()
            started = {"kind": kind, "name": item.name, "bytes": len(data), "held": False, "ended": "killed"}
            with results.open("a") as file:
                file.write(json.dumps(started) + "\n")
                file.flush()
                line = started | _measured(functools.partial(read, Path(folder), data), item.n_files)
                file.write(json.dumps(line) + "\n")
            print(f"{kind:12} {item.name:45} {line['mb']:8.0f} MB {line['s']:6.1f} s  {line['ended']}", flush=True)


def _measured(read: Callable[[], object], n_files: int) -> dict[str, Any]:
    from fer import errors

    _give_back()
    before_kb = _status_kb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    wall, cpu = time.monotonic(), time.process_time()
    message, is_declared = "", True
    try:
        read()
        ended = "read"
    except errors.FerError as error:
        ended, message = type(error).__name__, str(error)[:300]
    except Exception as error:  # noqa: BLE001 - what nobody foresaw is what the campaign looks for
        ended, message, is_declared = f"undeclared {type(error).__name__}", str(error)[:300], False
    mb = max(0, _status_kb("VmHWM") - before_kb) / 1024
    seconds = time.process_time() - cpu
    held = is_declared and mb <= _MOST_MB and seconds <= _MOST_S * n_files
    return {
        "ended": ended,
        "message": message,
        "mb": round(mb, 1),
        "s": round(seconds, 2),
        "wall_s": round(time.monotonic() - wall, 2),
        "held": held,
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _give_back() -> None:
    """Give memory that is kept for later back to the system: it would hide what an input takes."""
    import pyarrow as pa

    gc.collect()
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _status_kb(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _cases(cases: Iterable[Any]) -> list[_Input]:
    return [_Input(case.name, case.make) for case in cases]


def _images() -> list[_Input]:
    import hostile_corpus

    return _cases(hostile_corpus.IMAGES)


def _rows() -> list[_Input]:
    import hostile_corpus

    def table(case: Any) -> bytes:
        return hostile_corpus.zipped({"fer2013.csv": hostile_corpus.HEADER.encode() + b"\n" + case.make()})

    return [_Input(case.name, functools.partial(table, case)) for case in hostile_corpus.ROWS]


def _archives() -> list[_Input]:
    import hostile_corpus

    return _cases(hostile_corpus.ARCHIVES)


def _tables() -> list[_Input]:
    import hostile_corpus
    import hostile_label_files as label_files

    return _cases([*hostile_corpus.TABLES, *label_files.LABEL_FILES])


def _models() -> list[_Input]:
    import hostile_models

    return [
        *_cases(hostile_models.MODELS),
        *(_Input(f"weight-{value}", functools.partial(hostile_models.with_value, value)) for value in _NOT_FINITE),
        _Input("model-configuration-of-gigabytes", _large_configuration),
    ]


_NOT_FINITE = (float("nan"), float("inf"))


def _recipes() -> list[_Input]:
    import hostile_recipes

    return _cases(hostile_recipes.RECIPES)


def _large() -> list[_Input]:
    import hostile_label_files as label_files

    beside = label_files.beside
    return [
        _Input("a cell of 400 MB in a Parquet", lambda: beside("labels.parquet", label_files.one_cell(400 << 20))),
        _Input("two million short cells", lambda: beside("labels.parquet", label_files.short_cells(2_000_000))),
        _Input("700,000 short cells", lambda: beside("labels.parquet", label_files.short_cells(700_000))),
        _Input("700,000 rows for one file in a CSV", lambda: beside("labels.csv", _one_file(700_000))),
        _Input("500 JPEGs of 67 megapixels, cut and closed", functools.partial(_cut_jpegs, 500)),
        _Input("10 whole JPEGs of 67 megapixels", functools.partial(_whole_jpegs, 10), n_files=10),
        _Input("50 blank PNGs of 67 megapixels", functools.partial(_blank_pngs, 50)),
    ]


def _one_file(n_rows: int) -> bytes:
    return b"file,label\n" + b"a.png,happy\n" * n_rows


def _jpeg() -> bytes:
    import numpy as np
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.full((8_192, 8_192), 90, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def _numbered(data: bytes, n_files: int, suffix: str) -> bytes:
    import hostile_corpus

    whole = hostile_corpus.pictures()
    return hostile_corpus.zipped(whole | {f"happy/{n}.{suffix}": data for n in range(n_files)})


def _cut_jpegs(n_files: int) -> bytes:
    data = _jpeg()
    return _numbered(data[: len(data) // 2] + b"\xff\xd9", n_files, "jpg")


def _whole_jpegs(n_files: int) -> bytes:
    return _numbered(_jpeg(), n_files, "jpg")


def _blank_pngs(n_files: int) -> bytes:
    import numpy as np
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8_192, 8_192), np.uint8)).save(buffer, "PNG")
    return _numbered(buffer.getvalue(), n_files, "png")


def _large_configuration() -> bytes:
    """A model whose configuration is 4 GB of blanks in 4 MB."""
    import hostile_models

    compressor = zlib.compressobj(9, wbits=-15)
    block = b" " * (1 << 20)
    packed = b"".join(compressor.compress(block) for _ in range(4_000)) + compressor.flush()
    buffer = io.BytesIO(hostile_models.keras_file(packed))
    with zipfile.ZipFile(buffer) as archive:
        entry = archive.getinfo("config.json")
    data = bytearray(buffer.getvalue())
    at = data.index(b"PK\x01\x02", entry.header_offset + len(packed))
    data[at + 10 : at + 12] = b"\x08\0"
    data[at + 24 : at + 28] = (4_000 << 20).to_bytes(4, "little")
    return bytes(data)


def _index(folder: Path, data: bytes) -> None:
    """Index a source of this archive, as `fer retrain` does first."""
    from fer.engine.local_workspace import LocalWorkspace
    from fer.ingest import download, index, sources

    path = folder / "source.zip"
    path.write_bytes(data)
    del data
    workspace = LocalWorkspace(folder / "workspace")
    classes = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    dataset = download.download(download.resolve(sources.parse(f"archive:{path}")), workspace=workspace)
    index.index((dataset,), index.IndexConfig(classes=classes), index.OfficialNames(), None, workspace=workspace)


def _decode(folder: Path, data: bytes) -> None:
    """Decode an image, as the index stage and `fer predict` do."""
    from fer import errors
    from fer.images import decode

    try:
        decode.decode(data)
    except decode.UndecodableImage as error:
        raise errors.SourceError(str(error)) from error


def _load_model(folder: Path, data: bytes) -> None:
    from data_contracts import files
    from fer.models import saved_model

    (folder / files.MODEL).write_bytes(data)
    saved_model.load(folder)


def _load_recipe(folder: Path, data: bytes) -> None:
    from fer.recipes import catalog, files

    path = folder / "recipe.toml"
    path.write_bytes(data)
    files.load(path, catalog.load)


# Kind -> its inputs, and what reads one.
_KINDS: dict[str, tuple[Callable[[], list[_Input]], Callable[[Path, bytes], None]]] = {
    "images": (_images, _decode),
    "rows": (_rows, _index),
    "archives": (_archives, _index),
    "tables": (_tables, _index),
    "models": (_models, _load_model),
    "recipes": (_recipes, _load_recipe),
    "large": (_large, _index),
}


def _read(results: Path) -> list[dict[str, Any]]:
    """The last line of each input."""
    if not results.exists():
        return []
    lines = map(json.loads, results.read_text().splitlines())
    return list({(line["kind"], line["name"]): line for line in lines}.values())


def _page(results: list[dict[str, Any]]) -> str:
    from benchmarks.__main__ import machine

    names = {
        "images": "images of all formats, and what is none",
        "rows": "rows of a CSV of pixels",
        "archives": "zips",
        "tables": "CSV, Parquet, JSON, lists and arrays of labels",
        "models": "models and weights",
        "recipes": "recipe files",
        "large": "large ones: Parquet, CSV, JPEG and PNG",
    }
    rows = []
    for kind, title in names.items():
        lines = [line for line in results if line["kind"] == kind]
        n_refused = sum(line["ended"] != "read" for line in lines)
        most_mb = max((line.get("mb", 0) for line in lines), default=0)
        most_s = max((line.get("s", 0) for line in lines), default=0)
        n_held = sum(line["held"] for line in lines)
        rows.append(f"| {title} | {len(lines)} | {n_refused} | {n_held} | {most_mb:,.0f} MB | {most_s:.1f} s |")
    days = sorted(line["utc"][:10] for line in results if "utc" in line)
    period = f"{days[0]} to {days[-1]}" if days else "no trials yet"
    about = machine()
    return "\n".join(
        [
            "# Hostile inputs",
            "",
            "Inputs that are damaged, lie of their sizes or ask for too much, each read as `fer` reads",
            f"it. One is held if it ends in a declared error or is read, with at most {_MOST_MB / 1000:g} GB more",
            f"memory than before and within {_MOST_S} s of processor time a file.",
            "",
            "| kind | tried | refused | held | most memory more | longest |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            f"{period}, Python {about['python']}, {about['cores']} cores.",
            "The limits are in [limits of inputs](../explanation/limits.md). This page is made by",
            "`python -m benchmarks.campaigns.hostile_inputs --table`.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
