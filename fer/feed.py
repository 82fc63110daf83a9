"""What training sees, and in which order: a function of (seed, epoch, image id) alone.

Pixels stay (N, H, W, 1) uint8, one array for the split; a batch is gathered from it, and augmented, as it is needed.
"""

from collections.abc import Iterator

import numpy as np

from fer import augment, shards


def order(n_images: int, seed: int, epoch: int) -> np.ndarray:
    """The images' indexes (N,) int64 in the order of this epoch."""
    return np.random.default_rng([seed, epoch]).permutation(n_images)


def batches(
    images: shards.Images, batch_size: int, seed: int, epoch: int, augmentation: augment.AugmentConfig
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield an epoch's batches: pixels (B, H, W, 1) uint8 and class indexes (B,) int32.

    All have `batch_size` images; what does not fill one is left out, other images in each epoch. An image's
    augmentation depends on (seed, image id, epoch).
    """
    indexes = order(len(images.class_indexes), seed, epoch)
    for start in range(0, len(indexes) - batch_size + 1, batch_size):
        chosen = indexes[start : start + batch_size]
        pixels = images.pixels[chosen]
        if changes_pixels(augmentation):
            for row, index in enumerate(chosen):
                parameters = augment.parameters(seed, images.image_ids[index], epoch, augmentation)
                pixels[row, :, :, 0] = augment.augment(pixels[row, :, :, 0], parameters)
        yield pixels, images.class_indexes[chosen]


def changes_pixels(augmentation: augment.AugmentConfig) -> bool:
    """Whether it does anything at all."""
    return any(augmentation.model_dump().values())
