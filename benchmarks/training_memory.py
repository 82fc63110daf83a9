"""Peak memory of training each model of the zoo at three sizes, against the estimate of `fer.training.memory`.

Each model trains for a few steps, with micro-batches and averaged weights, in a process of its own whose peak memory is
taken.
"""

from collections.abc import Iterator
from typing import Any

from benchmarks import Row
from fer.engine.processes import child_process
from fer.progress import Progress

# Images at once that fit into 8 GB of memory.
_MICRO_BATCHES = {
    "sequential-cnn": (64, 64, 64),
    "mini-xception": (64, 64, 16),
    "se-resnet": (128, 64, 32),
    "vgg": (128, 64, 32),
    "resnet50": (64, 32, 8),
    "mobilenet-v2": (64, 64, 16),
}
_SIZES = (48, 96, 224)
_STEPS = 2


def run() -> Iterator[Row]:
    for name, micro_batches in _MICRO_BATCHES.items():
        for size, micro_batch in zip(_SIZES, micro_batches, strict=True):
            arguments = {"name": name, "size": size, "micro_batch": micro_batch}
            measured = child_process.run(measure, arguments, child_process.Job("The measurement", timeout_s=900))
            yield Row(
                f"{name} at {size}x{size}, {micro_batch} images at once, peak memory of training; reference: its "
                f"estimate of {measured['estimate_mb']:,.0f} MB",
                measured["peak_mb"],
                "MB",
                measured["estimate_mb"],
                at_least=0.8,  # 1 / 1.25
                at_most=1.25,
            )


def measure(name: str, size: int, micro_batch: int, *, progress: Progress) -> dict[str, Any]:
    """The worker process: estimate, train for a few steps, and take the peak."""
    import numpy as np

    from fer.models import zoo
    from fer.training import config as train_config
    from fer.training import memory, mixed_precision
    from fer.training import trainer as trainers

    model = zoo.config(name)
    config = train_config.TrainConfig(model=model, batch_size=2 * micro_batch, micro_batch=micro_batch)
    built = zoo.build(model, height=size, width=size, n_classes=7, mean=128, std=64)
    trainer_model = mixed_precision.mixed_precision_copy(built, "float32", fuse=True)
    estimate = memory.estimate(trainer_model, micro_batch, averaged=True, base=memory.available().base)
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (2 * micro_batch, size, size, 1), np.uint8)
    targets = np.eye(7, dtype=np.float32)[draw.integers(0, 7, 2 * micro_batch)]
    sizes = {"batch_size": 2 * micro_batch, "micro_batch": micro_batch}
    trainer = trainers.LocalTrainer(trainer_model, config, np.full(7, 1 / 7, np.float32), **sizes)
    averages = built.get_weights()
    for _ in range(_STEPS):
        trainer.step(pixels, targets, np.ones(2 * micro_batch, np.float32), 1e-3)
        averages = [0.9 * old + 0.1 * new for old, new in zip(averages, trainer_model.get_weights(), strict=True)]
    return {"estimate_mb": estimate.peak / memory.MB, "peak_mb": memory.peak_mb()}
