import os
import random

import pytest

from fer.engine import arithmetic

# TensorFlow reads some of these once, when a test first makes it: in this process too, training must give the bits that
# it gives in a child.
os.environ.update(arithmetic.child_environment())

pytest_plugins = ["embedded_store_fixture", "prefect_fixture"]


@pytest.fixture
def keras_draws_alone(monkeypatch):
    """Keras has random numbers of its own, as in a child: Prefect's threads, which stay once a test has begun them,
    draw from those of this process between a seed and what is to follow from it."""
    own = random.Random()  # noqa: S311 - the kind that Keras takes its seeds from
    monkeypatch.setattr("keras.src.utils.rng_utils.random", own)
    monkeypatch.setattr("keras.src.random.seed_generator.python_random", own)
