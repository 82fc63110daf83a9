"""Images per second of a training step with fused batch norms and with bfloat16, against Keras' own in float32.

Only the steps are measured, on the same batch every time: no augmentation, no validation.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import Row, medians
from fer.engine.processes import child_process
from fer.progress import Progress

_SIZE, _BATCH = 48, 128
_ROUND_S = 3.0
_PLAIN = "float32, Keras' batch norms"
_VARIANTS = {
    _PLAIN: ("float32", False),
    "float32, fused batch norms": ("float32", True),
    "bfloat16, Keras' batch norms": ("mixed_bfloat16", False),
    "bfloat16, fused batch norms": ("mixed_bfloat16", True),
}


def run() -> Iterator[Row]:
    for name in ("sequential-cnn", "se-resnet", "vgg"):
        speed = child_process.run(measure, {"name": name}, child_process.Job("The measurement", timeout_s=900))
        for variant in _VARIANTS:
            if variant != _PLAIN:
                yield Row(
                    f"{name} at {_SIZE}x{_SIZE}, batches of {_BATCH}, {variant}; reference: {_PLAIN}",
                    speed[variant],
                    "images/s",
                    speed[_PLAIN],
                )


def measure(name: str, *, progress: Progress) -> dict[str, Any]:
    """The worker process: images per second of each variant, which take turns."""
    import numpy as np

    from fer.models import zoo
    from fer.training import config as train_config
    from fer.training import mixed_precision
    from fer.training import trainer as trainers

    model = zoo.config(name)
    config = train_config.TrainConfig(model=model, batch_size=_BATCH)
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (_BATCH, _SIZE, _SIZE, 1), np.uint8)
    targets = np.eye(7, dtype=np.float32)[draw.integers(0, 7, _BATCH)]
    weights = np.ones(_BATCH, np.float32)

    def candidate(precision: str, fuse: bool) -> Callable[[], float]:
        built = zoo.build(model, height=_SIZE, width=_SIZE, n_classes=7, mean=128, std=64)
        trainer_model = mixed_precision.mixed_precision_copy(built, precision, fuse=fuse)
        priors = np.full(7, 1 / 7, np.float32)
        trainer = trainers.LocalTrainer(trainer_model, config, priors, batch_size=_BATCH, micro_batch=_BATCH)
        trainer.step(pixels, targets, weights, 1e-3)  # compiles

        def images_per_second() -> float:
            start, n_steps = time.perf_counter(), 0
            while (taken := time.perf_counter() - start) < _ROUND_S:
                trainer.step(pixels, targets, weights, 1e-3)
                n_steps += 1
            return n_steps * _BATCH / taken

        return images_per_second

    return medians({variant: candidate(*settings) for variant, settings in _VARIANTS.items()})
