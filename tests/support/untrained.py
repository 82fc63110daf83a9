"""A small model without training, as the output of a training."""

import numpy as np

from data_contracts import files
from fer.models import zoo
from fer.models.networks import sequential_cnn
from fer.training.refs import ModelRef

CLASSES = ("happy", "sad", "angry")
SIZE = 16


def model_of(workspace, classes=CLASSES) -> ModelRef:
    """An untrained model as the output of a training."""

    def produce(out):
        config = sequential_cnn.Config(width=4, blocks=1, stem_filters=4, dense_units=8)
        model = zoo.build(config, height=SIZE, width=SIZE, n_classes=len(classes), mean=128.0, std=70.0)
        draw = np.random.default_rng(0)  # Keras' own draw depends on what other threads draw
        for variable in model.trainable_variables:
            variable.assign(draw.normal(0, 0.3, variable.shape))
        model.save(out / files.MODEL)
        return ModelRef(
            digest="-".join(classes),  # as in training: the classes count, the file's date does not
            model=config.name,
            classes=classes,
            n_parameters=model.count_params(),
            epochs_run=1,
            best_epoch=1,
            validation_accuracy=0.0,
            train_seconds=0.0,
        )

    return workspace.run("train", "-".join(classes), ModelRef, produce, resumable=False)
