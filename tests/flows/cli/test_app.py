"""The `fer` command as a user meets it: its help, its messages and its exit codes."""

import contextlib
import datetime
import errno
import functools
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import httpx
import kaggle_server
import psutil
import pytest
from rich.console import Console
from typer.testing import CliRunner

from fer import errors, settings
from fer.engine.store import objectstore, seaweedfs
from fer.evaluation import predict
from fer.registry import ledger as registry_ledger
from fer.registry import log as registry_log
from fer.registry import releases
from flows.cli import app as cli
from flows.cli import console, doctor

FER = [sys.executable, "-c", "from flows.cli.app import main; main()"]
MADE_ONCE = tempfile.TemporaryDirectory(prefix="fer-tests-")


@functools.cache
def prefect_database() -> Path:
    """A Prefect database without any run; to make one takes ten seconds, for each run in a new home."""
    upgrade = [Path(sys.executable).with_name("prefect"), "server", "database", "upgrade", "-y"]
    kept = {"PATH": os.environ["PATH"], "HOME": MADE_ONCE.name, "PREFECT_HOME": MADE_ONCE.name}
    subprocess.run(upgrade, env=kept, check=True, capture_output=True, timeout=300)
    return Path(MADE_ONCE.name) / "prefect.db"


def bare(home: Path) -> dict[str, str]:
    """An environment with nothing of this machine's configuration."""
    database = home / ".prefect" / "prefect.db"
    if not database.exists():
        database.parent.mkdir(exist_ok=True)
        shutil.copyfile(prefect_database(), database)
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
    return kept | {"HOME": str(home), "FER_HOME": str(home / "fer"), "COLUMNS": "160"}


def fer(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a shell does, with nothing of this machine's configuration."""
    return subprocess.run(
        [*FER, *arguments],
        env=bare(home) | environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def in_group(number: int) -> list[str]:
    """The processes of a process group."""
    found = []
    for each in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):  # it ended meanwhile
            if os.getpgid(each.pid) == number:
                found.append(each.name())
    return found


def written(home: Path) -> list[str]:
    """What a run left in the workspace, but for its bookkeeping."""
    workspace = home / "fer" / "workspace"
    files = [path.relative_to(workspace) for path in workspace.rglob("*") if path.is_file()]
    return sorted(str(path) for path in files if path.parts[0] not in (".locks", ".attempts"))


def test_help_names_every_command_and_loads_nothing_heavy(tmp_path):
    shown = fer("--help", home=tmp_path)
    assert shown.returncode == 0
    for command in ("retrain", "data", "predict", "doctor", "ui", "models", "recipes", "store"):
        assert command in shown.stdout
    imported = "import sys; from flows.cli import app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"tensorflow", "keras", "prefect", "great_expectations", "pandas", "pyarrow", "cv2", "boto3", "numpy"}
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
        (("data", "check", "demo", "--set", "curate.policies.blank=burn"), 2, "curate.policies.blank"),
        (("recipes", "show", "cake"), 2, "'cake'"),
        (("retrain", "--dask-address", "tcp://a:1"), 2, "needs --runner dask"),
        (("retrain", "--runner", "dask", "--dask-address", "a:1"), 2, "'a:1'"),
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
    assert "preprocess.height=224" in shown.stdout.splitlines()
    assert "train.timeout_s=7200.0" in shown.stdout.splitlines()
    assert "one of cross-entropy, focal, logit-adjusted" in " ".join(shown.stdout.split())
    assert "Expected:" in shown.stdout
    assert "registered as report-2024 (--name for another)" in shown.stdout
    demo = " ".join(fer("recipes", "show", "demo", home=tmp_path).stdout.split())
    assert "registered as demo from demo, as SOURCE-demo from other sources (--name for another)" in demo
    assert "fer sweep tries train.learning_rate=5e-4..5e-3 log" in shown.stdout.splitlines()
    assert "train.micro_batch (empty)" in shown.stdout.splitlines()
    other = fer("recipes", "show", "report-2024", "--set", "train.model.name=vgg", home=tmp_path)
    assert "train.model.widths=[64, 128, 256]" in other.stdout.splitlines()
    as_json = json.loads(fer("recipes", "show", "report-2024", "--json", home=tmp_path).stdout)
    assert as_json["preprocess"]["height"] == 224


NEXT = "Next: run it again with `fer --debug` for the traceback, or see `fer doctor`."


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (RuntimeError("the [bold] left"), f"error: RuntimeError: the [bold] left {NEXT}"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/reports"),
            "The operating system refused: No space left on device at /data/reports. Next: free space",
        ),
        (RuntimeError("Failed to reach API at http://127.0.0.1:9/api"), "start it (make ui), or unset PREFECT_API_URL"),
        (httpx.ConnectError("All connection attempts failed"), "start it (make ui), or unset PREFECT_API_URL"),
    ],
)
def test_an_error_that_nobody_foresaw_is_one_message_too(monkeypatch, capsys, raised, said):
    def broken():
        raise raised

    monkeypatch.delenv("FER_DEBUG", raising=False)
    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr().err
    assert ended.value.code == cli.INTERNAL_ERROR
    assert said in shown
    assert "fer --debug" in shown
    assert shown.count("\n") == 1


@pytest.mark.end_to_end
def test_a_prefect_server_that_is_down_is_one_message(tmp_path):
    run = fer("retrain", home=tmp_path, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert run.returncode == cli.INTERNAL_ERROR
    assert "Failed to reach API at http://127.0.0.1:9/api" in run.stderr
    assert "make ui" in run.stderr
    assert "Traceback" not in run.stderr + run.stdout


def heed_ctrl_c() -> None:
    """In a process to be started: heed SIGINT even where the tests themselves run in a shell's background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_says_how_to_go_on(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        given = {"FER_STORE_ENDPOINT": endpoint, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        run = subprocess.Popen(
            [*FER, "models", "list"],
            env=bare(tmp_path) | given,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_ctrl_c,
        )
        try:
            with silent.accept()[0]:
                run.send_signal(signal.SIGINT)
                _, said = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode == cli.INTERRUPTED
    assert said == "stopped. Run the same command again to go on; finished stages are kept.\n"


@pytest.mark.end_to_end
def test_ctrl_c_as_a_terminal_sends_it_to_all_of_a_run_ends_it_within_seconds_and_leaves_no_process(tmp_path):
    run = subprocess.Popen(
        [*FER, "retrain"],
        env=bare(tmp_path),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )
    try:
        assert any("download" in line for line in run.stdout)
        os.killpg(run.pid, signal.SIGINT)
        _, said = run.communicate(timeout=60)
        left = in_group(run.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == cli.INTERRUPTED
    assert said == "stopped. Run the same command again to go on; finished stages are kept.\n"
    assert left == []
    assert seaweedfs.status(tmp_path / "fer") is None


@pytest.mark.parametrize(
    "arguments", [("models", "list"), ("models", "show", "demo"), ("predict", "face.jpg"), ("store", "status")]
)
def test_a_command_that_only_reads_makes_no_home_in_the_wrong_folder(tmp_path, arguments):
    run = fer(*arguments, home=tmp_path, FER_HOME="")
    assert run.returncode == 2
    assert f"no folder {tmp_path.resolve() / '.fer'}" in run.stderr
    assert "FER_HOME" in run.stderr
    assert not (tmp_path / ".fer").exists()


def test_a_missing_file_is_told_before_the_store_is_asked(tmp_path):
    (tmp_path / "fer").mkdir()
    (tmp_path / "there.png").write_bytes(b"")
    run = fer("predict", "there.png", "missing.jpg", home=tmp_path, FER_STORE_ENDPOINT="http://127.0.0.1:1")
    assert run.returncode == errors.SourceError.exit_code
    assert "no file missing.jpg" in run.stderr
    assert "Next: " in run.stderr
    assert "there.png" not in run.stderr


@pytest.fixture
def predicted(monkeypatch, tmp_path):
    """`fer predict` of files of these names in a folder of a long name, as the child would answer."""

    def run(answers, *options, folder=tmp_path / ("holiday-photographs-" * 4)):
        folder.mkdir(exist_ok=True)
        for name in answers:
            (folder / name).write_bytes(b"")
        paths = [folder / name for name in answers]
        found = [
            predict.Prediction(path=path, **each) for path, name in zip(paths, answers, strict=True)
            for each in answers[name]
        ]  # fmt: skip
        manifest = SimpleNamespace(name="demo", version=1)
        monkeypatch.setattr(releases, "local_copy", lambda model: contextlib.nullcontext((manifest, tmp_path)))
        monkeypatch.setattr(predict, "predict", lambda folder, paths, *, whole: found)
        monkeypatch.setenv("FER_HOME", str(tmp_path))
        monkeypatch.setattr(console, "out", Console(width=80))
        return CliRunner().invoke(cli.app, ["predict", *options, *map(str, paths)])

    return run


HAPPY = {"label": "happy", "probabilities": {"happy": 0.9, "disgust": 0.06, "surprise": 0.04}}


def test_files_can_be_told_apart_in_80_columns(predicted):
    names = [f"IMG_20260801_1530{number:02}_and_what_was_added.jpg" for number in range(3)]
    run = predicted({name: [{**HAPPY, "taken": "face", "note": "the face"}] for name in names})
    assert run.exit_code == 0
    columns = [[cell.strip() for cell in line.split("│")[1:-1]] for line in run.stdout.splitlines() if "│" in line]
    assert "".join(row[0] for row in columns) == "".join(names)
    assert all(len(line) <= 80 for line in run.stdout.splitlines() if not line.startswith("images in"))
    assert "happy 0.90" in run.stdout


def test_each_face_has_its_row_and_a_picture_without_one_ends_in_an_exit_code(predicted):
    several = [{**HAPPY, "taken": "face", "note": f"face {number} of 2"} for number in (1, 2)]
    assert predicted({"a.jpg": several}).exit_code == 0
    run = predicted({"a.jpg": several, "b.jpg": [{"error": predict.NO_FACE}]})
    assert run.exit_code == errors.SourceError.exit_code
    assert "face 2 of 2" in run.stdout
    assert "no face" in run.stdout
    assert "--whole" in run.stdout


def test_json_says_where_the_face_is_and_what_was_taken(predicted):
    answer = {**HAPPY, "taken": "face", "note": "the face", "box": (10, 20, 30, 30), "score": 0.9}
    run = predicted({"a.jpg": [answer]}, "--json")
    (found,) = json.loads(run.stdout)
    assert {name: found[name] for name in ("taken", "note", "box", "score", "label")} == {
        "taken": "face", "note": "the face", "box": [10, 20, 30, 30], "score": 0.9, "label": "happy",
    }  # fmt: skip


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


def test_listing_models_asks_for_the_champion_once_a_model(monkeypatch, tmp_path):
    asked = []

    class Manifest(SimpleNamespace):
        def model_dump(self, mode):
            return {}

    class Registry:
        def names(self):
            return ("demo", "fer2013")

        def versions(self, name):
            made = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
            figures = {"accuracy": 0.5, "macro": {"f1": 0.5}}
            return [
                Manifest(
                    name=name,
                    version=each,
                    status="released",
                    metrics=figures,
                    created_utc=made,
                    model_digest=str(each),
                )
                for each in (1, 2, 3)
            ]

        def ledger(self, name):
            asked.append(name)
            champion = 2 if name == "demo" else None
            state = registry_ledger.State(registry_log.Log([]), champion, "")
            return SimpleNamespace(read=lambda: state)

    monkeypatch.setenv("FER_HOME", str(tmp_path))
    monkeypatch.setattr(releases, "open_registry", lambda: contextlib.nullcontext(Registry()))
    shown = CliRunner().invoke(cli.app, ["models", "list"])
    assert asked == ["demo", "fer2013"]
    rows = [line.split() for line in shown.stdout.splitlines() if "released" in line]
    assert [(row[1], row[3], "champion" in row) for row in rows] == [
        ("demo", "3", False),
        ("demo", "2", True),
        ("demo", "1", False),
        ("fer2013", "3", False),
        ("fer2013", "2", False),
        ("fer2013", "1", False),
    ]


@pytest.mark.end_to_end
def test_a_wrong_kaggle_handle_and_a_refused_key_say_what_to_do_and_leave_nothing(tmp_path):
    with kaggle_server.serving() as server:
        server.faults.append(kaggle_server.Fault("get", status=503))
        wrong = fer("retrain", "--source", "kaggle:no/such", home=tmp_path, **server.environment())
        assert wrong.returncode == 4
        assert "kaggle.com/datasets/no/such" in wrong.stderr
        assert "! resolve: " in wrong.stdout
        assert "503" in wrong.stdout
        assert "Trying again in about" in wrong.stdout
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
    server = seaweedfs.status(store_home)
    wrong = {"FER_STORE_ACCESS_KEY_ID": "nobody", "FER_STORE_SECRET_ACCESS_KEY": "s3cret-s3cret"}
    run = fer("retrain", home=tmp_path, FER_STORE_ENDPOINT=server.endpoint, **wrong)
    assert run.returncode == 5
    assert "FER_STORE_ACCESS_KEY_ID" in run.stderr
    assert "Traceback" not in run.stderr + run.stdout
    assert "s3cret" not in run.stderr + run.stdout
    assert written(tmp_path) == []


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


def test_the_doctor_finds_nothing_wrong_on_a_fresh_machine(tmp_path):
    run = fer("doctor", home=tmp_path)
    assert run.returncode == 0, run.stdout
    for what in ("python", "workspace", "store", "kaggle", "kaggle.com", "prefect", "telemetry"):
        assert f" {what} " in run.stdout
    assert not (tmp_path / "fer").exists()


def test_the_doctor_finds_what_does_not_answer_and_names_the_fix(tmp_path):
    down = {"FER_STORE_ENDPOINT": "http://127.0.0.1:9", "PREFECT_API_URL": "http://u:s3cret@127.0.0.1:9/api"}
    run = fer("doctor", home=tmp_path, **down, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="s3cret-s3cret")
    assert run.returncode == 1
    assert "make ui" in run.stdout
    assert "s3cret" not in run.stdout


def test_the_doctor_asks_whether_kaggle_answers_without_a_key(monkeypatch):
    asked = []

    class Kaggle(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(dict(self.headers))
            self.send_response(302)
            self.end_headers()

        def log_message(self, *_):
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "c0ffee")
    with http.server.HTTPServer(("127.0.0.1", 0), Kaggle) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(doctor, "_KAGGLE", f"http://127.0.0.1:{server.server_port}")
        assert doctor._kaggle_answer().level == "ok"
        server.shutdown()
    assert len(asked) == 1
    assert "Authorization" not in asked[0]
    assert "c0ffee" not in str(asked)
    assert doctor._kaggle_answer().level == "warn"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "nonsense://x", "http://127.0.0.1:9"])
def test_the_doctor_survives_any_proxy(monkeypatch, proxy):
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    assert doctor._kaggle_answer().level == "warn"


def test_a_store_that_ignores_conditions_is_found_before_the_run_and_by_the_doctor(monkeypatch, tmp_path):
    from tasks import registry

    monkeypatch.setattr(objectstore.ObjectStore, "ping", lambda self: None)
    monkeypatch.setattr(objectstore.ObjectStore, "keeps_conditions", lambda self: False)
    monkeypatch.setenv("FER_STORE_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    with pytest.raises(errors.StoreError, match="conditional puts"), registry.store_in_reach():
        pass
    finding = doctor._store(settings.Settings.load())
    assert finding.level == "fail"
    assert "conditional puts" in finding.fix
