import os
import random

import hypothesis
import pytest

from fer.engine import arithmetic

# TensorFlow reads some of these once, when a test first makes it: in this process too, training must give the bits that
# it gives in a child.
os.environ.update(arithmetic.child_environment())

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("fer", deadline=None)
hypothesis.settings.load_profile("fer")

pytest_plugins = ["embedded_store_fixture", "prefect_fixture"]

_SLOW_FIXTURES = {"prefect_server", "store_home"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what needs a Prefect server or a store, and begin with the files that hold slow tests: begun last,
    one of them would keep one process at work alone."""
    for item in items:
        if _SLOW_FIXTURES & set(getattr(item, "fixturenames", ())) or item.get_closest_marker("end_to_end"):
            item.add_marker(pytest.mark.slow)
    ends = {item.path for item in items if item.get_closest_marker("end_to_end")}
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in ends, item.path not in slow))


@pytest.fixture
def keras_draws_alone(monkeypatch):
    """Keras has random numbers of its own, as in a child: Prefect's threads, which stay once a test has begun them,
    draw from those of this process between a seed and what is to follow from it."""
    own = random.Random()  # noqa: S311 - the kind that Keras takes its seeds from
    monkeypatch.setattr("keras.src.utils.rng_utils.random", own)
    monkeypatch.setattr("keras.src.random.seed_generator.python_random", own)
