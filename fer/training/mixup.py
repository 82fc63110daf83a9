"""mixup and cutmix: images of a batch blended with one another, and their targets with them.

mixup: Zhang et al. 2018, arXiv:1710.09412; cutmix: Yun et al. 2019, arXiv:1905.04899; each with one share per batch.
"""

import math

import numpy as np

from fer.training.config import TrainConfig


def blend(
    pixels: np.ndarray, targets: np.ndarray, config: TrainConfig, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Each image with a share of another one of the batch: pixels (B, H, W, 1) float32 and targets (B, C) float32."""
    partners = generator.permutation(len(pixels))
    by_box = generator.random() < (0.5 if config.mixup and config.cutmix else float(config.mixup == 0))
    alpha = config.cutmix if by_box else config.mixup
    share = generator.beta(alpha, alpha)
    mixed = pixels.astype(np.float32)
    if by_box:
        height, width = pixels.shape[1:3]
        side = math.sqrt(1 - share)
        top, left = generator.integers(height), generator.integers(width)  # the middle of the box, which edges cut
        rows = slice(max(0, round(top - side * height / 2)), min(height, round(top + side * height / 2)))
        columns = slice(max(0, round(left - side * width / 2)), min(width, round(left + side * width / 2)))
        mixed[:, rows, columns] = pixels[partners, rows, columns]
        share = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
    else:
        mixed *= np.float32(share)
        mixed += np.float32(1 - share) * pixels[partners]
    return mixed, (share * targets + (1 - share) * targets[partners]).astype(np.float32)
