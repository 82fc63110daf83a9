"""The script that the documentation gives consumers, without what they don't have."""

import subprocess
import sys
from pathlib import Path

import exported
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_this_process")]

# What a consumer has not: an import of it fails.
WITHOUT = """
import runpy, sys
sys.modules |= dict.fromkeys(("fer", "tensorflow", "keras", "tf2onnx", "pandas", "pyarrow", "ai_edge_litert"))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_it_needs_onnxruntime_numpy_and_opencv_alone_and_says_what_the_pipeline_says(tmp_path):
    folder, pictures, expected = exported.with_pictures(tmp_path)
    command = [sys.executable, "-I", "-c", WITHOUT, str(exported.CONSUMER), str(folder), *map(str, pictures)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path("/"), timeout=120)
    assert done.returncode == 0, done.stderr
    exported.require_said(done.stdout, expected)
