"""Data quality: images/s of each step, beside cleanvision on the same images, and how near-duplicates are found.

On faces drawn by the project; FER_BENCH_ARCHIVE=PATH takes the images of a zip of class folders instead, such as
FER2013's (15 minutes). cleanvision does all its default checks on the files, as many processes as there are cores.
"""

import contextlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.fft

from benchmarks import Row, seconds
from data_contracts import files
from data_contracts import manifest as contract
from fer import progress
from fer.curation import confident_learning, groups, near_duplicates, outliers
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.workspace import Workspace
from fer.images import encode
from fer.ingest import archives, index
from fer.ingest.demo import faces as demo_faces
from fer.ingest.refs import DatasetRef

_PER_CLASS = 500
_CORRELATION = 0.9
_MANY = 10_000  # images, from which on one round has to do
_PHASH_BITS_APART = 8


def run() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as temporary:
        folder = Path(temporary)
        bring(folder)
        with zipfile.ZipFile(folder / "images.zip") as archive:
            archive.extractall(folder / "files")
        yield from _steps(folder)


def bring(folder: Path) -> None:
    """Put the images that are measured on into `folder`, as `images.zip`."""
    given = os.environ.get("FER_BENCH_ARCHIVE")
    if given:
        shutil.copyfile(given, folder / "images.zip")
    else:
        _draw(folder / "images.zip")


def _draw(path: Path) -> None:
    """Faces of every class as class folders, with a few copies and slightly changed ones among them."""
    draw = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for label in demo_faces.CLASSES:
            for number in range(_PER_CLASS):
                face = demo_faces.draw(label, draw)
                archive.writestr(f"{label}/{number}.png", encode.png(face))
                if number % 50 == 0:
                    other = np.clip(face + draw.normal(0, 8, face.shape), 0, 255).astype(np.uint8)
                    archive.writestr(f"{label}/{number}-copy.png", encode.png(face))
                    archive.writestr(f"{label}/{number}-near.png", encode.png(other))


def _steps(folder: Path) -> Iterator[Row]:
    workspace = LocalWorkspace(folder / "workspace")
    dataset = _dataset(folder, workspace)
    config = index.IndexConfig(classes=demo_faces.CLASSES)
    thumbnails, labels, contents, _ = decoded(folder, workspace, dataset)
    n = len(labels)

    def index_again() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as out:
            index.index.produce(Path(out), (dataset,), config, workspace=workspace, progress=progress.silent)

    def find_near_duplicates() -> near_duplicates.Pairs:
        return near_duplicates.find(thumbnails, contents, _CORRELATION)

    pairs = find_near_duplicates()
    rows = np.column_stack([pairs.first, pairs.second])
    links = groups.of_rows(pa.chunked_array([contents]), rows, pairs.kind)
    group_names = [str(number) for number in links.duplicate_group]

    def doubts() -> None:
        confident_learning.find(thumbnails, labels, group_names, folds=5, max_share=0.1, seed=0)

    steps = {
        "index: read, properties, thumbnails": index_again,
        "near-duplicates": find_near_duplicates,
        "outliers": lambda: outliers.scores(thumbnails),
        "label errors": doubts,
    }
    rounds = 1 if n > _MANY else 3
    taken = seconds({**steps, "cleanvision": lambda: _cleanvision(folder / "files")}, rounds)
    for name in steps:
        reference = n / taken["cleanvision"]
        yield Row(f"{name}, {n:,} images; reference: cleanvision, all", n / taken[name], "images/s", reference)
    ours = sum(taken[name] for name in steps)
    yield Row("all of them; reference: cleanvision, all", n / ours, "images/s", n / taken["cleanvision"])
    yield from _near_duplicates(thumbnails, contents, rounds)


def _near_duplicates(thumbnails: np.ndarray, contents: list[str], rounds: int) -> Iterator[Row]:
    """Of distinct images, since identical ones need no search."""
    _, distinct = np.unique(contents, return_index=True)
    faces = thumbnails[np.sort(distinct)]
    faces = faces[faces.max(axis=1) > faces.min(axis=1)]
    names = [str(at) for at in range(len(faces))]
    found: dict[str, set[tuple[int, int]]] = {}

    def ours() -> None:
        pairs = near_duplicates.find(faces, names, _CORRELATION)
        found["ours"] = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))

    def brute_force() -> None:
        found["brute force"] = _brute_force(faces)

    def by_phash() -> None:
        found["pHash"] = _by_phash(faces)

    taken = seconds({"ours": ours, "brute force": brute_force, "pHash": by_phash}, rounds)
    wanted = len(found["brute force"])
    for name in ("ours", "pHash"):
        yield Row(f"near-duplicates by {name}: seconds; reference: brute force", taken[name], "s", taken["brute force"])
        recalled = len(found[name] & found["brute force"])
        yield Row(f"near-duplicates by {name}: pairs; reference: those of brute force", recalled, "pairs", wanted)


def _brute_force(faces: np.ndarray) -> set[tuple[int, int]]:
    """Each pair's product of unit vectors in full, float32, once."""
    units = faces - faces.mean(axis=1, keepdims=True, dtype=np.float32)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    found: set[tuple[int, int]] = set()
    for start in range(0, len(units), 1_024):
        row, column = np.nonzero(units[start : start + 1_024] @ units[start:].T >= _CORRELATION)
        later = column > row
        found |= set(zip((row[later] + start).tolist(), (column[later] + start).tolist(), strict=True))
    return found


def _by_phash(faces: np.ndarray) -> set[tuple[int, int]]:
    """Perceptual hashes of 64 bits (the signs about their median of the lowest frequencies) first, then correlation."""
    hashes = []
    for start in range(0, len(faces), 4_096):
        some = faces[start : start + 4_096].reshape(-1, contract.THUMBNAIL_SIDE, contract.THUMBNAIL_SIDE)
        low = scipy.fft.dctn(some.astype(np.float32), axes=(1, 2))[:, :8, :8].reshape(len(some), 64)
        bits = low > np.median(low, axis=1, keepdims=True)
        hashes.append(np.packbits(bits, axis=1).view(np.uint64)[:, 0])
    hashed = np.concatenate(hashes)
    found: set[tuple[int, int]] = set()
    for start in range(0, len(hashed), 256):
        apart = np.bitwise_count(hashed[start : start + 256, None] ^ hashed[None, start:])
        row, column = np.nonzero(apart <= _PHASH_BITS_APART)
        one, other = row[column > row] + start, column[column > row] + start
        near = near_duplicates.correlations(faces, one, other) >= _CORRELATION
        found |= set(zip(one[near].tolist(), other[near].tolist(), strict=True))
    return found


def _cleanvision(folder: Path) -> None:
    import cleanvision

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        cleanvision.Imagelab(data_path=str(folder), verbose=False).find_issues(verbose=False)


def _dataset(folder: Path, workspace: Workspace) -> DatasetRef:
    """Commit the archive as the download stage would."""

    def download(out: Path) -> DatasetRef:
        shutil.copyfile(folder / "images.zip", out / archives.DATASET)
        with zipfile.ZipFile(folder / "images.zip") as archive:
            n_files = len(archive.namelist())
        return DatasetRef(source="bench", n_files=n_files, size_bytes=(out / archives.DATASET).stat().st_size)

    return workspace.run("download", "bench", DatasetRef, download, resumable=False)


def decoded(
    folder: Path, workspace: Workspace | None = None, dataset: DatasetRef | None = None
) -> tuple[np.ndarray, np.ndarray, list[str], list[str | None]]:
    """Thumbnails, (n, pixels) uint8, class indices, pixel digests and the source's splits of the images in
    `images.zip` there that the index can decode.
    """
    workspace = workspace or LocalWorkspace(folder / "workspace")
    dataset = dataset or _dataset(folder, workspace)
    config = index.IndexConfig(classes=demo_faces.CLASSES)
    folder = workspace.folder(index.index((dataset,), config, workspace=workspace))
    rows = pq.read_table(folder / files.MANIFEST).to_pylist()
    parts = [pq.read_table(path)["pixels"].to_pylist() for path in sorted((folder / files.THUMBNAILS).iterdir())]
    accepted = [row for row in rows if row["status"] == contract.ACCEPTED]
    data = b"".join(parts[row["part"]][row["row"]] or b"" for row in accepted)
    labels = np.array([demo_faces.CLASSES.index(row["label"]) for row in accepted])
    thumbnails = np.frombuffer(data, np.uint8).reshape(len(accepted), -1)
    return thumbnails, labels, [row["pixel_sha256"] for row in accepted], [row["raw_split"] for row in accepted]
