"""The input pipeline: images per second, the share of a training step that it costs, and augmentation as a Keras layer.

The references are Keras' dataset of a folder of images, steps on the same batch every time, and Keras' random layers.
"""

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import Row, medians, seconds
from fer.engine import arithmetic
from fer.images import augment
from fer.models import zoo
from fer.recipes import fer2013_cnn
from fer.shards import parquet
from fer.training import config as train_config
from fer.training import input_pipeline, loop
from fer.training import trainer as trainers

_N_IMAGES = 16_384
_PER_SHARD = 4_096
_CLASSES = tuple("abcdefg")
_CONFIG = fer2013_cnn.RECIPE.train
_BATCH = _CONFIG.batch_size
_STEPS = 10
_PREFETCHED = 3  # batches that `input_pipeline.prefetch` may have ready
_GEOMETRY = augment.AugmentConfig()  # all five geometric operations
_NO_AUGMENTATION = augment.AugmentConfig(rotation_deg=0, shift=0, shear_deg=0, zoom=0, horizontal_flip=False)


def run() -> Iterator[Row]:
    os.environ.update(arithmetic.child_environment(), TF_CPP_MIN_LOG_LEVEL="3")
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as temporary:
        shards_folder, images_folder = Path(temporary) / "shards", Path(temporary) / "images"
        _write(shards_folder, images_folder)
        resident = input_pipeline.Resident(parquet.load_split(shards_folder, "train"))
        streaming = input_pipeline.Streaming(shards_folder, "train")
        yield from _epochs(resident, streaming, shards_folder, images_folder)
        yield from _steps(resident, streaming)
    yield from _layers()


def _write(shards_folder: Path, images_folder: Path) -> None:
    """The same images as shards and as PNGs in one folder per class."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 216, (_N_IMAGES, 6, 6)).astype(np.float32)
    grain = rng.normal(0, 8, (_N_IMAGES, 48, 48))
    smooth = np.stack([cv2.resize(image, (48, 48), interpolation=cv2.INTER_CUBIC) for image in coarse])
    pixels = np.clip(smooth + grain, 0, 255).astype(np.uint8)
    class_indexes = (np.arange(_N_IMAGES) % len(_CLASSES)).astype(np.int32)
    image_ids = [f"{number:032x}" for number in range(_N_IMAGES)]
    shards_folder.mkdir()
    for number, start in enumerate(range(0, _N_IMAGES, _PER_SHARD)):
        rows = slice(start, start + _PER_SHARD)
        path = shards_folder / parquet.name("train", number)
        parquet.write(path, image_ids[rows], class_indexes[rows], pixels[rows], _CLASSES)
    for name in _CLASSES:
        (images_folder / name).mkdir(parents=True)
    for image_id, class_index, image in zip(image_ids, class_indexes, pixels, strict=True):
        cv2.imwrite(str(images_folder / _CLASSES[class_index] / f"{image_id}.png"), image)


def _epochs(
    resident: input_pipeline.InputPipeline,
    streaming: input_pipeline.InputPipeline,
    shards_folder: Path,
    images_folder: Path,
) -> Iterator[Row]:
    import keras

    keras_dataset = keras.utils.image_dataset_from_directory(
        images_folder, color_mode="grayscale", image_size=(48, 48), batch_size=_BATCH, verbose=False
    )
    epochs = itertools.count()

    def one_epoch(batches: Callable[[int, int, int], Generator[input_pipeline.Batch]]) -> Callable[[], None]:
        def epoch() -> None:
            for _ in input_pipeline.prefetch(batches(_BATCH, 0, next(epochs))):
                pass

        return epoch

    def keras_epoch() -> None:
        for images, labels in keras_dataset:
            images.numpy(), labels.numpy()

    def read() -> None:
        for _ in parquet.iterate(shards_folder, "train"):
            pass

    duration = seconds(
        {
            "resident": one_epoch(resident.batches),
            "streaming": one_epoch(streaming.batches),
            "keras": keras_epoch,
            "read": read,
        }
    )
    speed = {name: _N_IMAGES / taken for name, taken in duration.items()}
    for name in ("resident", "streaming"):
        metric = f"an epoch of batches of {_BATCH}, {name}; reference: keras.utils.image_dataset_from_directory"
        yield Row(metric, speed[name], "images/s", speed["keras"], at_least=20)
    yield Row(
        "an epoch streamed, shuffled and cut in batches; reference: its shards read in order",
        speed["streaming"],
        "images/s",
        speed["read"],
    )


def _steps(resident: input_pipeline.InputPipeline, streaming: input_pipeline.InputPipeline) -> Iterator[Row]:
    """Training steps of the recipe, whose batches continue from turn to turn."""
    import keras

    keras.utils.set_random_seed(0)
    on_accelerator = _CONFIG.model_copy(update={"augment_on": "accelerator"})
    plain = _CONFIG.model_copy(update={"augmentation": _NO_AUGMENTATION})
    weights = np.ones(len(_CLASSES), np.float32)
    sizes = {"batch_size": _CONFIG.batch_size, "micro_batch": _CONFIG.batch_size}
    on_host, by_layer = (
        trainers.LocalTrainer(
            zoo.build(config.model, height=48, width=48, n_classes=len(_CLASSES), mean=128, std=64),
            config,
            weights / len(weights),
            **sizes,
        )
        for config in (_CONFIG, on_accelerator)
    )

    def turns(trainer: trainers.Trainer, batches: Iterator[input_pipeline.Batch]) -> Callable[[], float]:
        def one_step() -> None:
            examples = trainers.examples(next(batches), _CONFIG, weights, epoch=1, step=0)
            trainer.step(*examples, _CONFIG.learning_rate)

        def turn() -> float:
            for _ in range(_PREFETCHED):  # made while others had their turn
                one_step()
            start = time.perf_counter()
            for _ in range(_STEPS):
                one_step()
            return _STEPS / (time.perf_counter() - start)

        return turn

    def pipeline_batches(
        source: input_pipeline.InputPipeline, config: train_config.TrainConfig
    ) -> Iterator[input_pipeline.Batch]:
        return itertools.chain.from_iterable(
            loop.batches_of(source, _BATCH, config, epoch) for epoch in itertools.count(1)
        )

    def same_batch(config: train_config.TrainConfig) -> Iterator[input_pipeline.Batch]:
        return itertools.repeat(next(pipeline_batches(resident, config)))

    speed = medians(
        {
            "one": turns(on_host, same_batch(plain)),
            "resident": turns(on_host, pipeline_batches(resident, plain)),
            "resident, augmented": turns(on_host, pipeline_batches(resident, _CONFIG)),
            "streaming, augmented": turns(on_host, pipeline_batches(streaming, _CONFIG)),
            "one, augmented in the step": turns(by_layer, same_batch(on_accelerator)),
            "resident, augmented in the step": turns(by_layer, pipeline_batches(resident, on_accelerator)),
        },
        rounds=7,
    )
    one = "the same batch every time"
    for name in ("resident", "resident, augmented", "streaming, augmented"):
        metric = f"training steps of {_BATCH} images, {name}; reference: {one}"
        yield Row(metric, speed[name], "steps/s", speed["one"], at_least=0.97)
    yield Row(
        f"training steps, resident, augmented in the step; reference: {one}, augmented in the step",
        speed["resident, augmented in the step"],
        "steps/s",
        speed["one, augmented in the step"],
        at_least=0.97,
    )


def _layers() -> Iterator[Row]:
    """The layer against Keras' five, within `predict`, which compiles both."""
    import keras

    from fer.training import augment_layer

    class Training(keras.Model):
        def __init__(self, layers: keras.Model):
            super().__init__()
            self.augmentation = layers

        def call(self, inputs: Any) -> Any:
            return self.augmentation(inputs, training=True)

    layers = keras.layers
    five = keras.Sequential(
        [
            keras.Input((48, 48, 1)),
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(_GEOMETRY.rotation_deg / 360, fill_mode="reflect"),
            layers.RandomTranslation(_GEOMETRY.shift, _GEOMETRY.shift, fill_mode="reflect"),
            layers.RandomShear(x_factor=_GEOMETRY.shear_deg / 90, fill_mode="reflect"),
            layers.RandomZoom(_GEOMETRY.zoom, fill_mode="reflect"),
        ]
    )
    images = keras.Input((48, 48, 1))
    draws = keras.Input((augment_layer.PACKED,))
    layer = augment_layer.Augmentation(_GEOMETRY, seed=0)
    keras_layers = Training(five)
    own_draws = Training(keras.Model(images, layer(images)))
    host_draws = Training(keras.Model([images, draws], layer(images, draws)))
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 256, (_BATCH, 48, 48, 1)).astype(np.float32) for _ in range(_STEPS)]
    image_ids = [str(number) for number in range(_BATCH)]

    def predict_with_host_draws() -> None:
        for epoch, batch in enumerate(batches):
            packed = augment_layer.packed(augment.draw(0, image_ids, epoch, _GEOMETRY, 48, 48))
            host_draws.predict_on_batch([batch, packed])

    def prediction(model: keras.Model) -> Callable[[], None]:
        def predict() -> None:
            for batch in batches:
                model.predict_on_batch(batch)

        return predict

    duration = seconds(
        {"keras": prediction(keras_layers), "own": prediction(own_draws), "host": predict_with_host_draws}, rounds=9
    )
    n_images = _STEPS * _BATCH
    for name, metric in (("own", "its own draws"), ("host", "the host's draws, drawing included")):
        yield Row(
            f"one layer for five operations, {metric}; reference: Keras' five layers, compiled alike",
            n_images / duration[name],
            "images/s",
            n_images / duration["keras"],
            at_least=2,
        )
