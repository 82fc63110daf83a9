"""Preprocessing: images/s on generated 48x48 JPEGs, which cost the decoder what FER2013's do.

"In its second half" leaves out what does not grow with the data: the start of the other processes before it, the
contract after it. "The whole stage" has it all, but for the commit.
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
_FEWER = 12_000  # at 224x224, where each takes 50 KB
_CORES = 2
_TWO = runners.Processes(workers=_CORES, alone_s=0)
_ONE = runners.Processes(workers=1)


def config(side: int) -> preprocessing.PreprocessConfig:
    """What the report did to its images."""
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
    def ours() -> None:
        for data in jpegs:
            preprocessing.prepare_encoded(data, config(48))

    taken = seconds({"ours": ours, "bare": lambda: _bare(jpegs, 48)}, rounds=9)
    yield Row(
        "one image prepared, one core; reference: the bare cv2 calls",
        len(jpegs) / taken["ours"],
        "images/s",
        len(jpegs) / taken["bare"],
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
    some = jpegs[:4_000]

    def floor() -> float:
        start = time.perf_counter()
        _bare(some, side)
        return len(some) / (time.perf_counter() - start)

    def stage(runner: runners.Runner) -> float:
        told: list[tuple[float, int]] = []
        with tempfile.TemporaryDirectory(dir=workspace.root) as out:
            preprocess.preprocess.produce(
                Path(out),
                *source,
                config(side),
                workspace=workspace,
                progress=lambda done, total, text="": told.append((time.perf_counter(), done)),
                runner=runner,
            )
        (middle, n_middle), (last, n_last) = told[len(told) // 2], told[-1]
        return (n_last - n_middle) / (last - middle)

    found = medians({"floor": floor, "two": lambda: stage(_TWO), "one": lambda: stage(_ONE)})
    head = f"{n_images:,} images to {side}x{side}, in its second half, "
    bare = "the bare cv2 calls on bytes in memory"
    yield Row(
        f"{head}{_CORES} processes; reference: {bare}, times {_CORES}",
        found["two"],
        "images/s",
        _CORES * found["floor"],
        at_least=0.8,
    )
    yield Row(f"{head}one process; reference: {bare}", found["one"], "images/s", found["floor"])
    yield Row(f"{head}{_CORES} processes; reference: one", found["two"], "images/s", found["one"], at_least=1.8)


def _plain_loop(
    folder: Path,
    workspace: Workspace,
    source: tuple[ManifestRef, SplitRef],
    jpegs: Sequence[bytes],
    side: int,
) -> Iterator[Row]:
    """What notebooks do: every file read, resized, blurred and appended, then normalised as one array."""
    paths = []
    for number, data in enumerate(jpegs[:3_000]):  # in double precision all of them would not fit into memory
        paths.append(folder / f"{number}.jpg")
        paths[-1].write_bytes(data)

    def notebook() -> float:
        start = time.perf_counter()
        found = []
        for path in paths:
            image: Any = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            found.append(cv2.GaussianBlur(cv2.resize(image, (side, side)), (3, 3), 0) / 255.0)
        pixels = np.array(found)
        pixels = (pixels - pixels.mean()) / pixels.std()
        np.save(folder / "pixels.npy", pixels)
        return len(paths) / (time.perf_counter() - start)

    def ours() -> float:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory(dir=folder) as out:
            preprocess.preprocess.produce(
                Path(out), *source, config(side), workspace=workspace, progress=silent, runner=_TWO
            )
        return len(jpegs) / (time.perf_counter() - start)

    found = medians({"ours": ours, "notebook": notebook})
    yield Row(
        f"{len(jpegs):,} images to {side}x{side}, the whole stage; reference: a notebook's loop over files",
        found["ours"],
        "images/s",
        found["notebook"],
        at_least=5,
    )


def _one_percent(folder: Path, jpegs: Sequence[bytes], n_images: int) -> Iterator[Row]:
    """The stage over images of which 99 % were there in the last version."""
    grown, empty = LocalWorkspace(folder / "grown"), LocalWorkspace(folder / "empty")
    n_old = n_images * 99 // 100

    def some(n: int) -> Iterator[bytes]:
        return itertools.islice(itertools.cycle(jpegs), n)

    preprocess.preprocess(*inputs(grown, some(n_old), n_old, "old"), config(48), workspace=grown, runner=_TWO)
    sources = {each: inputs(each, some(n_images), n_images, "all") for each in (grown, empty)}

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

    found = medians(
        {
            "grown": lambda: stage(grown),
            "empty": lambda: stage(empty),
            "grown, bare": lambda: without_contract(grown),
            "empty, bare": lambda: without_contract(empty),
        }
    )
    head = f"{n_images:,} images to 48x48 of which 1 % are new, the whole stage"
    yield Row(f"{head}; reference: all of them new", found["grown"], "s", found["empty"], at_most=0.05)
    yield Row(
        f"{head} without its contract; reference: all of them new",
        found["grown, bare"],
        "s",
        found["empty, bare"],
        at_most=0.05,
    )


def some_jpegs(n_images: int) -> list[bytes]:
    """Smooth shapes with grain: they cost the decoder what small photographs do."""
    draw = np.random.default_rng(0)
    found = []
    for coarse, grain in zip(
        draw.integers(40, 216, (n_images, 6, 6)), draw.normal(0, 8, (n_images, 48, 48)), strict=True
    ):
        smooth = cv2.resize(coarse.astype(np.float32), (48, 48), interpolation=cv2.INTER_CUBIC)
        image = np.clip(smooth + grain, 0, 255).astype(np.uint8)
        found.append(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return found


def inputs(workspace: Workspace, jpegs: Iterable[bytes], n_images: int, key: str) -> tuple[ManifestRef, SplitRef]:
    """Commit what the index and split stages would have made of these images, in FER2013's classes and splits."""
    places = np.arange(n_images)
    splits = np.array(["train"] * 8 + ["validation", "test"])[places % 10]
    labels = np.repeat(np.arange(len(CLASSES), dtype=np.int32), _PER_CLASS)[places * 7_919 % sum(_PER_CLASS)]

    def index(out: Path) -> ManifestRef:
        (out / files.IMAGES).mkdir()
        rest = iter(jpegs)
        for part in range(math.ceil(n_images / _PER_PART)):
            found = (("", data) for data in itertools.islice(rest, _PER_PART))
            image_files.write(out / files.IMAGES / files.image_part(part), found)
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
    """32 hex that look as if drawn, as a hash's do."""
    return f"{(number * 0x9E3779B97F4A7C15 + 1) % 2**64:016x}{number:016x}"
