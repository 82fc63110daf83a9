"""Memory and time of `fer score` by the number of pictures: rows of Parquet, and image files.

Faces of 48x48 are drawn once and repeated, each with a row of its own. A process of its own brings them in and scores
them, whole, by a model of one layer, so that what is measured is the way of the pictures; its peak memory is taken.
FER_BENCH_ROWS=1000000 scores so many rows at the end.
"""

import hashlib
import math
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import Row
from fer.engine.processes import child_process
from fer.progress import Progress

_ROWS, _FILES = (8_000, 32_000, 128_000), (2_000, 8_000, 32_000)
_ROWS_PER_FILE, _SIDE = 8_000, 48
_CLASSES = ("angry", "happy", "sad")
_MOST_GROWTH = 0.1  # exponent: ten times the rows take a quarter more memory


def run() -> Iterator[Row]:
    for kind, numbers in (("rows of Parquet", _ROWS), ("image files", _FILES)):
        more = [int(os.environ["FER_BENCH_ROWS"])] if "FER_BENCH_ROWS" in os.environ and kind.startswith("rows") else []
        peaks: dict[int, float] = {}
        for number in (*numbers, *more):
            with tempfile.TemporaryDirectory() as folder:
                job = child_process.Job("The measurement", timeout_s=3_600)
                arguments = {"folder": folder, "number": number, "as_rows": kind.startswith("rows")}
                measured = child_process.run(measure, arguments, job)
            peaks[number] = measured["peak_mb"]
            yield Row(f"{number:,} {kind}: peak memory", measured["peak_mb"], "MB")
            yield Row(f"{number:,} {kind}: scored", number / measured["seconds"], "pictures/s")
        first, last = min(peaks), max(peaks)
        exponent = math.log(peaks[last] / peaks[first]) / math.log(last / first)
        bar: dict[str, Any] = {"reference": _MOST_GROWTH, "at_most": 1.0} if more or kind.startswith("rows") else {}
        yield Row(f"{kind}: memory grows with their number to the power of", exponent, "", **bar)


def measure(folder: str, number: int, as_rows: bool, *, progress: Progress) -> dict[str, Any]:
    """The worker process: draw the pictures, bring them in, score them, and take the peak."""
    from fer.engine import runners
    from fer.engine.local_workspace import LocalWorkspace
    from fer.exports import serving
    from fer.ingest import download, sources
    from fer.scoring import score
    from fer.scoring.refs import ScoreConfig
    from fer.training import memory

    source = Path(folder) / "source"
    source.mkdir()
    (_write_rows if as_rows else _write_files)(source, number)
    workspace = LocalWorkspace(Path(folder) / "workspace")
    model = _release(workspace)
    began = time.perf_counter()
    resolved = download.resolve(sources.parse(f"folder:{source}"))
    dataset = download.download(resolved, workspace=workspace)
    sha256 = hashlib.sha256(_onnx()).hexdigest()
    config = ScoreConfig(release="drawn@1", model_file=serving.ONNX, model_sha256=sha256, whole=True)
    ref = score.score(dataset, model, None, config, workspace=workspace, runner=runners.Processes(workers=1))
    seconds = time.perf_counter() - began
    assert ref.n_faces == number
    return {"peak_mb": memory.peak_mb(), "seconds": seconds}


def _faces() -> list[bytes]:
    from fer.images import encode

    draw = np.random.default_rng(0)
    return [encode.png(draw.integers(0, 256, (_SIDE, _SIDE), np.uint8)) for _ in range(50)]


def _write_rows(folder: Path, number: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    faces = _faces()
    for start in range(0, number, _ROWS_PER_FILE):
        rows = pa.array([faces[row % len(faces)] for row in range(start, min(number, start + _ROWS_PER_FILE))])
        # Without dictionaries, which would hold the few faces once.
        pq.write_table(pa.table({"image": rows}), folder / f"{start:08d}.parquet", use_dictionary=False)


def _write_files(folder: Path, number: int) -> None:
    faces = _faces()
    for row in range(number):
        (folder / f"{row:08d}.png").write_bytes(faces[row % len(faces)])


def _onnx() -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).normal(0, 1e-4, (_SIDE * _SIDE, len(_CLASSES))).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["y"], axis=1),
        ],
        "one layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, _SIDE, _SIDE, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, len(_CLASSES)])],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = helper.make_opsetid("", 17)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString())


def _release(workspace: Any) -> Any:
    from data_contracts import files
    from fer.exports import serving
    from fer.shards import preprocessing
    from fer.training.refs import ModelRef

    config = preprocessing.PreprocessConfig(height=_SIDE, width=_SIDE)
    record = preprocessing.Preprocessing(
        config=config,
        classes=_CLASSES,
        height=_SIDE,
        width=_SIDE,
        mean=128.0,
        std=60.0,
        probe=preprocessing.probe(config),
    )

    def produce(out: Path) -> ModelRef:
        (out / serving.ONNX).write_bytes(_onnx())
        (out / files.PREPROCESSING).write_text(record.model_dump_json())
        return ModelRef(
            digest="drawn",
            model="one layer",
            classes=_CLASSES,
            n_parameters=1,
            epochs_run=1,
            best_epoch=1,
            validation_accuracy=0.0,
            train_seconds=0.0,
        )

    return workspace.run("champion", "drawn", ModelRef, produce, resumable=False)
