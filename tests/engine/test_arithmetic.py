"""The same inputs give the same bits under the conditions of docs/explanation/reproducibility.md.

What may change them is in the keys.
Threads matter to the models here only because they are not tiny: less work is not shared among them.
"""

import contextlib
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import files
from fer.curation.refs import SplitRef
from fer.engine import arithmetic
from fer.engine.code import fingerprint
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.workspace import Workspace
from fer.evaluation import evaluate, predictions
from fer.images import augment
from fer.models import saved_model as trained_folder
from fer.models.networks import sequential_cnn
from fer.shards import parquet
from fer.shards.refs import ShardsRef
from fer.training import config as train_config
from fer.training import train
from fer.training.refs import ModelRef

pytestmark = pytest.mark.slow

CLASSES = ("left", "right")
SIZE = 48
N_IMAGES = 64
HOSTILE = {"floatx": "float64", "epsilon": 1e-3, "image_data_format": "channels_first", "backend": "torch"}
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]

needs_two_cores = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores and a way to use only one")


@contextlib.contextmanager
def on_cores(cores):
    """This thread, and the processes that it starts, on these cores alone."""
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


@pytest.fixture(autouse=True)
def nothing_said_of_threads(monkeypatch):
    """As it is for a user: the tests' own process has variables that its children would get."""
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A user whose Keras is configured otherwise, and whose variables speak of other numbers of threads."""
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "keras.json").write_text(json.dumps(HOSTILE))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    for name in (*THREADS, "KERAS_MAX_EPOCHS"):
        monkeypatch.setenv(name, "1")


def config(threads: int) -> train_config.TrainConfig:
    return train_config.TrainConfig(
        model=sequential_cnn.Config(width=32, blocks=2),
        epochs=2,
        batch_size=32,
        threads=threads,
        augmentation=augment.AugmentConfig(rotation_deg=5, shift=0.05, shear_deg=0, zoom=0.1),
    )


def images_in(workspace: Workspace) -> ShardsRef:
    """Noise, of which half is brighter on its left side: 64 images in each split."""

    def produce(out):
        rng = np.random.default_rng(0)
        labels = (np.arange(N_IMAGES) % 2).astype(np.int32)
        for split in ("train", "validation", "test"):
            pixels = rng.integers(0, 200, (N_IMAGES, SIZE, SIZE), np.uint8)
            pixels[labels == 0, :, : SIZE // 2] += 50
            ids = [f"{split}{row:03}" for row in range(N_IMAGES)]
            parquet.write(out / parquet.name(split, 0), ids, labels, pixels, CLASSES)
        (out / files.PREPROCESSING).write_text(json.dumps({"classes": CLASSES}))
        counts = {split: dict.fromkeys(CLASSES, N_IMAGES // 2) for split in ("train", "validation", "test")}
        return ShardsRef(classes=CLASSES, height=SIZE, width=SIZE, counts=counts, mean=110.0, std=60.0)

    return workspace.run("preprocess", "made", ShardsRef, produce, resumable=False)


def division_in(workspace: Workspace) -> SplitRef:
    def produce(out):
        ids = [f"test{row:03}" for row in range(N_IMAGES)]
        pq.write_table(pa.table({"image_id": ids, "is_clean": [True] * N_IMAGES}), out / files.SPLIT)
        return SplitRef(classes=CLASSES, counts={}, origin="drawn")

    return workspace.run("split", "made", SplitRef, produce, resumable=False)


def trained(folder, threads: int) -> tuple[ModelRef, Workspace]:
    """A model, trained in a child process in a workspace of its own."""
    workspace = LocalWorkspace(folder)
    shards = images_in(workspace)
    return train.train(shards, shards, None, None, config(threads), workspace=workspace), workspace


@pytest.fixture(scope="module")
def in_two_threads(tmp_path_factory) -> tuple[ModelRef, Workspace]:
    """A model that was trained in two threads on all cores."""
    return trained(tmp_path_factory.mktemp("workspace"), 2)


def predictions_of(model: ModelRef, workspace: Workspace) -> np.ndarray:
    ref = evaluate.evaluate(model, images_in(workspace), division_in(workspace), "test", None, workspace=workspace)
    return predictions.read(workspace.folder(ref) / predictions.FILE).probabilities


@needs_two_cores
def test_the_same_number_of_threads_ends_in_the_same_bits_on_one_core(in_two_threads, tmp_path):
    with on_cores(CORES[:1]):
        model, _ = trained(tmp_path, 2)
    assert model.digest == in_two_threads[0].digest


def test_another_number_of_threads_has_another_key_as_it_ends_in_other_bits(in_two_threads, tmp_path):
    shards = images_in(in_two_threads[1])
    keys = {train.train.key(shards, shards, None, None, config(threads)) for threads in (1, 2)}
    assert len(keys) == 2
    assert trained(tmp_path, 1)[0].digest != in_two_threads[0].digest


@needs_two_cores
def test_by_default_there_are_as_many_threads_as_usable_cores():
    assert train_config.TrainConfig().threads == len(CORES)
    with on_cores(CORES[:1]):
        assert train_config.TrainConfig().threads == 1


def test_a_users_configuration_of_keras_and_of_threads_does_not_reach_the_training(in_two_threads, tmp_path, hostile):
    assert trained(tmp_path / "workspace", 2)[0].digest == in_two_threads[0].digest


@needs_two_cores
def test_a_model_is_scored_alike_on_any_number_of_cores_and_whatever_keras_json_says(in_two_threads, tmp_path, request):
    expected = predictions_of(*in_two_threads)
    request.getfixturevalue("hostile")
    model, folder = in_two_threads[0], tmp_path / "workspace"
    other = LocalWorkspace(folder)
    other.run("train", model.path.split("/")[-1], ModelRef, lambda out: copied(in_two_threads, out), resumable=False)
    with on_cores(CORES[:1]):
        np.testing.assert_array_equal(predictions_of(model, other), expected)


def copied(trained: tuple[ModelRef, Workspace], out) -> ModelRef:
    model, workspace = trained
    (out / files.MODEL).write_bytes((workspace.folder(model) / files.MODEL).read_bytes())
    return model


def test_a_child_has_the_projects_configuration_of_keras_and_the_threads_that_it_is_given(hostile):
    environment = arithmetic.child_environment(threads=3)
    assert json.loads((arithmetic.KERAS_HOME / "keras.json").read_bytes()) == {
        "backend": "tensorflow",
        "floatx": "float32",
        "epsilon": 1e-7,
        "image_data_format": "channels_last",
        "nnx_enabled": False,
    }
    assert (environment["KERAS_HOME"], environment["KERAS_BACKEND"]) == (str(arithmetic.KERAS_HOME), "tensorflow")
    assert {environment[f"TF_NUM_{kind}OP_THREADS"] for kind in ("INTRA", "INTER")} == {"3"}
    assert environment["OMP_NUM_THREADS"] == environment["NPROC"] == "3"
    assert "KERAS_MAX_EPOCHS" not in environment


@pytest.mark.parametrize("name", ["TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS", "TF_XLA_FLAGS", "ONEDNN_MAX_CPU_ISA"])
def test_a_variable_that_makes_keras_compute_otherwise_is_in_the_keys_of_what_uses_it(name, monkeypatch):
    monkeypatch.delenv(name, raising=False)
    before = {
        module: fingerprint.of_module(module)
        for module in ("fer.training.train", "fer.evaluation.evaluate", "fer.curation.split")
    }
    monkeypatch.setenv(name, "0")
    after = {module: fingerprint.of_module(module) for module in before}
    assert {module for module in before if before[module] != after[module]} == {
        "fer.training.train",
        "fer.evaluation.evaluate",
    }
    assert arithmetic.child_environment()[name] == "0"
    assert arithmetic.environment()[name] == "0"


@pytest.mark.parametrize("name", ["OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES"])
def test_a_variable_that_makes_numpy_compute_otherwise_is_in_the_keys_of_what_uses_it(name, monkeypatch):
    monkeypatch.delenv(name, raising=False)
    before = fingerprint.of_module("fer.curation.inspect")
    monkeypatch.setenv(name, "Haswell")
    assert fingerprint.of_module("fer.curation.inspect") != before


def test_what_an_image_may_cost_is_in_the_keys_of_what_decodes_it_and_other_limits_in_none(monkeypatch):
    stages = ("fer.ingest.index", "fer.shards.preprocess", "fer.curation.split")
    before = [fingerprint.of_module(name) for name in stages]
    monkeypatch.setenv("FER_LIMIT_TABLE_ROWS", "9")
    assert [fingerprint.of_module(name) for name in stages] == before
    monkeypatch.setenv("FER_LIMIT_IMAGE_SIDE_PX", "9")
    after = [fingerprint.of_module(name) for name in stages]
    assert [one != other for one, other in zip(before, after, strict=True)] == [True, True, False]


@pytest.mark.parametrize(
    "name", ["OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "KERAS_HOME", "TF_CPP_MIN_LOG_LEVEL", "AWS_SECRET_ACCESS_KEY"]
)
def test_a_variable_that_changes_no_bits_is_in_no_key_and_no_record(name, monkeypatch):
    monkeypatch.delenv(name, raising=False)
    before = fingerprint.of_module("fer.training.train")
    monkeypatch.setenv(name, "7")
    assert fingerprint.of_module("fer.training.train") == before
    assert name not in arithmetic.environment()


def test_keras_configuration_and_backend_are_in_the_keys_of_what_uses_it(tmp_path, monkeypatch):
    seen = {fingerprint.of_module("fer.training.train")}
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    seen.add(fingerprint.of_module("fer.training.train"))
    monkeypatch.setattr(arithmetic, "KERAS_CONFIGURATION", tmp_path / "keras.json")
    (tmp_path / "keras.json").write_text("{}")
    seen.add(fingerprint.of_module("fer.training.train"))
    assert len(seen) == 3


def test_an_empty_backend_is_tensorflow_as_it_is_to_keras(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "")
    assert (arithmetic.backend(), arithmetic.child_environment()["KERAS_BACKEND"]) == ("tensorflow", "tensorflow")


def test_a_model_says_by_what_it_was_trained(in_two_threads):
    model, workspace = in_two_threads
    environment = trained_folder.environment(workspace.folder(model))
    recorded = {
        name: environment[name] for name in ("threads", "precision", "backend", "device", "replicas", "images at once")
    }
    assert recorded == {
        "threads": "2",
        "precision": "float32",
        "backend": "tensorflow",
        "device": "CPU",
        "replicas": "1",
        "images at once": "32",
    }
    assert environment["cores"] == str(len(CORES))
    assert {"python", "machine", "processor", "instruction set", "keras", "numpy"} <= set(environment)


@pytest.mark.parametrize(
    ("text", "processor", "instructions"),
    [
        ("model name\t: EPYC\nflags\t\t: fpu sse2 fma avx2 amx_bf16\n", "EPYC", "amx_bf16 avx2 fma"),
        ("processor\t: 0\nFeatures\t: fp asimd sve bf16\n", None, "asimd bf16 sve"),
        (None, None, ""),
    ],
)
def test_the_processor_and_its_instructions_are_recorded(text, processor, instructions, tmp_path, monkeypatch):
    monkeypatch.setattr(arithmetic, "_PROCESSOR", tmp_path / "cpuinfo")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    environment = arithmetic.environment()
    assert environment["instruction set"] == instructions
    assert environment["processor"]
    if processor is not None:
        assert environment["processor"] == processor
