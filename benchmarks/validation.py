"""Validation: a manifest of a million rows, one in a hundred broken, in a process of its own: seconds and peak memory.

Bounds, as references: 60 s and 2,000 MB on 2 cores.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import Row
from data_contracts import files
from data_contracts import manifest as contract
from fer.curation import validate
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.workspace import Workspace
from fer.ingest.refs import ManifestRef

_N_ROWS = 1_000_000
_AT_ONCE = 100_000
_CLASSES = ("angry", "happy", "sad")


def run() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as temporary:
        manifest = _manifest(LocalWorkspace(temporary))
        # In a process of its own the peak is that of validation, including the import of Great Expectations.
        done = subprocess.run(
            [sys.executable, "-m", __name__, temporary, manifest.model_dump_json()],
            capture_output=True,
            text=True,
            check=True,
        )
    measured = json.loads(done.stdout.splitlines()[-1])
    yield Row(f"a manifest of {_N_ROWS:,} rows validated; reference: the bound", measured["seconds"], "s", 60)
    yield Row("its peak memory; reference: the bound", measured["peak_mb"], "MB", 2_000)


def _manifest(workspace: Workspace) -> ManifestRef:
    """Rows of 48x48 images, of which one in a hundred is too narrow."""

    def produce(out: Path) -> ManifestRef:
        draw = np.random.default_rng(0)
        with pq.ParquetWriter(out / files.MANIFEST, contract.SCHEMA) as writer:
            for start in range(0, _N_ROWS, _AT_ONCE):
                writer.write_table(_rows(np.arange(start, start + _AT_ONCE), draw))
        return ManifestRef(
            source="bench", layouts=("class folders",), classes=_CLASSES, n_found=_N_ROWS, n_quarantined=0
        )

    return workspace.run("index", "bench", ManifestRef, produce, resumable=False)


def _rows(numbers: np.ndarray, draw: np.random.Generator) -> pa.Table:
    n = len(numbers)
    digests = [f"{number:064x}" for number in numbers.tolist()]
    labels = np.array(_CLASSES)[numbers % len(_CLASSES)]
    columns = {
        "image_id": [digest[32:] for digest in digests],
        "source": ["bench"] * n,
        "path": [f"faces/{label}/{number:08d}.png" for label, number in zip(labels, numbers, strict=True)],
        "raw_label": labels,
        "label": labels,
        "size_bytes": np.full(n, 1_600),
        "format": ["JPEG"] * n,
        "width": np.where(numbers % 100 == 0, 4, 48),
        "height": np.full(n, 48),
        "file_sha256": digests,
        "pixel_sha256": digests,
        "status": [contract.ACCEPTED] * n,
        "part": numbers // 2_000,
        "row": numbers % 2_000,
    } | {name: draw.random(n) for name in ("mean", "std", "p05", "p99", "entropy", "sharpness")}
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(n, field.type)
        for field in contract.SCHEMA
    ]
    return pa.table(arrays, schema=contract.SCHEMA)


def _validate(folder: str, manifest: str) -> None:
    """The work of the separate process, which prints its seconds and peak memory."""
    start = time.perf_counter()
    ref = validate.validate(
        ManifestRef.model_validate_json(manifest), validate.ValidateConfig(), workspace=LocalWorkspace(folder)
    )
    taken = time.perf_counter() - start
    assert ref.n_accepted == _N_ROWS * 99 // 100
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": taken, "peak_mb": peak_kb / 1_000 * 1.024}))


if __name__ == "__main__":
    _validate(*sys.argv[1:])
