"""Fixtures: what child processes do is done in the process of the tests, where TensorFlow is imported once for all."""

import contextlib
import json
import random
from collections.abc import Iterator

import pytest


@pytest.fixture
def in_this_process() -> Iterator[None]:
    """See `children_done_here`."""
    with children_done_here():
        yield


@pytest.fixture
def keras_draws_alone() -> Iterator[None]:
    """See `keras_drawing_alone`."""
    with keras_drawing_alone():
        yield


@pytest.fixture(scope="module")
def module_in_this_process() -> Iterator[None]:
    """Both of these for all tests and fixtures of a module."""
    with children_done_here(), keras_drawing_alone():
        yield


@contextlib.contextmanager
def children_done_here() -> Iterator[None]:
    """Have `child_process.run` call the function here. What crosses is still JSON; a time limit is not kept."""
    from fer.engine.processes import child_process
    from fer.progress import silent

    def run(function, arguments, job, *, progress=silent):
        return json.loads(json.dumps(function(**json.loads(json.dumps(arguments)), progress=progress)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child_process, "run", run)
        patch.setattr(child_process, "load_ahead", lambda **_: None)
        yield


@contextlib.contextmanager
def keras_drawing_alone() -> Iterator[None]:
    """Give Keras a random generator of its own, as in a worker process: Prefect's threads, which outlive the test that
    started them, draw from that of this process, also between the seeding and the draws that follow it."""
    generator = random.Random()  # noqa: S311 - the kind that Keras takes its seeds from
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras.src.utils.rng_utils.random", generator)
        patch.setattr("keras.src.random.seed_generator.python_random", generator)
        yield
