"""Augmentation: 48x48 images per second, drawn and applied on one core, against bare resampling and Keras' layers."""

import os
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from benchmarks import Row, seconds
from fer.images import augment

_N_IMAGES = 8_192
_BATCH = 256
_GEOMETRY = augment.AugmentConfig()  # all five geometric operations
_EVERYTHING = augment.AugmentConfig(contrast=0.2, brightness=20, erasing=0.5)


def run() -> Iterator[Row]:
    pixels = np.random.default_rng(0).integers(0, 256, (_N_IMAGES, 48, 48), np.uint8)
    image_ids = [f"{number:032x}" for number in range(_N_IMAGES)]
    matrices = list(augment.draw(0, image_ids, 0, _GEOMETRY, 48, 48).matrices)

    def augment_all(config: augment.AugmentConfig) -> None:
        for start in range(0, _N_IMAGES, _BATCH):
            rows = slice(start, start + _BATCH)
            augment.apply(pixels[rows], augment.draw(0, image_ids[rows], 0, config, 48, 48))

    def warp_mirrored() -> None:
        for image, matrix in zip(pixels, matrices, strict=True):
            cv2.warpAffine(image, matrix, (48, 48), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

    def warp_on_black() -> None:
        for image, matrix in zip(pixels, matrices, strict=True):
            cv2.warpAffine(image, matrix, (48, 48))

    duration = seconds(
        {
            "geometry": lambda: augment_all(_GEOMETRY),
            "bare": warp_mirrored,
            "bare on black": warp_on_black,
            "everything": lambda: augment_all(_EVERYTHING),
        },
        rounds=9,
    )
    speed = {name: _N_IMAGES / taken for name, taken in duration.items()}
    geometry = "five geometric operations"
    yield Row(
        f"{geometry}; reference: warpAffine with ready matrices",
        speed["geometry"],
        "images/s",
        speed["bare"],
        at_least=0.7,
    )
    yield Row(
        f"{geometry}; reference: the same without mirrored edges", speed["geometry"], "images/s", speed["bare on black"]
    )
    yield Row(
        "with contrast, brightness and erasing; reference: without", speed["everything"], "images/s", speed["geometry"]
    )
    yield from _beside_keras(pixels, image_ids)


def _beside_keras(pixels: np.ndarray, image_ids: list[str]) -> Iterator[Row]:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    layers = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(_GEOMETRY.rotation_deg / 360),
            keras.layers.RandomTranslation(_GEOMETRY.shift, _GEOMETRY.shift),
            keras.layers.RandomShear(x_factor=_GEOMETRY.shear_deg / 90),
            keras.layers.RandomZoom(_GEOMETRY.zoom),
        ]
    )

    class Augmented(keras.layers.Layer):
        """The layers, active in `predict` too, which runs them as one compiled graph."""

        def call(self, images: Any) -> Any:
            return layers(images, training=True)

    images = keras.Input((48, 48, 1))
    model = keras.Model(images, Augmented()(images))
    batches = [pixels[start : start + _BATCH] for start in range(0, 4 * _BATCH, _BATCH)]

    def project() -> None:
        for number, batch in enumerate(batches):
            ids = image_ids[number * _BATCH : (number + 1) * _BATCH]
            augment.apply(batch, augment.draw(0, ids, 0, _GEOMETRY, 48, 48))

    def keras_layers() -> None:
        for batch in batches:
            model.predict_on_batch(batch[..., None].astype(np.float32))

    duration = seconds({"ours": project, "keras": keras_layers})
    n_images = len(batches) * _BATCH
    yield Row(
        f"batches of {_BATCH}, one core; reference: Keras' five layers as one graph, all cores",
        n_images / duration["ours"],
        "images/s",
        n_images / duration["keras"],
        at_least=8,
    )
