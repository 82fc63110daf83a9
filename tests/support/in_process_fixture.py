"""Fixture: what a child process does is done in the process of the tests, where TensorFlow is imported once for all."""

import json

import pytest


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `child_process.run` call the function here. What crosses is still JSON; a time limit is not kept."""
    from fer.engine.processes import child_process
    from fer.progress import silent

    def run(function, arguments, job, *, progress=silent):
        return json.loads(json.dumps(function(**json.loads(json.dumps(arguments)), progress=progress)))

    monkeypatch.setattr(child_process, "run", run)
