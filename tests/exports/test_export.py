import numpy as np
import pytest
from exported import N_TEST, exported

from fer.engine import disk
from fer.engine.local_workspace import LocalWorkspace
from fer.exports import serving
from fer.exports.config import ExportConfig

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
    assert content.temperature == 1.5
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
