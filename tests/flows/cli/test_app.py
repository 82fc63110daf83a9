"""The `fer` command as a user meets it: its help, its messages and its exit codes."""

import errno
import os
import signal
import socket
import subprocess
import sys
from importlib import metadata

import httpx
import pytest
from shell import FER, bare, fer, fer_here, heed_signals
from typer.testing import CliRunner

from fer import errors
from flows.cli import app as cli
from flows.cli import options


def test_help_names_every_command_and_loads_nothing_heavy(tmp_path):
    told = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    command = [sys.executable, "-c", told + FER[-1], "--help"]
    shown = subprocess.run(command, env=bare(tmp_path), capture_output=True, text=True, check=True)
    for name in ("retrain", "data", "predict", "doctor", "ui", "models", "recipes", "store"):
        assert name in shown.stdout
    heavy = {"tensorflow", "keras", "prefect", "great_expectations", "pandas", "pyarrow", "cv2", "boto3", "numpy"}
    loaded = set(shown.stderr.split())
    assert "flows.cli.app" in loaded
    assert heavy.isdisjoint(loaded)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("retrain", "--source", "nowhere"), 2, "A source must be"),
        (("retrain", "--source", "kaggle:only-an-owner"), 2, "A source must be"),
        (("retrain", "--source", "archive:/no/such.zip"), 3, "/no/such.zip"),
        (("retrain", "--recipe", "cake"), 2, "'cake'"),
        (("retrain", "--set", "train.epochs=none"), 2, "train.epochs"),
        (("retrain", "--name", "A model"), 2, "model_name"),
        (("data", "check", "nowhere"), 2, "A source must be"),
        (("data", "check", "archive:s3://b/f.zip"), 2, "aws s3 cp s3://b/f.zip ."),
        (("data", "check", "https://www.kaggle.com/c/faces"), 2, "kaggle competitions download -c faces"),
        (("data", "check", "demo", "--set", "curate.policies.blank=burn"), 2, "curate.policies.blank"),
        (("recipes", "show", "cake"), 2, "'cake'"),
        (("retrain", "--runner", "threads"), 2, "'threads'"),
        (("retrain", "--runner", "dask:a:1"), 2, "'dask:a:1'"),
        (("plan", "--runner", "dask:"), 2, "dask:tcp://HOST:PORT"),
        (
            ("score", "demo", "--model", "demo@1", "--output", "scores", "--runner", "processes:tcp://a:1"),
            2,
            "dask:tcp",
        ),
        (("models", "show", "a b"), 2, "A model must be"),
    ],
)
def test_a_wrong_argument_is_one_message_without_a_traceback(tmp_path, capsys, arguments, code, message):
    run = fer_here(*arguments, home=tmp_path, capsys=capsys)
    assert run.returncode == code
    assert message in run.stderr
    assert "Received:" in run.stderr
    assert "Traceback" not in run.stderr + run.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("retrain", "--kaggle-secret", "c0ffee00c0ffee00c0ffee00c0ffee00"),
        ("data", "check", "demo", "--kaggle-secret", "KGAT_c0ffee00c0ffee00c0ffee00c0ffee00"),
        ("retrain", "--set", "train.weights=https://ann:c0ffee00@example.org/model.h5"),
        ("retrain", "--recipe", "KGAT_c0ffee00c0ffee00c0ffee00c0ffee00"),
    ],
)
def test_a_key_in_a_wrong_place_is_refused_before_prefect_is_asked_and_never_shown(monkeypatch, capsys, arguments):
    monkeypatch.setattr(options, "prepare_prefect", lambda verbose: pytest.fail("Prefect is asked"))
    monkeypatch.setattr("sys.argv", ["fer", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr()
    assert ended.value.code == errors.ConfigError.exit_code
    assert "error:" in shown.err
    assert "c0ffee" not in shown.err + shown.out


def test_the_version_is_the_packages():
    shown = CliRunner().invoke(cli.app, ["--version"])
    assert (shown.exit_code, shown.stdout) == (0, f"fer {metadata.version('fer-retraining')}\n")


@pytest.mark.parametrize("command", ["retrain", "sweep", "compare"])
def test_every_command_that_trains_has_the_options_of_a_run(command):
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, [command, "--help"]).stdout
    for option in ("--source", "--recipe", "--set", "--kaggle-secret", "--verbose"):
        assert option in shown


def test_debug_shows_the_traceback(tmp_path, capsys):
    assert "Traceback" in fer_here("--debug", "retrain", "--source", "nowhere", home=tmp_path, capsys=capsys).stderr


@pytest.mark.slow
def test_the_exit_code_and_the_message_are_those_of_the_process(tmp_path):
    run = fer("retrain", "--source", "nowhere", home=tmp_path)
    assert run.returncode == 2
    assert "A source must be" in run.stderr
    assert "Traceback" not in run.stderr + run.stdout


NEXT = "Next: run it again with `fer --debug` for the traceback, or see `fer doctor`."


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (RuntimeError("the [bold] left"), cli.INTERNAL_ERROR, f"error: RuntimeError: the [bold] left {NEXT}"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/reports"),
            cli.INTERNAL_ERROR,
            "The operating system refused: No space left on device at /data/reports. Next: free space",
        ),
        (
            RuntimeError("Failed to reach API at http://127.0.0.1:9/api"),
            11,
            "start it (make ui), or unset PREFECT_API_URL",
        ),
        (httpx.ConnectError("All connection attempts failed"), 11, "start it (make ui), or unset PREFECT_API_URL"),
    ],
)
def test_an_error_that_nobody_foresaw_is_one_message_too(monkeypatch, capsys, raised, code, message):
    def broken():
        raise raised

    monkeypatch.delenv("FER_DEBUG", raising=False)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr().err
    assert ended.value.code == code
    assert message in shown
    assert "fer --debug" in shown
    assert shown.count("\n") == 1


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store_environment = {"FER_STORE_ENDPOINT": endpoint, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        run = subprocess.Popen(
            [*FER, "models", "list"],
            env=bare(tmp_path) | store_environment,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_signals,
        )
        try:
            with silent.accept()[0]:
                run.send_signal(signal.SIGINT)
                _, stderr = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode == cli.INTERRUPTED
    assert stderr == "stopped. Run the same command again to go on; finished stages are kept.\n"


@pytest.mark.parametrize(
    "arguments", [("models", "list"), ("models", "show", "demo"), ("predict", "face.jpg"), ("store", "status")]
)
def test_a_command_that_only_reads_makes_no_home_in_the_wrong_folder(tmp_path, capsys, arguments):
    run = fer_here(*arguments, home=tmp_path, capsys=capsys, FER_HOME="")
    assert run.returncode == 2
    assert f"no folder {tmp_path.resolve() / '.fer'}" in run.stderr
    assert "FER_HOME" in run.stderr
    assert not (tmp_path / ".fer").exists()


def test_an_error_that_ctrl_c_has_caused_on_its_way_is_no_error(monkeypatch, capsys):
    def trip():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise ValueError("Task run is not set")  # noqa: B904 - as Prefect does

    monkeypatch.setattr(cli, "app", trip)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == cli.INTERRUPTED
    assert capsys.readouterr().err == "stopped. Run the same command again to go on; finished stages are kept.\n"
