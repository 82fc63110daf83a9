"""Peak memory of preprocessing, balancing and streaming at 1, 10 and 50 times FER2013: it must not grow with the data.

Each stage runs in a process of its own. Its memory and that of its children is added up ten times per second, with
pages that several processes share counted once (PSS). Takes some minutes and 15 GB of disk.
"""

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from benchmarks import Row
from benchmarks import preprocess as source
from fer.curation.refs import SplitRef
from fer.engine import runners
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.workspace import Workspace
from fer.ingest.refs import ManifestRef
from fer.shards import balance, preprocess
from fer.shards.refs import ShardsRef
from fer.training import input_pipeline

_TIMES = (1, 10, 50)
_TARGET = 7_200  # images per class at 1 x FER2013: the largest class of its train split
_EVERY_S = 0.1
_RUNNER = runners.Processes(workers=2, alone_s=0)


def run() -> Iterator[Row]:
    jpegs = source.some_jpegs(source.N_IMAGES)
    images = [_decoded(jpeg) for jpeg in jpegs]
    peaks: dict[str, list[float]] = {"preprocess": [], "balance": [], "streaming": []}
    for times in _TIMES:
        with tempfile.TemporaryDirectory(prefix="fer-bench-") as temporary:
            workspace = LocalWorkspace(temporary)
            source.inputs(workspace, _repeated(jpegs, images, times), times * len(jpegs), "bench")
            for name, peaks_mb in peaks.items():
                peaks_mb.append(_peak_mb(name, workspace, times))
                yield Row(
                    f"{name}, peak memory of its processes at {times} times FER2013; reference: at {_TIMES[0]} time",
                    peaks_mb[-1],
                    "MB",
                    peaks_mb[0],
                    at_most=1.15,
                )


def _decoded(jpeg: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE))


def _repeated(jpegs: Sequence[bytes], images: Sequence[np.ndarray], times: int) -> Iterator[bytes]:
    """The images, then copies of them with fresh noise until there are `times` as many."""
    yield from jpegs
    draw = np.random.default_rng(0)
    noise = draw.integers(0, 12, (997, 48, 48), np.uint8)
    for number, image in zip(range((times - 1) * len(images)), itertools.cycle(images), strict=False):
        grainy: Any = cv2.add(image, noise[number % len(noise)])
        yield cv2.imencode(".jpg", grainy, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def _peak_mb(name: str, workspace: Workspace, times: int) -> float:
    command = [
        sys.executable,
        "-c",
        "from benchmarks import memory; memory.work()",
        name,
        str(workspace.root),
        str(times),
    ]
    peak = 0
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            peak = max(peak, _pss(psutil.Process(process.pid)))
            time.sleep(_EVERY_S)
    if process.returncode:
        raise RuntimeError(f"{name} at {times} ended with code {process.returncode}")
    return peak / 1e6


def _pss(parent: psutil.Process) -> int:
    total = 0
    try:
        for process in [parent, *parent.children(recursive=True)]:
            total += process.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.ZombieProcess):  # a process ended just now
        return 0
    return total


def work() -> None:
    """The measured process: run one stage on the outputs in the workspace."""
    name, root, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
    workspace = LocalWorkspace(root)
    if name == "preprocess":
        manifest = workspace.committed("index", "bench", ManifestRef)
        split = workspace.committed("split", "bench", SplitRef)
        shards = preprocess.preprocess(manifest, split, source.config(48), workspace=workspace, runner=_RUNNER)
        Path(root, "preprocess.json").write_text(shards.model_dump_json())
    elif name == "balance":
        shards = ShardsRef.model_validate_json(Path(root, "preprocess.json").read_bytes())
        config = balance.BalanceConfig(target=_TARGET * times)
        balanced = balance.balance(shards, config, workspace=workspace, runner=_RUNNER)
        Path(root, "balance.json").write_text(balanced.model_dump_json())
    else:
        balanced = ShardsRef.model_validate_json(Path(root, "balance.json").read_bytes())
        streaming = input_pipeline.open_split(workspace.folder(balanced), "train", balanced, resident_mb=0)
        n_images = sum(len(batch.class_indexes) for batch in streaming.batches(64, seed=0, epoch=1))
        assert n_images > 0, json.dumps(balanced.counts)
