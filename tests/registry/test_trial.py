"""A packed release is tried in a process of its own: it must load and answer as was recorded, and not be far slower."""

import shutil
import time

import numpy as np
import pytest
from registrations import CLASSES, PREPROCESSING

from data_contracts import files
from fer.evaluation import predictions, recording
from fer.evaluation.config import GateConfig
from fer.models import saved_model, zoo
from fer.models.networks import sequential_cnn
from fer.registry import trial
from fer.shards import parquet

pytestmark = pytest.mark.slow
SIZE = 16


def built(seed):
    config = sequential_cnn.Config(width=4, blocks=1, stem_filters=4, dense_units=8)
    model = zoo.build(config, height=SIZE, width=SIZE, n_classes=len(CLASSES), mean=128.0, std=70.0)
    draw = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(draw.normal(0, 0.3, variable.shape))
    return model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A packed release, and the shards that it was evaluated on."""
    top = tmp_path_factory.mktemp("trial")
    release, shards = top / "release", top / "shards"
    release.mkdir()
    shards.mkdir()
    model = built(0)
    model.save(release / files.MODEL)
    (release / files.PREPROCESSING).write_bytes(PREPROCESSING)
    pixels = np.random.default_rng(0).integers(0, 256, (30, SIZE, SIZE), dtype=np.uint8)
    ids, truth = [f"id{row:02}" for row in range(30)], (np.arange(30) % 2).astype(np.int32)
    parquet.write(shards / parquet.name("test", 0), ids, truth, pixels, CLASSES)
    answers = saved_model.probabilities(model, pixels[..., np.newaxis], saved_model.batch_size(pixels[..., np.newaxis]))
    predictions.write(release / predictions.FILE, ids, truth, answers, truth > 0, CLASSES)
    recording.write(release, model)
    return release, shards


@pytest.fixture
def release(made, tmp_path):
    return shutil.copytree(made[0], tmp_path / "release")


@pytest.fixture
def material(made):
    return trial.Material(shards=made[1])


def test_a_release_answers_to_the_bit_as_was_recorded_in_another_process(made, material):
    found = trial.run(made[0], material, GateConfig())
    assert found.reason() == ""
    assert [check.name for check in found.checks] == [
        "answers as recorded on drawn inputs",
        "answers as recorded on 30 test images",
    ]
    assert [(check.measure.value, check.measure.bound) for check in found.checks] == [(0, 0), (0, 0)]
    assert found.latency is None


def test_a_release_with_another_model_in_it_is_found_out(release, material, in_this_process):
    built(1).save(release / files.MODEL)
    found = trial.run(release, material, GateConfig())
    assert [check.passed for check in found.checks] == [False, False]
    assert "it is not the model that was judged: run again, or train it again" in found.reason()


def test_a_release_that_can_not_be_loaded_says_so(release, material, in_this_process):
    (release / files.MODEL).write_bytes((release / files.MODEL).read_bytes()[:-100])
    found = trial.run(release, material, GateConfig())
    (check,) = found.checks
    assert not check.passed
    assert "the packed release can't be used" in check.detail
    assert found.latency is None


def rewritten(release, change, **environment):
    recorded = recording.read(release)
    rows = tuple(tuple(value + change for value in row) for row in recorded.probabilities)
    changed = recording.Recording(probabilities=rows, environment=recorded.environment | environment)
    (release / recording.FILE).write_text(changed.model_dump_json())


@pytest.mark.parametrize(
    ("change", "environment", "passed"),
    [
        (5e-5, {"instruction set": "sse2"}, True),
        (5e-4, {"instruction set": "sse2"}, False),
        (5e-5, {}, False),
        (5e-5, {"cores": "1000"}, False),
        (5e-5, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, True),
        (5e-5, {"device": "CPU, GPU"}, True),
    ],
)
def test_where_something_else_computed_it_the_last_bits_may_differ(
    release, change, environment, passed, in_this_process
):
    rewritten(release, change, **environment)
    (check,) = trial.run(release, trial.Material(), GateConfig()).checks
    assert check.passed == passed
    differing = [name for name in environment if name != "cores"]
    assert all(f"as {name} may round otherwise" in check.detail for name in differing)
    assert check.measure.bound == (trial.TOLERANCE if differing else 0)


def test_a_release_from_before_there_were_recordings_is_loaded_alone(release, in_this_process):
    (release / recording.FILE).unlink()
    assert trial.run(release, trial.Material(), GateConfig()).checks == ()


class Slowed:
    """A model that takes its time: `seconds` more for each call, or any of some by turns."""

    def __init__(self, model, *seconds):
        self.model, self.seconds, self.calls = model, seconds, 0
        self.input_shape = model.input_shape

    def predict_on_batch(self, pixels):
        time.sleep(self.seconds[self.calls % len(self.seconds)])
        self.calls += 1
        return self.model.predict_on_batch(pixels)


def timed(monkeypatch, release, candidate, champion, bound):
    """The checks of a candidate's and a champion's latency, the models slowed by so many seconds."""
    slowed = iter([Slowed(saved_model.load(release), *candidate), Slowed(saved_model.load(release), *champion)])
    monkeypatch.setattr(trial.saved_model, "load", lambda folder: next(slowed))
    monkeypatch.setattr(trial.recording, "read", lambda folder: None)
    monkeypatch.setattr(trial, "_SECONDS", 0.1)
    material = trial.Material(champion=release, champion_version=3, is_timed=True)
    return trial.run(release, material, GateConfig(max_latency_ratio=bound))


def test_a_model_that_is_far_slower_than_the_champion_is_refused(release, monkeypatch, in_this_process):
    found = timed(monkeypatch, release, (0.05,), (0.0,), 2)
    assert [check.passed for check in found.checks] == [False, False]
    assert "times as long as the champion" in found.reason()
    assert found.latency.image_ratio_interval[0] > 2
    assert found.checks[0].measure.setting == "gate.max_latency_ratio"


def test_a_noisy_machine_refuses_no_model_that_may_be_quick_enough(release, monkeypatch, in_this_process):
    # One call in three is disturbed, of either model: by the median of all calls the candidate may seem slower.
    found = timed(monkeypatch, release, (0.0, 0.03, 0.0), (0.03, 0.0, 0.0, 0.0), 1.5)
    assert found.reason() == ""
    low, high = found.latency.image_ratio_interval
    assert low <= found.latency.image_ratio <= high


def test_without_a_champion_the_times_are_recorded(release, monkeypatch, in_this_process):
    monkeypatch.setattr(trial, "_SECONDS", 0.05)
    found = trial.run(release, trial.Material(is_timed=True), GateConfig())
    assert found.latency.image_ms > 0
    assert found.latency.batch_ms > 0
    assert found.latency.image_ratio is None
    assert all("latency" not in check.name for check in found.checks)
