"""Data quality: images/s of each step against cleanvision on the same images, and the recall of near-duplicates.

The images are faces drawn by the project; FER_BENCH_ARCHIVE=PATH takes the images of a zip of class folders instead,
such as FER2013's (15 minutes). cleanvision runs all its default checks on the files, with one process per core.
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
_MANY = 10_000  # images from which on there is one round only
_PHASH_BITS_APART = 8


def run() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as temporary:
        folder = Path(temporary)
        bring(folder)
        with zipfile.ZipFile(folder / "images.zip") as archive:
            archive.extractall(folder / "files")
        yield from _steps(folder)


def bring(folder: Path) -> None:
    """Write the benchmark's images to `images.zip` in `folder`."""
    archive = os.environ.get("FER_BENCH_ARCHIVE")
    if archive:
        shutil.copyfile(archive, folder / "images.zip")
    else:
        _draw(folder / "images.zip")


def _draw(path: Path) -> None:
    """Write faces of every class as class folders, among them a few copies and slightly changed copies."""
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
    duration = seconds({**steps, "cleanvision": lambda: _cleanvision(folder / "files")}, rounds)
    for name in steps:
        reference = n / duration["cleanvision"]
        yield Row(f"{name}, {n:,} images; reference: cleanvision, all", n / duration[name], "images/s", reference)
    ours = sum(duration[name] for name in steps)
    yield Row("all of them; reference: cleanvision, all", n / ours, "images/s", n / duration["cleanvision"])
    yield from _near_duplicates(thumbnails, contents, rounds)


def _near_duplicates(thumbnails: np.ndarray, contents: list[str], rounds: int) -> Iterator[Row]:
    """Distinct images only, since identical ones need no search."""
    _, distinct = np.unique(contents, return_index=True)
    faces = thumbnails[np.sort(distinct)]
    faces = faces[faces.max(axis=1) > faces.min(axis=1)]
    names = [str(at) for at in range(len(faces))]
    pairs_by_method: dict[str, set[tuple[int, int]]] = {}

    def project() -> None:
        pairs = near_duplicates.find(faces, names, _CORRELATION)
        pairs_by_method["ours"] = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))

    def brute_force() -> None:
        pairs_by_method["brute force"] = _brute_force(faces)

    def by_phash() -> None:
        pairs_by_method["pHash"] = _by_phash(faces)

    duration = seconds({"ours": project, "brute force": brute_force, "pHash": by_phash}, rounds)
    n_expected = len(pairs_by_method["brute force"])
    for name in ("ours", "pHash"):
        yield Row(
            f"near-duplicates by {name}: seconds; reference: brute force", duration[name], "s", duration["brute force"]
        )
        recalled = len(pairs_by_method[name] & pairs_by_method["brute force"])
        yield Row(f"near-duplicates by {name}: pairs; reference: those of brute force", recalled, "pairs", n_expected)


def _brute_force(faces: np.ndarray) -> set[tuple[int, int]]:
    """The correlation of every pair, by a full product of unit vectors in float32."""
    units = faces - faces.mean(axis=1, keepdims=True, dtype=np.float32)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    duplicates: set[tuple[int, int]] = set()
    for start in range(0, len(units), 1_024):
        row, column = np.nonzero(units[start : start + 1_024] @ units[start:].T >= _CORRELATION)
        later = column > row
        duplicates |= set(zip((row[later] + start).tolist(), (column[later] + start).tolist(), strict=True))
    return duplicates


def _by_phash(faces: np.ndarray) -> set[tuple[int, int]]:
    """Candidates by perceptual hashes of 64 bits (lowest frequencies above their median), confirmed by correlation."""
    hashes = []
    for start in range(0, len(faces), 4_096):
        chunk = faces[start : start + 4_096].reshape(-1, contract.THUMBNAIL_SIDE, contract.THUMBNAIL_SIDE)
        low = scipy.fft.dctn(chunk.astype(np.float32), axes=(1, 2))[:, :8, :8].reshape(len(chunk), 64)
        bits = low > np.median(low, axis=1, keepdims=True)
        hashes.append(np.packbits(bits, axis=1).view(np.uint64)[:, 0])
    hashed = np.concatenate(hashes)
    duplicates: set[tuple[int, int]] = set()
    for start in range(0, len(hashed), 256):
        apart = np.bitwise_count(hashed[start : start + 256, None] ^ hashed[None, start:])
        row, column = np.nonzero(apart <= _PHASH_BITS_APART)
        one, other = row[column > row] + start, column[column > row] + start
        near = near_duplicates.correlations(faces, one, other) >= _CORRELATION
        duplicates |= set(zip(one[near].tolist(), other[near].tolist(), strict=True))
    return duplicates


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
    folder = workspace.folder(index.index((dataset,), config, index.OfficialNames(), None, workspace=workspace))
    rows = pq.read_table(folder / files.MANIFEST).to_pylist()
    parts = [pq.read_table(path)["pixels"].to_pylist() for path in sorted((folder / files.THUMBNAILS).iterdir())]
    accepted = [row for row in rows if row["status"] == contract.ACCEPTED]
    data = b"".join(parts[row["part"]][row["row"]] or b"" for row in accepted)
    labels = np.array([demo_faces.CLASSES.index(row["label"]) for row in accepted])
    thumbnails = np.frombuffer(data, np.uint8).reshape(len(accepted), -1)
    return thumbnails, labels, [row["pixel_sha256"] for row in accepted], [row["raw_split"] for row in accepted]
