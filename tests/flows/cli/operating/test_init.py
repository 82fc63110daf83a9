"""`fer init`: what it says without a server, and with one."""

import pytest
import shell
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli.operating import init
from flows.operating import installation


def test_without_a_server_it_makes_the_folder_and_says_what_is_missing(tmp_path, capsys):
    place = {"PREFECT_HOME": str(tmp_path / "prefect")}
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        run = shell.fer_here("init", "retraining", home=tmp_path, capsys=capsys, **place)
    assert run.returncode == 0
    assert (tmp_path / "retraining" / "prefect.yaml").is_file()
    assert "retraining/prefect.yaml: made" in run.stdout
    assert "no Prefect server" in run.stdout
    assert "fer up" in run.stdout


@pytest.mark.usefixtures("bare_server")
def test_on_a_server_it_makes_what_is_missing_and_the_second_time_nothing(capsys):
    init.provide()
    assert f"made on the server: the work pool '{installation.POOL}'" in capsys.readouterr().out
    init.provide()
    assert capsys.readouterr().out.rstrip().endswith("everything is there")
