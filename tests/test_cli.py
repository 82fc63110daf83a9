"""The `fer` command as a user meets it: its help, its messages and its exit codes."""

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import kaggle_server
import pytest

from fer import embedded_store

FER = [sys.executable, "-c", "from flows.cli import main; main()"]


def fer(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a shell does, with nothing of this machine's configuration."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
    return subprocess.run(
        [*FER, *arguments],
        env=kept | {"HOME": str(home), "FER_HOME": str(home / "fer"), "COLUMNS": "160"} | environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def written(home: Path) -> list[str]:
    """What a run left in the workspace, but for its bookkeeping."""
    workspace = home / "fer" / "workspace"
    files = [path.relative_to(workspace) for path in workspace.rglob("*") if path.is_file()]
    return sorted(str(path) for path in files if path.parts[0] not in (".locks", ".attempts"))


def test_help_names_every_command_within_a_second(tmp_path):
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        shown = fer("--help", home=tmp_path)
        seconds.append(time.monotonic() - started)
    assert shown.returncode == 0
    for command in ("retrain", "predict", "doctor", "ui", "models", "recipes", "store"):
        assert command in shown.stdout
    assert min(seconds) < 1.0  # the best of three: the machine may be busy


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("retrain", "--source", "nowhere"), 2, "A source must be"),
        (("retrain", "--source", "kaggle:only-an-owner"), 2, "A source must be"),
        (("retrain", "--source", "archive:/no/such.zip"), 3, "/no/such.zip"),
        (("retrain", "--recipe", "cake"), 2, "'cake'"),
        (("retrain", "--set", "train.epochs=none"), 2, "train.epochs"),
        (("recipes", "show", "cake"), 2, "'cake'"),
        (("models", "show", "a b"), 2, "A model must be"),
    ],
)
def test_a_wrong_argument_is_one_message_without_a_traceback(tmp_path, arguments, code, message):
    run = fer(*arguments, home=tmp_path)
    assert run.returncode == code
    assert message in run.stderr
    assert "Received:" in run.stderr
    assert "Traceback" not in run.stderr + run.stdout


def test_debug_shows_the_traceback(tmp_path):
    assert "Traceback" in fer("--debug", "retrain", "--source", "nowhere", home=tmp_path).stderr


def test_recipes_are_listed_and_shown(tmp_path):
    listed = fer("recipes", "list", home=tmp_path)
    assert all(name in listed.stdout for name in ("demo", "fer2013-cnn", "report-2024"))
    shown = fer("recipes", "show", "report-2024", home=tmp_path)
    assert '"height": 224' in shown.stdout
    assert "Expected:" in shown.stdout


@pytest.mark.end_to_end
def test_a_wrong_kaggle_handle_and_a_refused_key_say_what_to_do_and_leave_nothing(tmp_path):
    with kaggle_server.serving() as server:
        wrong = fer("retrain", "--source", "kaggle:no/such", home=tmp_path, **server.environment())
        assert wrong.returncode == 4
        assert "kaggle.com/datasets/no/such" in wrong.stderr
        server.faults.append(kaggle_server.Fault("get", status=401))
        key = {"KAGGLE_USERNAME": "somebody", "KAGGLE_KEY": "c0ffee-c0ffee"}
        refused = fer("retrain", "--source", "kaggle:a/b", home=tmp_path, **server.environment(), **key)
        assert refused.returncode == 4
        assert "KAGGLE_KEY" in refused.stderr
    for run in (wrong, refused):
        assert "Traceback" not in run.stderr + run.stdout
        assert "c0ffee" not in run.stderr + run.stdout
    assert written(tmp_path) == []


@pytest.mark.end_to_end
@pytest.mark.parametrize("content", ["nothing", "texts"])
def test_an_archive_without_images_says_so_and_leaves_nothing_half_written(tmp_path, content):
    archive = tmp_path / "faces.zip"
    with zipfile.ZipFile(archive, "w") as made:
        if content == "texts":
            made.writestr("happy/one.txt", "no image")
    run = fer("retrain", "--source", f"archive:{archive}", home=tmp_path)
    assert run.returncode == 3
    assert "Received:" in run.stderr
    assert "Traceback" not in run.stderr + run.stdout
    assert not any(path.startswith((".partial", "index")) for path in written(tmp_path))


@pytest.mark.end_to_end
def test_a_store_that_refuses_the_key_says_which_setting_to_check(tmp_path, store_home):
    server = embedded_store.status(store_home)
    wrong = {"FER_STORE_ACCESS_KEY_ID": "nobody", "FER_STORE_SECRET_ACCESS_KEY": "s3cret-s3cret"}
    run = fer("retrain", home=tmp_path, FER_STORE_ENDPOINT=server.endpoint, **wrong)
    assert run.returncode == 5
    assert "FER_STORE_ACCESS_KEY_ID" in run.stderr
    assert "Traceback" not in run.stderr + run.stdout
    assert "s3cret" not in run.stderr + run.stdout
    assert written(tmp_path) == []


def test_the_store_is_started_shown_and_stopped(tmp_path):
    assert fer("store", "status", home=tmp_path).returncode == 1
    try:
        assert "running at http://127.0.0.1:" in fer("store", "up", home=tmp_path).stdout
        assert fer("store", "status", home=tmp_path).returncode == 0
        assert json.loads(fer("models", "list", "--json", home=tmp_path).stdout) == []
        assert "The registry is empty" in fer("models", "list", home=tmp_path).stdout
    finally:
        assert "stopped" in fer("store", "down", home=tmp_path).stdout
    assert fer("store", "status", home=tmp_path).returncode == 1


def test_the_doctor_finds_nothing_wrong_on_a_fresh_machine(tmp_path):
    run = fer("doctor", home=tmp_path)
    assert run.returncode == 0, run.stdout
    for what in ("python", "workspace", "store", "kaggle", "prefect", "telemetry"):
        assert what in run.stdout


def test_the_doctor_finds_what_does_not_answer_and_names_the_fix(tmp_path):
    down = {"FER_STORE_ENDPOINT": "http://127.0.0.1:9", "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    run = fer("doctor", home=tmp_path, **down, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="s3cret-s3cret")
    assert run.returncode == 1
    assert "make ui" in run.stdout
    assert "s3cret" not in run.stdout
