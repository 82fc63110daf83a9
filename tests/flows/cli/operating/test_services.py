"""`fer store`: the embedded store by hand."""

import json

import pytest
from shell import fer


@pytest.mark.slow
def test_the_store_is_started_shown_and_stopped(tmp_path):
    (tmp_path / "fer").mkdir()
    assert fer("store", "status", home=tmp_path).returncode == 1
    try:
        assert "running at http://127.0.0.1:" in fer("store", "up", home=tmp_path).stdout
        assert fer("store", "status", home=tmp_path).returncode == 0
        assert json.loads(fer("models", "list", "--json", home=tmp_path).stdout) == []
        assert "The registry is empty" in fer("models", "list", home=tmp_path).stdout
    finally:
        assert "stopped" in fer("store", "down", home=tmp_path).stdout
    assert fer("store", "status", home=tmp_path).returncode == 1
