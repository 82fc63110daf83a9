import json

import numpy as np
import pytest
from exported import N_TEST, N_VALIDATION, calibrated, evaluated, exported, shards_of, with_preprocessing
from recommit import recommit

from fer import errors
from fer.engine import disk
from fer.engine.local_workspace import LocalWorkspace
from fer.exports import export, litert_file, onnx_file, serving
from fer.exports.config import ExportConfig
from fer.models import saved_model, validation
from fer.shards import parquet

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_this_process")]


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def test_each_file_is_there_and_the_float32_ones_say_what_keras_says(workspace):
    made = exported(workspace, ExportConfig(max_int8_loss=1))
    folder = workspace.folder(made)
    assert made.files == serving.MODELS
    assert all(check.passed for check in made.checks)
    content = serving.load(folder)
    by_file = {one.file: one for one in content.fidelity}
    for name in (serving.ONNX, serving.LITERT):
        assert by_file[name].agreement == 1
        assert by_file[name].largest_difference < 1e-5
        assert by_file[name].n_images == N_TEST
    few = parquet.load_split(workspace.folder(shards_of(workspace)), "test").pixels.astype(np.float32)
    for name in serving.MODELS:
        opened = (onnx_file if name in serving.OF_ONNX else litert_file).opened(folder / name)
        answers = opened(few)
        assert np.allclose(answers.sum(axis=1), 1, atol=1e-5)
        assert not np.allclose(answers * 256, np.rint(answers * 256)), f"{name}: softmax in 8 bits"
    assert content.temperature == 1.5
    assert content.unlikeness.n_validation_images == N_VALIDATION
    assert content.files == {name: disk.sha256(folder / name) for name in (*serving.MODELS, serving.PREPROCESS)}


def test_two_exports_are_the_same_bytes(tmp_path):
    ones = [exported(LocalWorkspace(tmp_path / name)) for name in ("one", "other")]
    assert ones[0].digest == ones[1].digest


def test_an_export_that_says_something_else_is_refused(workspace):
    made = exported(workspace, change=lambda probabilities: np.roll(probabilities, 1, axis=1))
    assert [check.passed for check in made.checks if "int8" not in check.name] == [False, False]


def test_eight_bits_that_lose_too_much_are_left_out_and_the_release_goes_on(workspace):
    made = exported(workspace, ExportConfig(max_int8_loss=0))
    assert made.files == (serving.ONNX, serving.LITERT)
    assert all(check.passed for check in made.checks)
    assert sum(check.warns for check in made.checks) == 2
    folder = workspace.folder(made)
    assert not (folder / serving.ONNX_INT8).exists()
    assert set(serving.load(folder).not_released) == {serving.ONNX_INT8, serving.LITERT_INT8}


def test_without_an_evaluation_of_the_model_itself_its_validation_images_are_asked(workspace):
    model, shards = with_preprocessing(workspace), shards_of(workspace)
    images = parquet.load_split(workspace.folder(shards), "validation")
    keras = saved_model.load(workspace.folder(model))
    answers = saved_model.probabilities(keras, images.pixels, 32)
    outputs = validation.Outputs(images.image_ids, images.class_indexes, answers)
    validation.write(workspace.folder(model), outputs)
    recommit(workspace, model)
    made = export.export(model, shards, None, calibrated(workspace), ExportConfig(int8=False), workspace=workspace)
    assert [check.passed for check in made.checks] == [True, True]
    content = serving.load(workspace.folder(made))
    assert {(one.split, one.n_images) for one in content.fidelity} == {("validation", N_VALIDATION)}


@pytest.mark.parametrize(("device", "passed"), [("CPU", False), ("NVIDIA H200", True)])
def test_what_a_gpu_said_may_differ_more(workspace, device, passed):
    model, shards = with_preprocessing(workspace), shards_of(workspace)
    folder = workspace.folder(model)
    images = parquet.load_split(workspace.folder(shards), "validation")
    answers = saved_model.probabilities(saved_model.load(folder), images.pixels, 32)
    rounded = np.round(answers, 2)  # as products of fewer bits would come out
    validation.write(folder, validation.Outputs(images.image_ids, images.class_indexes, rounded))
    (folder / saved_model.ABOUT).write_text(json.dumps({"environment": {"device": device}}))
    recommit(workspace, model)
    config = ExportConfig(formats=("onnx",), int8=False)
    made = export.export(model, shards, None, calibrated(workspace), config, workspace=workspace)
    assert [check.passed for check in made.checks] == [passed]


def test_a_format_that_a_model_can_t_be_converted_to_refuses_it_and_the_others_are_there(workspace, monkeypatch):
    def converted(*_):
        raise NotImplementedError("Unsupported: Conv7D")

    monkeypatch.setattr(onnx_file, "converted", converted)
    made = exported(workspace, ExportConfig(int8=False))
    (failed,) = [check for check in made.checks if not check.passed]
    assert "NotImplementedError: Unsupported: Conv7D" in failed.detail
    assert "--set 'export.formats=[\"litert\"]'" in failed.detail
    assert made.files == (serving.LITERT,)


def test_8_bits_are_told_by_train_images_alone(workspace, monkeypatch):
    seen = []

    def quantised(model, pixels):
        seen.append(pixels)
        return model

    monkeypatch.setattr(onnx_file, "quantised", quantised)
    exported(workspace, ExportConfig(formats=("onnx",), calibration_images=16))
    train = parquet.load_split(workspace.folder(shards_of(workspace)), "train").pixels.astype(np.float32)
    assert seen[0].shape == (16, *train.shape[1:])
    assert {image.tobytes() for image in seen[0]} <= {image.tobytes() for image in train}


def test_images_that_keras_was_asked_about_and_are_not_there_are_not_left_out_in_silence(workspace):
    model, shards = with_preprocessing(workspace), shards_of(workspace)
    evaluation = evaluated(workspace, model, shards)
    folder = workspace.folder(shards)
    images = parquet.load_split(folder, "test")
    few = images.pixels[:-1, ..., 0]
    parquet.write(
        folder / parquet.name("test", 0), images.image_ids[:-1], images.class_indexes[:-1], few, images.classes
    )
    recommit(workspace, shards)
    with pytest.raises(errors.IntegrityError, match=r"59 of 60"):
        export.export(model, shards, evaluation, calibrated(workspace), ExportConfig(int8=False), workspace=workspace)
