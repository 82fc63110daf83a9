"""How sure the face detector is that each image shows a face: low for error pages, signs, writing, drawings, hands.

The thumbnails are looked at, and where they show hardly a face, the whole image if it is larger: a face that is a small
part of a photograph does not show in 48 pixels. Faces that are turned down, hidden or half out of the picture have low
scores too: of the lowest hundred of FER2013 about half are no faces.
"""

import concurrent.futures
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts import files, manifest
from fer.engine.processes import process_pool
from fer.images import decode, faces
from fer.ingest import image_files
from fer.progress import Progress, silent

_IMAGES_PER_ITEM = 500
_SURE = 0.5  # the score from which on a thumbnail is enough
_MIN_SHARE = 0.08  # of a picture's longer side: smaller faces are no use, and take four times as long to look for
_MOST_IN_THREADS = 8_000  # images: of more, what Python itself does keeps many cores from their work
_ALONE_S = 4.0  # of work from which on it is worth to start other processes
_TEXT = "images looked at for faces"


class _Item(NamedTuple):
    """Images of one part of a manifest: their rows there, and which of them are larger than their thumbnails."""

    manifest: Path
    part: int
    rows: np.ndarray  # (n,) int64
    is_larger: np.ndarray  # (n,) bool


def scores(folder: Path, accepted: pa.Table, progress: Progress = silent, *, workers: int | None = None) -> np.ndarray:
    """The score of each `accepted` image (part, row, width, height) of the manifest in `folder`: (n,) float32.

    From 0 to 1, of 3 decimals; equal however many `workers` there are. 1.7 ms per image on a core, and 30 ms for each
    that is larger than its thumbnail and in which no face is found.
    """
    parts = accepted["part"].to_numpy()
    rows = accepted["row"].to_numpy().astype(np.int64)
    edges = [accepted[name].fill_null(0).to_numpy() for name in ("width", "height")]
    is_larger = np.maximum(*edges) > manifest.THUMBNAIL_SIDE
    positions = [
        np.flatnonzero(parts == part)[start : start + _IMAGES_PER_ITEM]
        for part in np.unique(parts).tolist()
        for start in range(0, int((parts == part).sum()), _IMAGES_PER_ITEM)
    ]
    items = [_Item(folder, int(parts[at[0]]), rows[at], is_larger[at]) for at in positions]
    if workers is None and len(accepted) <= _MOST_IN_THREADS:
        scores_of_items = _in_threads(items, len(accepted), progress)
    else:
        scores_of_items = _in_processes(items, len(accepted), progress, workers)
    result = np.empty(len(accepted), np.float32)
    for at, of_item in zip(positions, scores_of_items, strict=True):
        result[at] = of_item
    return result


def _in_threads(items: list[_Item], n_images: int, progress: Progress) -> list[np.ndarray]:
    """The scores of each item. The detector lets other threads of Python's work meanwhile."""
    results: list[np.ndarray] = []
    threads = concurrent.futures.ThreadPoolExecutor(process_pool.usable_cores())
    try:
        for scores_of_item in threads.map(_scores_of, items):
            results.append(scores_of_item)
            progress(sum(map(len, results)), n_images, _TEXT)
    finally:
        threads.shutdown(cancel_futures=True)
    return results


def _in_processes(items: list[_Item], n_images: int, progress: Progress, workers: int | None) -> list[np.ndarray]:
    return process_pool.map_ordered(
        _scores_of,
        items,
        workers=workers,
        total=n_images,
        weigh=lambda item: len(item.rows),
        progress=progress,
        text=_TEXT,
        alone_s=_ALONE_S,
    )


def _scores_of(item: _Item) -> np.ndarray:
    """(n,) float32 of the item's images."""
    column = pq.read_table(item.manifest / files.THUMBNAILS / files.part(item.part))["pixels"]
    side = manifest.THUMBNAIL_SIDE
    of_item = np.array(
        [
            faces.score(np.frombuffer(thumbnail.as_py(), np.uint8).reshape(side, side))
            for thumbnail in column.take(pa.array(item.rows))
        ]
    )
    unsure = np.flatnonzero(item.is_larger & (of_item < _SURE))
    if len(unsure):
        path = item.manifest / files.IMAGES / files.image_part(item.part)
        whole_images = image_files.read(path, image_files.spans(path)[item.rows[unsure]])
        for at, data in zip(unsure.tolist(), whole_images, strict=True):
            found = faces.find(decode.decode(data), largest_only=True, min_share=_MIN_SHARE)
            of_item[at] = max([of_item[at], *(face.score for face in found)])
    return of_item.round(3).astype(np.float32)
