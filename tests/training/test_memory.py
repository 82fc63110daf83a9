import functools
import subprocess
import sys
from collections.abc import Callable

import keras
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer import errors
from fer.engine.processes import cgroups
from fer.models import freezing, zoo
from fer.models.networks import se_resnet
from fer.training import hardware, memory, mixed_precision

pytestmark = pytest.mark.slow

SMALL = se_resnet.Config(stem_filters=8, widths=(8, 16), blocks=(1, 1))


def build(size: int = 16, precision: str = "float32") -> keras.Model:
    model = zoo.build(SMALL, height=size, width=size, n_classes=3, mean=128, std=60)
    return mixed_precision.mixed_precision_copy(model, precision, fuse=True)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build()


def peak(model: keras.Model, micro_batch: int = 64, averaged: bool = False) -> int:
    return memory.estimate(model, micro_batch, averaged=averaged, base=0).peak


def of(model: keras.Model, base: int = 0) -> Callable[[int], memory.Estimate]:
    return functools.partial(memory.estimate, model, averaged=False, base=base)


def room(gigabytes: float, base: int = 0) -> memory.Available:
    return memory.Available(round(gigabytes * 1e9), base, "free in a test")


@given(st.integers(1, 512), st.integers(1, 512))
def test_more_images_at_once_need_more(model, one, other):
    assert (peak(model, one) < peak(model, other)) == (one < other)


def test_larger_images_averages_and_float32_need_more(model):
    assert peak(build(32)) > peak(model)
    assert peak(model, averaged=True) > peak(model)
    assert peak(build(precision="mixed_bfloat16")) < peak(model)


def test_a_frozen_backbone_keeps_nothing_for_gradients():
    model = build(32)
    whole = memory.estimate(model, 64, averaged=False, base=0)
    freezing.set_trainable(model, "head", "frozen")
    head = memory.estimate(model, 64, averaged=False, base=0)
    assert head.activations < whole.activations
    assert head.weights < whole.weights


def test_what_the_process_has_already_counts(model):
    rss = psutil.Process().memory_info().rss
    assert memory.available().base == pytest.approx(rss, rel=0.05)
    peaks = [memory.estimate(model, 1, averaged=False, base=base).peak for base in (0, 1_000)]
    assert peaks[1] == peaks[0] + 1_000


@given(st.integers(0, 9), st.floats(0.2, 5))
def test_the_micro_batch_is_the_largest_half_of_halves_that_fits(model, doublings, gigabytes):
    batch_size = 3 * 2**doublings
    try:
        micro_batch = memory.fitting_micro_batch(of(model, 100_000_000), batch_size, room(gigabytes, 100_000_000))
    except errors.ConfigError:
        assert peak(model, 3) + 100_000_000 > 0.8e9 * gigabytes
        return
    assert batch_size % micro_batch == 0
    assert peak(model, micro_batch) + 100_000_000 <= 0.8e9 * gigabytes + 1
    assert micro_batch == batch_size or peak(model, 2 * micro_batch) + 100_000_000 > 0.8e9 * gigabytes


def test_too_little_for_one_image_says_what_is_needed_and_what_there_is(model):
    with pytest.raises(errors.ConfigError, match=r"80 %|80%.*about 0\.\d GB.*1 images at once, 0\.0 GB to be had"):
        memory.fitting_micro_batch(of(model), 64, room(0.001))


def test_it_is_not_halved_below_what_the_model_learns_from(model):
    one = (peak(model, 1) + 10) / 1e9 / 0.8
    assert memory.fitting_micro_batch(of(model), 4, room(one)) == 1
    with pytest.raises(errors.ConfigError, match="2 images at once"):
        memory.fitting_micro_batch(of(model), 4, room(one), fewest=2)


def test_a_container_can_have_less_than_its_machine(monkeypatch):
    monkeypatch.setattr(memory.cgroups, "memory", lambda: iter([cgroups.Memory(limit=1_000, left=100)]))
    available = memory.available()
    assert available.source == "free in this container"
    assert available.n_bytes < psutil.virtual_memory().total


def test_the_gpu_that_keras_has_counts_before_the_machine(monkeypatch):
    monkeypatch.setattr(hardware, "gpu_free_bytes", lambda: 2**30)
    assert memory.available() == (2**30, 0, "free on the GPU")  # what the process has is not there


def test_a_gpu_whose_memory_is_not_known_does_not_count(monkeypatch):
    monkeypatch.setattr(hardware, "gpu_free_bytes", lambda: None)
    assert memory.available().source != "free on the GPU"


def test_a_backend_that_raises_without_a_gpu_has_none(monkeypatch):
    def refuse(kind):
        raise RuntimeError("Unknown backend: 'gpu' requested")

    monkeypatch.setattr(keras.distribution, "list_devices", refuse)
    assert memory.available().source != "free on the GPU"


def test_a_models_estimate_is_of_its_arrays(model):
    estimate = memory.estimate(model, 10, averaged=False, base=0)
    floats = sum(np.prod(layer.output.shape[1:]) for layer in model.layers if "Norm" not in type(layer).__name__)
    assert estimate.activations > 10 * floats


def test_the_peak_is_of_this_process_alone_and_not_of_its_parent():
    held = np.ones(40_000_000)
    command = [sys.executable, "-c", "from fer.training import memory; print(memory.peak_mb())"]
    of_child = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert memory.peak_mb() > held.nbytes / 1e6
    assert of_child < memory.peak_mb() - 100
