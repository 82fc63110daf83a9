"""Preprocessing: images/s of one image's preparation and of the whole stage, on generated 48x48 JPEGs."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import Row, seconds
from data_contracts import files
from fer import preprocess, refs
from fer.workspace import Workspace

_N_IMAGES = 35_887  # as many as FER2013 has
_PER_PART = 2_000
_CLASSES = ("one", "two")
_CONFIG = preprocess.PreprocessConfig(height=48, width=48, blur_kernel=3)


def run() -> Iterator[Row]:
    encoded = _jpegs(_N_IMAGES)
    some = encoded[:4_000]

    def ours() -> None:
        for data in some:
            preprocess.prepare_encoded(data, _CONFIG)

    def bare() -> None:
        for data in some:
            image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
            cv2.GaussianBlur(cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA), (3, 3), 0)

    taken = seconds({"ours": ours, "bare": bare}, rounds=9)
    yield Row(
        "one image prepared, one core; reference: the bare cv2 calls",
        len(some) / taken["ours"],
        "images/s",
        len(some) / taken["bare"],
    )
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as temporary:
        yield from _stage(Path(temporary), encoded)


def _stage(folder: Path, encoded: list[bytes]) -> Iterator[Row]:
    workspace = Workspace(folder / "workspace")
    manifest, split = _inputs(workspace, encoded)
    files = folder / "files"
    files.mkdir()
    for number, data in enumerate(encoded):
        (files / f"{number}.jpg").write_bytes(data)

    def ours() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as out:
            preprocess.preprocess.produce(
                Path(out), manifest, split, _CONFIG, workspace=workspace, progress=lambda *_: None
            )

    def plain_loop() -> None:
        pixels = []
        for number in range(len(encoded)):
            image: Any = cv2.imread(str(files / f"{number}.jpg"), cv2.IMREAD_GRAYSCALE)
            pixels.append(cv2.GaussianBlur(cv2.resize(image, (48, 48)), (3, 3), 0))
        np.save(folder / "pixels.npy", np.stack(pixels))

    taken = seconds({"ours": ours, "plain": plain_loop})
    yield Row(
        f"the stage over {len(encoded):,} images with the start of its processes; reference: a loop over files",
        len(encoded) / taken["ours"],
        "images/s",
        len(encoded) / taken["plain"],
    )


def _jpegs(n_images: int) -> list[bytes]:
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


def _inputs(workspace: Workspace, encoded: list[bytes]) -> tuple[refs.ManifestRef, refs.SplitRef]:
    """Commit what the index and split stages would have made of these images."""
    places = np.arange(len(encoded))

    def index(out: Path) -> refs.ManifestRef:
        (out / files.IMAGES).mkdir()
        for part, start in enumerate(range(0, len(encoded), _PER_PART)):
            table = pa.table({"data": pa.array(encoded[start : start + _PER_PART], pa.binary())})
            pq.write_table(table, out / files.IMAGES / files.part(part), row_group_size=1_000)
        return refs.ManifestRef(layout="folders", classes=_CLASSES, n_found=len(encoded), n_quarantined=0)

    def split(out: Path) -> refs.SplitRef:
        table = pa.table(
            {
                "image_id": [f"{place:032x}" for place in places],
                "class_index": pa.array(places % 2, pa.int32()),
                "split": np.array(["train"] * 8 + ["validation", "test"])[places % 10],
                "part": pa.array(places // _PER_PART, pa.int32()),
                "row": pa.array(places % _PER_PART, pa.int32()),
            }
        )
        pq.write_table(table, out / files.SPLIT)
        return refs.SplitRef(classes=_CLASSES, counts={}, origin="drawn")

    return (
        workspace.run("index", "bench", refs.ManifestRef, index, resumable=False),
        workspace.run("split", "bench", refs.SplitRef, split, resumable=False),
    )
