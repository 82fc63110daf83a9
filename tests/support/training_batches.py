"""A batch of random pixels of three classes, and the examples that a trainer makes of it."""

import numpy as np

from fer.training import config as train_config
from fer.training import input_pipeline
from fer.training import trainer as trainers


def config(**changes) -> train_config.TrainConfig:
    return train_config.TrainConfig(**changes)


def batch(n_images: int = 8, seed: int = 0) -> input_pipeline.Batch:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (n_images, 6, 6, 1)).astype(np.uint8)
    class_indexes = rng.integers(0, 3, n_images).astype(np.int32)
    return input_pipeline.Batch(np.array([str(row) for row in range(n_images)], object), class_indexes, pixels)


def examples(
    originals: input_pipeline.Batch, settings: train_config.TrainConfig, weights=(1, 1, 1), epoch=1, at=0
) -> trainers.Examples:
    return trainers.examples(originals, settings, np.array(weights, np.float32), epoch=epoch, step=at)
