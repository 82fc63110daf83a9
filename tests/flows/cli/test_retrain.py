"""`fer retrain` where it can't begin: one message, an exit code, and nothing half-written."""

import zipfile

import kaggle_server
import pytest
from shell import fer, fer_here, written

from fer import errors
from fer.engine.store import seaweedfs


@pytest.mark.end_to_end
def test_a_prefect_server_that_is_down_is_one_message(tmp_path):
    run = fer("retrain", home=tmp_path, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert run.returncode == errors.PrefectUnavailable.exit_code
    assert "Failed to reach API at http://127.0.0.1:9/api" in run.stderr
    assert "make ui" in run.stderr
    assert "Traceback" not in run.stderr + run.stdout


@pytest.mark.end_to_end
def test_a_wrong_kaggle_handle_and_a_refused_key_say_what_to_do_and_leave_nothing(tmp_path, capsys, prefect_server):
    with kaggle_server.serving() as server:
        server.faults.append(kaggle_server.Fault("get", status=503))
        wrong = fer_here("retrain", "--source", "kaggle:no/such", home=tmp_path, capsys=capsys, **server.environment())
        assert wrong.returncode == 4
        assert "kaggle.com/datasets/no/such" in wrong.stderr
        assert "! resolve: " in wrong.stdout
        assert "503" in wrong.stdout
        assert "Trying again in about" in wrong.stdout
        server.faults.append(kaggle_server.Fault("get", status=401))
        key = {"KAGGLE_USERNAME": "somebody", "KAGGLE_KEY": "c0ffee-c0ffee"}
        refused = fer_here(
            "retrain", "--source", "kaggle:a/b", home=tmp_path, capsys=capsys, **server.environment(), **key
        )
        assert refused.returncode == 4
        assert "KAGGLE_KEY" in refused.stderr
    for run in (wrong, refused):
        assert "Traceback" not in run.stderr + run.stdout
        assert "c0ffee" not in run.stderr + run.stdout
    assert written(tmp_path) == []


@pytest.mark.end_to_end
@pytest.mark.parametrize("content", ["nothing", "texts"])
def test_an_archive_without_images_says_so_and_leaves_nothing_half_written(tmp_path, capsys, prefect_server, content):
    archive = tmp_path / "faces.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        if content == "texts":
            zipped.writestr("happy/one.txt", "no image")
    run = fer_here("retrain", "--source", f"archive:{archive}", home=tmp_path, capsys=capsys)
    assert run.returncode == 3
    assert "Received:" in run.stderr
    assert "Traceback" not in run.stderr + run.stdout
    assert not any(path.startswith((".partial", "index")) for path in written(tmp_path))


@pytest.mark.end_to_end
def test_a_store_that_refuses_the_key_says_which_setting_to_check(tmp_path, capsys, prefect_server, store_home):
    server = seaweedfs.status(store_home)
    wrong = {"FER_STORE_ACCESS_KEY_ID": "nobody", "FER_STORE_SECRET_ACCESS_KEY": "s3cret-s3cret"}
    run = fer_here("retrain", home=tmp_path, capsys=capsys, FER_STORE_ENDPOINT=server.endpoint, **wrong)
    assert run.returncode == 5
    assert "FER_STORE_ACCESS_KEY_ID" in run.stderr
    assert "Traceback" not in run.stderr + run.stdout
    assert "s3cret" not in run.stderr + run.stdout
    assert written(tmp_path) == []
