"""Preprocessing: images/s on generated 48x48 JPEGs, which cost the decoder as much as FER2013's.

"In its second half" leaves out what does not grow with the data: the start of the worker processes and the contract.
"The whole stage" covers everything except the commit.
"""

import itertools
import math
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import Row, medians, seconds
from data_contracts import files
from fer.curation.refs import SplitRef
from fer.engine import runners
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.workspace import Workspace
from fer.ingest import image_files
from fer.ingest.refs import ManifestRef
from fer.progress import silent
from fer.shards import preprocess, preprocessing

N_IMAGES = 35_887  # as many as FER2013 has
CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
_PER_CLASS = (4_953, 547, 5_121, 8_989, 6_198, 6_077, 4_002)  # FER2013's, of all splits
_PER_PART = 2_000
_FEWER = 12_000  # at 224x224, where an image takes 50 KB
_CORES = 2
_TWO = runners.Processes(workers=_CORES, alone_s=0)
_ONE = runners.Processes(workers=1)


def config(side: int) -> preprocessing.PreprocessConfig:
    """The preprocessing of the 2024 report."""
    return preprocessing.PreprocessConfig(height=side, width=side, blur_kernel=3)


def run() -> Iterator[Row]:
    jpegs = some_jpegs(N_IMAGES)
    yield from _one_image(jpegs[:4_000])
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as temporary:
        workspace = LocalWorkspace(Path(temporary) / "workspace")
        for side, n_images in ((48, N_IMAGES), (224, _FEWER)):
            source = inputs(workspace, jpegs, n_images, f"{n_images}")
            yield from _plain_loop(Path(temporary), workspace, source, jpegs[:n_images], side)
        for side, n_images in ((48, 3 * N_IMAGES), (224, _FEWER)):
            many = itertools.islice(itertools.cycle(jpegs), n_images)
            yield from _throughput(workspace, inputs(workspace, many, n_images, f"{n_images}"), n_images, jpegs, side)
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as temporary:
        yield from _one_percent(Path(temporary), jpegs, 10 * N_IMAGES)


def _one_image(jpegs: Sequence[bytes]) -> Iterator[Row]:
    def project() -> None:
        for data in jpegs:
            preprocessing.prepare_encoded(data, config(48))

    duration = seconds({"ours": project, "bare": lambda: _bare(jpegs, 48)}, rounds=9)
    yield Row(
        "one image prepared, one core; reference: the bare cv2 calls",
        len(jpegs) / duration["ours"],
        "images/s",
        len(jpegs) / duration["bare"],
    )


def _bare(jpegs: Sequence[bytes], side: int) -> None:
    for data in jpegs:
        image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        cv2.GaussianBlur(cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR), (3, 3), 0)


def _throughput(
    workspace: Workspace,
    source: tuple[ManifestRef, SplitRef],
    n_images: int,
    jpegs: Sequence[bytes],
    side: int,
) -> Iterator[Row]:
    sample = jpegs[:4_000]

    def floor() -> float:
        start = time.perf_counter()
        _bare(sample, side)
        return len(sample) / (time.perf_counter() - start)

    def stage(runner: runners.Runner) -> float:
        reports: list[tuple[float, int]] = []
        with tempfile.TemporaryDirectory(dir=workspace.root) as out:
            preprocess.preprocess.produce(
                Path(out),
                *source,
                config(side),
                workspace=workspace,
                progress=lambda done, total, text="": reports.append((time.perf_counter(), done)),
                runner=runner,
            )
        (middle, n_middle), (last, n_last) = reports[len(reports) // 2], reports[-1]
        return (n_last - n_middle) / (last - middle)

    speed = medians({"floor": floor, "two": lambda: stage(_TWO), "one": lambda: stage(_ONE)})
    head = f"{n_images:,} images to {side}x{side}, in its second half, "
    bare = "the bare cv2 calls on bytes in memory"
    yield Row(
        f"{head}{_CORES} processes; reference: {bare}, times {_CORES}",
        speed["two"],
        "images/s",
        _CORES * speed["floor"],
        at_least=0.8,
    )
    yield Row(f"{head}one process; reference: {bare}", speed["one"], "images/s", speed["floor"])
    yield Row(f"{head}{_CORES} processes; reference: one", speed["two"], "images/s", speed["one"], at_least=1.8)


def _plain_loop(
    folder: Path,
    workspace: Workspace,
    source: tuple[ManifestRef, SplitRef],
    jpegs: Sequence[bytes],
    side: int,
) -> Iterator[Row]:
    """The loop of a notebook: every file read, resized, blurred and appended, then normalised as one array."""
    paths = []
    for number, data in enumerate(jpegs[:3_000]):  # in double precision all of them would not fit into memory
        paths.append(folder / f"{number}.jpg")
        paths[-1].write_bytes(data)

    def notebook() -> float:
        start = time.perf_counter()
        images = []
        for path in paths:
            image: Any = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            images.append(cv2.GaussianBlur(cv2.resize(image, (side, side)), (3, 3), 0) / 255.0)
        pixels = np.array(images)
        pixels = (pixels - pixels.mean()) / pixels.std()
        np.save(folder / "pixels.npy", pixels)
        return len(paths) / (time.perf_counter() - start)

    def project() -> float:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory(dir=folder) as out:
            preprocess.preprocess.produce(
                Path(out), *source, config(side), workspace=workspace, progress=silent, runner=_TWO
            )
        return len(jpegs) / (time.perf_counter() - start)

    speed = medians({"ours": project, "notebook": notebook})
    yield Row(
        f"{len(jpegs):,} images to {side}x{side}, the whole stage; reference: a notebook's loop over files",
        speed["ours"],
        "images/s",
        speed["notebook"],
        at_least=5,
    )


def _one_percent(folder: Path, jpegs: Sequence[bytes], n_images: int) -> Iterator[Row]:
    """The stage on images of which 99 % were in the previous version."""
    grown, empty = LocalWorkspace(folder / "grown"), LocalWorkspace(folder / "empty")
    n_old = n_images * 99 // 100

    def repeated(n: int) -> Iterator[bytes]:
        return itertools.islice(itertools.cycle(jpegs), n)

    preprocess.preprocess(*inputs(grown, repeated(n_old), n_old, "old"), config(48), workspace=grown, runner=_TWO)
    sources = {workspace: inputs(workspace, repeated(n_images), n_images, "all") for workspace in (grown, empty)}

    def stage(workspace: Workspace) -> float:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory(dir=folder) as out:
            preprocess.preprocess.produce(
                Path(out),
                *sources[workspace],
                config(48),
                workspace=workspace,
                progress=silent,
                runner=runners.Processes(workers=_CORES),
            )
        return time.perf_counter() - start

    def without_contract(workspace: Workspace) -> float:
        with mock.patch.object(preprocess.checks, "check"):
            return stage(workspace)

    duration = medians(
        {
            "grown": lambda: stage(grown),
            "empty": lambda: stage(empty),
            "grown, bare": lambda: without_contract(grown),
            "empty, bare": lambda: without_contract(empty),
        }
    )
    head = f"{n_images:,} images to 48x48 of which 1 % are new, the whole stage"
    yield Row(f"{head}; reference: all of them new", duration["grown"], "s", duration["empty"], at_most=0.05)
    yield Row(
        f"{head} without its contract; reference: all of them new",
        duration["grown, bare"],
        "s",
        duration["empty, bare"],
        at_most=0.05,
    )


def some_jpegs(n_images: int) -> list[bytes]:
    """Smooth shapes with grain, which cost the decoder as much as small photographs."""
    draw = np.random.default_rng(0)
    jpegs = []
    for coarse, grain in zip(
        draw.integers(40, 216, (n_images, 6, 6)), draw.normal(0, 8, (n_images, 48, 48)), strict=True
    ):
        smooth = cv2.resize(coarse.astype(np.float32), (48, 48), interpolation=cv2.INTER_CUBIC)
        image = np.clip(smooth + grain, 0, 255).astype(np.uint8)
        jpegs.append(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return jpegs


def inputs(workspace: Workspace, jpegs: Iterable[bytes], n_images: int, key: str) -> tuple[ManifestRef, SplitRef]:
    """Commit outputs of the index and split stages for these images, in FER2013's classes and splits."""
    places = np.arange(n_images)
    splits = np.array(["train"] * 8 + ["validation", "test"])[places % 10]
    labels = np.repeat(np.arange(len(CLASSES), dtype=np.int32), _PER_CLASS)[places * 7_919 % sum(_PER_CLASS)]

    def index(out: Path) -> ManifestRef:
        (out / files.IMAGES).mkdir()
        rest = iter(jpegs)
        for part in range(math.ceil(n_images / _PER_PART)):
            named = (("", data) for data in itertools.islice(rest, _PER_PART))
            image_files.write(out / files.IMAGES / files.image_part(part), named)
        return ManifestRef(source="bench", layouts=(), classes=CLASSES, n_found=n_images, n_quarantined=0)

    def split(out: Path) -> SplitRef:
        table = pa.table(
            {
                "image_id": [image_id(place) for place in places.tolist()],
                "class_index": labels,
                "split": splits,
                "part": pa.array(places // _PER_PART, pa.int32()),
                "row": pa.array(places % _PER_PART, pa.int32()),
            }
        )
        pq.write_table(table.sort_by("image_id"), out / files.SPLIT, row_group_size=65_536)
        counts = {
            split: dict(
                zip(CLASSES, np.bincount(labels[splits == split], minlength=len(CLASSES)).tolist(), strict=True)
            )
            for split in files.SPLITS
        }
        return SplitRef(classes=CLASSES, counts=counts, origin="drawn")

    return (
        workspace.run("index", key, ManifestRef, index, resumable=False),
        workspace.run("split", key, SplitRef, split, resumable=False),
    )


def image_id(number: int) -> str:
    """32 hexadecimal digits that look random, like those of a hash."""
    return f"{(number * 0x9E3779B97F4A7C15 + 1) % 2**64:016x}{number:016x}"
