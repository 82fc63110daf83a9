"""What training sees, and in which order: a function of the shards and (seed, epoch) alone, so that it can begin at any
epoch.

Two sources, `Resident` and `Streaming`, with one meaning of an epoch: each image at most once, all batches of one size;
what does not fill one is left out, other images in each epoch. Batches are NumPy, for any Keras backend.
"""

import contextlib
import math
import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from fer.images import augment
from fer.shards import parquet
from fer.shards.refs import ShardsRef

T = TypeVar("T")

_PREFETCHED = 2  # batches that are ready while a step runs
# Streaming holds a buffer and a page or two of each row group that it reads from: 128 MiB are 58,000 images of 48x48 or
# 2,700 of 224x224.
_BUFFER_BYTES = 128 * 2**20
_OPEN_ROW_GROUPS = 16
# What is read of a row group at once: of 48x48, 256 images go through twice as fast as 64, which cost as many calls.
_SLICE_IMAGES = 256
_SLICE_BYTES = 2**20


class Batch(NamedTuple):
    """`pixels` is (B, H, W, 1) uint8; with `draws` they are yet to be augmented as these say."""

    image_ids: np.ndarray  # (B,) of str
    class_indexes: np.ndarray  # (B,) int32
    pixels: np.ndarray
    draws: augment.Draws | None = None


class InputPipeline(Protocol):
    """A split as training reads it."""

    @property
    def n_images(self) -> int:
        """Of the split."""
        ...

    def batches(self, batch_size: int, seed: int, epoch: int) -> Generator[Batch]:
        """Yield the epoch's batches. Raises IntegrityError."""
        ...

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield all images in their order, some at a time: pixels (N, H, W, 1) uint8, class indexes (N,) int32."""
        ...


def open_split(folder: Path, split: str, source: ShardsRef, resident_mb: int) -> InputPipeline:
    """The split of `source`, whose shards are in `folder`: in memory if its pixels are `resident_mb` MiB at most.

    Raises IntegrityError.
    """
    n_bytes = sum(source.counts[split].values()) * source.height * source.width
    if n_bytes <= resident_mb * 2**20:
        return Resident(parquet.load_split(folder, split))
    return Streaming(folder, split)


class Resident:
    """A split that is one array in memory; a batch is gathered from it."""

    def __init__(self, images: parquet.Images):
        self._images = images
        self._image_ids = np.array(images.image_ids, object)
        self.n_images = len(images.image_ids)

    def batches(self, batch_size: int, seed: int, epoch: int) -> Generator[Batch]:
        """See InputPipeline."""
        order = np.random.default_rng([seed, epoch]).permutation(self.n_images)
        for start in range(0, self.n_images - batch_size + 1, batch_size):
            chosen = order[start : start + batch_size]
            yield Batch(self._image_ids[chosen], self._images.class_indexes[chosen], self._images.pixels[chosen])

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See InputPipeline."""
        yield self._images.pixels, self._images.class_indexes


class Streaming:
    """A split that is read anew in each epoch, in memory that does not grow with it.

    Slices of several row groups at once, drawn at random, go through a buffer of `buffer_bytes` of pixels; each takes
    the place of as many images drawn from it. The order also depends on how the split is cut in shards.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        *,
        buffer_bytes: int = _BUFFER_BYTES,
        open_row_groups: int = _OPEN_ROW_GROUPS,
        slice_images: int = _SLICE_IMAGES,
    ):
        self._folder, self._split = folder, split
        self._row_groups = parquet.row_groups(folder, split)
        self._open_row_groups = open_row_groups
        self.n_images = sum(group.n_images for group in self._row_groups)
        with contextlib.closing(parquet.slices(max(self._row_groups, key=lambda group: group.n_images), 1)) as images:
            self._size = next(images).pixels.shape[1:]
        image_bytes = math.prod(self._size)
        self._slice_images = max(1, min(slice_images, _SLICE_BYTES // image_bytes))
        self._n_slots = min(self.n_images, max(self._slice_images, buffer_bytes // image_bytes))
        self._spare: Batch | None = None  # an ended epoch's buffer: new memory would cost a third of the speed

    def batches(self, batch_size: int, seed: int, epoch: int) -> Generator[Batch]:
        """See InputPipeline."""
        left: Batch | None = None
        with contextlib.closing(self._shuffled(np.random.default_rng([seed, epoch]))) as shuffled:
            for images in shuffled:
                rows = images if left is None else _concatenated(left, images)
                n_batched = len(rows.class_indexes) // batch_size * batch_size
                for start in range(0, n_batched, batch_size):
                    yield _rows(rows, slice(start, start + batch_size))
                left = _rows(rows, slice(n_batched, None)) if n_batched < len(rows.class_indexes) else None

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See InputPipeline."""
        for shard in parquet.iterate(self._folder, self._split):
            yield shard.pixels[..., np.newaxis], shard.class_indexes

    def _shuffled(self, draw: np.random.Generator) -> Generator[Batch]:
        """All images, some at a time."""
        buffer, self._spare = self._spare or _empty(self._n_slots, self._size), None
        n_held = 0
        with contextlib.closing(self._slices(draw)) as slices:
            for images in slices:
                n_kept = min(self._n_slots - n_held, len(images.class_indexes))
                _put(buffer, slice(n_held, n_held + n_kept), images, slice(0, n_kept))
                n_held += n_kept
                n_over = len(images.class_indexes) - n_kept
                if n_over:
                    drawn = draw.choice(n_held, n_over, replace=False)
                    yield _rows(buffer, drawn)
                    _put(buffer, drawn, images, slice(n_kept, None))
        order = draw.permutation(n_held)
        for start in range(0, n_held, self._slice_images):
            yield _rows(buffer, order[start : start + self._slice_images])
        self._spare = buffer

    def _slices(self, draw: np.random.Generator) -> Generator[parquet.Shard]:
        """All images in slices: each of a row group drawn from those that are open."""
        waiting = [self._row_groups[index] for index in draw.permutation(len(self._row_groups))]
        opened: list[Generator[parquet.Shard]] = []
        try:
            while waiting or opened:
                while waiting and len(opened) < self._open_row_groups:
                    opened.append(parquet.slices(waiting.pop(), self._slice_images))
                index = draw.integers(len(opened))
                images = next(opened[index], None)
                if images is None:
                    del opened[index]
                else:
                    yield images
        finally:
            for row_group in opened:
                row_group.close()


def augmented(
    batches: Generator[Batch], seed: int, epoch: int, config: augment.AugmentConfig, *, apply: bool
) -> Generator[Batch]:
    """The batches augmented as drawn for (seed, image id, epoch), or, without `apply`, with their draws."""
    with contextlib.closing(batches):
        for batch in batches:
            draws = augment.draw(seed, batch.image_ids.tolist(), epoch, config, *batch.pixels.shape[1:3])
            if apply:
                yield batch._replace(pixels=augment.apply(batch.pixels[..., 0], draws)[..., np.newaxis])
            else:
                yield batch._replace(draws=draws)


def changes_pixels(config: augment.AugmentConfig) -> bool:
    """Whether the augmentation changes any image."""
    return any(config.model_dump().values())


@dataclass(frozen=True)
class _End:
    error: BaseException | None


def prefetch(items: Generator[T]) -> Generator[T]:
    """Yield the items, of which a thread makes a few in advance. Raises what making them raises.

    Closing this generator ends the thread and closes the items' generator.
    """
    free = threading.Semaphore(_PREFETCHED)
    ready: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
    stopped = threading.Event()

    def make() -> None:
        error = None
        try:
            with contextlib.closing(items):
                for item in items:
                    free.acquire()
                    if stopped.is_set():
                        return
                    ready.put(item)
        except BaseException as raised:  # noqa: BLE001 - raised again by the reader
            error = raised
        ready.put(_End(error))

    thread = threading.Thread(target=make, name="prefetch", daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
            free.release()
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        free.release()
        thread.join()


def _empty(n_images: int, size: tuple[int, ...]) -> Batch:
    return Batch(np.empty(n_images, object), np.empty(n_images, np.int32), np.empty((n_images, *size, 1), np.uint8))


def _put(buffer: Batch, at: slice | np.ndarray, images: parquet.Shard, rows: slice) -> None:
    buffer.image_ids[at] = images.image_ids[rows]
    buffer.class_indexes[at] = images.class_indexes[rows]
    buffer.pixels[at, :, :, 0] = images.pixels[rows]


def _rows(batch: Batch, at: slice | np.ndarray) -> Batch:
    return Batch(batch.image_ids[at], batch.class_indexes[at], batch.pixels[at])


def _concatenated(first: Batch, second: Batch) -> Batch:
    return Batch(
        np.concatenate([first.image_ids, second.image_ids]),
        np.concatenate([first.class_indexes, second.class_indexes]),
        np.concatenate([first.pixels, second.pixels]),
    )
