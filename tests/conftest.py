import os
import random

import hypothesis
import pytest

from fer.engine import arithmetic

# TensorFlow reads some of these variables once, when a test first imports it. They are set so that training gives the
# same bits in this process as in a worker process.
os.environ.update(arithmetic.child_environment())

# The duration of an example depends on how busy the machine is.
hypothesis.settings.register_profile("fer", deadline=None)
hypothesis.settings.load_profile("fer")

pytest_plugins = ["embedded_store_fixture", "limits_fixture", "prefect_fixture"]

_SLOW_FIXTURES = {"prefect_server", "store_home"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need a Prefect server or a store as slow, and run the files with slow tests first: started last,
    such a file would keep one worker busy alone."""
    for item in items:
        if _SLOW_FIXTURES & set(getattr(item, "fixturenames", ())) or item.get_closest_marker("end_to_end"):
            item.add_marker(pytest.mark.slow)
    end_to_end = {item.path for item in items if item.get_closest_marker("end_to_end")}
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in end_to_end, item.path not in slow))


@pytest.fixture
def keras_draws_alone(monkeypatch):
    """Give Keras a random generator of its own, as in a worker process: Prefect's threads, which outlive the test that
    started them, draw from that of this process, also between the seeding and the draws that follow it."""
    generator = random.Random()  # noqa: S311 - the kind that Keras takes its seeds from
    monkeypatch.setattr("keras.src.utils.rng_utils.random", generator)
    monkeypatch.setattr("keras.src.random.seed_generator.python_random", generator)
