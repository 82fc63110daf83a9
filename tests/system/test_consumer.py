"""A release's exported model in an environment that has ONNX Runtime, NumPy and OpenCV, and nothing else."""

import importlib.metadata
import os
import subprocess
import sys

import exported
import pytest
import system_fixtures

PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless")
ABSENT = ("fer", "tensorflow", "keras", "onnx", "PIL", "scipy")


@pytest.fixture(scope="module")
def clean_python(tmp_path_factory):
    """The interpreter of a new environment with these packages, of the versions that are installed here."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    uv = [sys.executable, "-m", "uv"]
    pinned = [f"{name}=={importlib.metadata.version(name)}" for name in PACKAGES]
    python = folder / "bin" / "python"
    for command in (
        [*uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
        [*uv, "pip", "install", "--quiet", "--python", str(python), *pinned],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            system_fixtures.left_out("A package index", f"let uv reach one: {done.stderr.strip()[-300:]}")
    return python


@pytest.mark.usefixtures("in_this_process")
def test_a_release_predicts_where_there_is_neither_tensorflow_nor_fer(clean_python, tmp_path):
    environment = {"PATH": os.defpath}
    absent = f"import importlib.util as u; print([name for name in {ABSENT} if u.find_spec(name)])"
    listed = subprocess.run([clean_python, "-I", "-c", absent], capture_output=True, text=True, check=True)
    assert listed.stdout.strip() == "[]"
    folder, pictures, expected = exported.with_pictures(tmp_path)
    done = subprocess.run(
        [clean_python, exported.CONSUMER, folder, *pictures],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    exported.require_said(done.stdout, expected)
