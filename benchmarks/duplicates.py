"""Recall of near-duplicates that are moved, cropped, rotated, mirrored or written over, measured by two methods.

Copies: one copy of each kind is made of some images and added to all others; the share that is paired with its
original. Pairs: every other image is compared with some held-out images exhaustively, at each of 15x15 shifts, five
zooms and both mirror images; of the pairs that correlate at 0.95 or more and lie in different splits of the source, the
share that the search finds too. Also measured: the cost of the search relative to that for unmoved near-duplicates; and
how many near-duplicates a tombstone knows again by 24 bytes, and how many other images it takes for one.

The images are faces drawn by the project, which are more alike than photographs; FER_BENCH_ARCHIVE=PATH takes the
images of a zip of class folders instead, such as FER2013's (half an hour on 2 cores).
"""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks import Row, quality
from data_contracts.curation import KINDS
from fer.curation import alignment, near_duplicates
from fer.images import augment
from fer.ingest.index_config import IndexConfig
from fer.ingest.tombstones import matching, records
from fer.recipes import catalog

_SIDE = alignment.SIDE
_NEAR, _ALIGNED = 0.9, 0.95
_COPIED, _QUERIES = 500, 300
_MANY = 10_000  # images; of a smaller set a fifth of those numbers is taken
_ZOOMS = (0.84, 0.92, 1.0, 1.09, 1.19)
_COLUMNS = 4_096  # images compared at once
Copy = Callable[[np.ndarray], np.ndarray]


def run() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as temporary:
        quality.bring(Path(temporary))
        thumbnails, _, contents, splits = quality.decoded(Path(temporary))
    divisor = 1 if len(thumbnails) >= _MANY else 5
    yield from _copies(thumbnails, contents, _COPIED // divisor)
    yield from _exhaustive(thumbnails, contents, splits, _QUERIES // divisor)
    yield from _forgotten(thumbnails, contents, _QUERIES // divisor)


def _forgotten(thumbnails: np.ndarray, contents: list[str], n: int) -> Iterator[Row]:
    """What is known again of images by the features that are kept of those which are to be forgotten."""
    likeness = IndexConfig.model_fields["forgotten_likeness"].default
    pairs = near_duplicates.find(thumbnails, contents, _NEAR, _ALIGNED)
    for number, kind in enumerate(KINDS[1:], start=1):
        rows = np.flatnonzero(pairs.kind == number)[:n]
        hits = sum(
            matching.Matcher([], records.features_of(thumbnails[[first]]), likeness).matches(
                [None], [thumbnails[second].tobytes()]
            )[0]
            for first, second in zip(pairs.first[rows], pairs.second[rows], strict=True)
        )
        if len(rows):
            yield Row(f"known again of {len(rows):,} near-duplicates: {kind}", 100 * float(hits) / len(rows), "%", 100)
    chosen = np.random.default_rng(0).choice(np.flatnonzero(thumbnails.std(axis=1) > 3), n, replace=False)
    twins = np.isin(pairs.first, chosen) | np.isin(pairs.second, chosen)
    known = {*chosen.tolist(), *pairs.first[twins].tolist(), *pairs.second[twins].tolist()}
    others = np.array(sorted(set(range(len(thumbnails))) - known))
    matcher = matching.Matcher([], records.features_of(thumbnails[chosen]), likeness)
    taken = matcher.matches([None] * len(others), [row.tobytes() for row in thumbnails[others]])
    yield Row(f"others taken for one of {n:,}, per million", 1e6 * float(taken.sum()) / len(others) / n, "images")


def _copies(thumbnails: np.ndarray, contents: list[str], n: int) -> Iterator[Row]:
    draw = np.random.default_rng(0)
    chosen = draw.choice(np.flatnonzero(thumbnails.std(axis=1) > 3), n, replace=False)
    kinds = _kinds(draw)
    originals = thumbnails[chosen].reshape(n, _SIDE, _SIDE)
    copies = [np.stack([kind(image) for image in originals]).reshape(n, -1) for kind, _ in kinds.values()]
    images = np.concatenate([thumbnails, *copies])
    names = contents + [hashlib.sha256(image.tobytes()).hexdigest() for copy in copies for image in copy]
    found_pairs = near_duplicates.find(images, names, _NEAR, _ALIGNED)
    pairs = set(zip(found_pairs.first.tolist(), found_pairs.second.tolist(), strict=True))
    first = {content: at for at, content in reversed(list(enumerate(contents)))}
    for number, (name, (_, bar)) in enumerate(kinds.items()):
        at = len(thumbnails) + number * n
        hits = sum((first[contents[original]], at + k) in pairs for k, original in enumerate(chosen.tolist()))
        yield Row(f"copies found of {n:,}: {name}", 100 * hits / n, "%", 100, at_least=bar)


def _exhaustive(thumbnails: np.ndarray, contents: list[str], splits: list[str | None], n: int) -> Iterator[Row]:
    start = time.perf_counter()
    near = near_duplicates.find(thumbnails, contents, _NEAR)
    seconds_near = time.perf_counter() - start
    start = time.perf_counter()
    aligned = near_duplicates.find(thumbnails, contents, _NEAR, _ALIGNED)
    seconds = time.perf_counter() - start
    yield Row(
        f"pairs of {len(thumbnails):,} images; reference: as they are alone",
        len(aligned.first),
        "pairs",
        len(near.first),
    )
    yield Row("seconds for them; reference: as they are alone", seconds, "s", seconds_near)
    pairs = set(zip(aligned.first.tolist(), aligned.second.tolist(), strict=True))
    stands_for: dict[str, int] = {}
    first = [stands_for.setdefault(content, at) for at, content in enumerate(contents)]
    held_out = [at for at, split in enumerate(splits) if split != "train" and thumbnails[at].std() > 0]
    queries = np.random.default_rng(7).choice(held_out, min(n, len(held_out)), replace=False)
    n_expected = hits = 0
    for query, others in zip(queries.tolist(), _correlated(thumbnails, queries), strict=True):
        for other in others:
            if other != query and (splits[other] != splits[query] or splits[query] is None):
                one, two = sorted((first[query], first[other]))
                n_expected += 1
                hits += one == two or (one, two) in pairs
    yield Row(
        f"pairs of {len(queries):,} held-out images found; reference: exhaustively",
        hits,
        "pairs",
        n_expected,
        at_least=0.95,
    )


def _correlated(thumbnails: np.ndarray, queries: np.ndarray) -> Iterator[list[int]]:
    """For each query the images whose window correlates with the query at some position."""
    windows = alignment.windows(thumbnails).astype(np.float32)
    windows -= windows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(windows, axis=1, keepdims=True)
    windows = np.where(lengths > 0, windows / np.maximum(lengths, 1e-3), 0)
    middle = (_SIDE - 1) / 2
    for query in queries:
        image = thumbnails[query].reshape(_SIDE, _SIDE).astype(np.float32)
        patches = []
        for oriented in (image, np.ascontiguousarray(image[:, ::-1])):
            for zoom in _ZOOMS:
                matrix = np.array([[zoom, 0, middle * (1 - zoom)], [0, zoom, middle * (1 - zoom)]])
                zoomed = cv2.warpAffine(oriented, matrix, (_SIDE, _SIDE), borderMode=cv2.BORDER_REPLICATE)
                shape = (alignment.WINDOW, alignment.WINDOW)
                patches.append(np.lib.stride_tricks.sliding_window_view(zoomed, shape).reshape(-1, windows.shape[1]))
        units = np.concatenate(patches)
        units -= units.mean(axis=1, keepdims=True)
        units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-3)
        best = [(units @ windows[at : at + _COLUMNS].T).max(axis=0) for at in range(0, len(windows), _COLUMNS)]
        yield np.flatnonzero(np.concatenate(best) >= _ALIGNED).tolist()


def _kinds(draw: np.random.Generator) -> dict[str, tuple[Copy, float | None]]:
    """Name -> the function that changes an image, (48, 48) uint8, and the bar of its recall, if it has one."""
    bar = 0.95

    def sign() -> int:
        return int(draw.choice([-1, 1]))

    def moved(
        image: np.ndarray, *, right: float = 0, down: float = 0, zoom: float = 1, degrees: float = 0
    ) -> np.ndarray:
        matrix = cv2.getRotationMatrix2D(((_SIDE - 1) / 2,) * 2, degrees, zoom)
        matrix[:, 2] += right, down
        return cv2.warpAffine(image, matrix, (_SIDE, _SIDE), borderMode=cv2.BORDER_REPLICATE)

    def shifted(image: np.ndarray, px: int) -> np.ndarray:
        along = draw.integers(0, 3)
        return moved(image, right=sign() * px * (along != 1), down=sign() * px * (along != 0))

    def cropped(image: np.ndarray, share: float) -> np.ndarray:
        large = cv2.resize(image, (480, 480), interpolation=cv2.INTER_CUBIC)
        edge = round(480 * share)
        return cv2.resize(large[edge : 480 - edge, edge : 480 - edge], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)

    def compressed(image: np.ndarray) -> np.ndarray:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])
        return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)

    def enlarged(image: np.ndarray) -> np.ndarray:
        large = cv2.resize(image, (224, 224), interpolation=cv2.INTER_CUBIC)
        return cv2.resize(large, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)

    def grey(image: np.ndarray, gain: float = 1, gamma: float = 1, added: float = 0) -> np.ndarray:
        values = 255 * (image / 255) ** gamma
        return np.clip((values - 128) * gain + 128 + added, 0, 255).astype(np.uint8)

    def noisy(image: np.ndarray) -> np.ndarray:
        return np.clip(image + draw.normal(0, 20, image.shape), 0, 255).astype(np.uint8)

    def mirrored(image: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(image[:, ::-1])

    def framed(image: np.ndarray) -> np.ndarray:
        return cv2.copyMakeBorder(image[2:-2, 2:-2], 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=int(draw.choice([0, 255])))

    def band(image: np.ndarray) -> np.ndarray:
        copy, ground = image.copy(), int(draw.choice([0, 255]))
        top = int(draw.choice([0, _SIDE - 6]))
        copy[top : top + 6] = ground
        return cv2.putText(copy, "hello", (4, top + 5), cv2.FONT_HERSHEY_PLAIN, 0.5, 255 - ground, 1)

    def augmented(image: np.ndarray) -> np.ndarray:
        config = catalog.load("fer2013-cnn").train.augmentation
        draws = augment.draw(0, [str(draw.random())], 0, config, _SIDE, _SIDE)
        return augment.apply(image[None], draws)[0]

    return {
        "JPEG at quality 30": (compressed, bar),
        "brightness ±40": (lambda image: grey(image, added=40 * sign()), bar),
        "contrast 0.6 or 1.4": (lambda image: grey(image, gain=1 + 0.4 * sign()), bar),
        "gamma 0.6 or 1.6": (lambda image: grey(image, gamma=float(draw.choice([0.6, 1.6]))), bar),
        "blur, sd 1.2": (lambda image: cv2.GaussianBlur(image, (0, 0), 1.2), bar),
        "48 to 224 pixels": (enlarged, bar),
        **{f"shift by {px} pixels": (lambda image, px=px: shifted(image, px), bar) for px in (1, 2, 3)},
        **{f"crop of {p:.0%} a side": (lambda image, p=p: cropped(image, p), bar) for p in (0.02, 0.04, 0.08)},
        **{f"turn by {d}°": (lambda image, d=d: moved(image, degrees=d * sign()), bar) for d in (3, 5, 10)},
        "mirrored": (mirrored, bar),
        "mirrored, shift by 3 pixels": (lambda image: shifted(mirrored(image), 3), bar),
        "frame of 2 pixels": (framed, bar),
        "band of text of 6 rows": (band, bar),
        "noise, sd 20": (noisy, None),
        "augmentation of fer2013-cnn": (augmented, None),
    }
