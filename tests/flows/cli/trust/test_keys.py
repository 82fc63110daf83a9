"""`fer keys …` as people use it, without a store."""

import json
import stat

import pytest
from typer.testing import CliRunner

from fer import errors
from flows.cli import app as cli


@pytest.fixture(autouse=True)
def _home(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FER_SIGNING_KEY", raising=False)
    monkeypatch.delenv("FER_TRUSTED_KEYS", raising=False)


def fer(*arguments):
    done = CliRunner(env={"COLUMNS": "250"}).invoke(cli.app, ["keys", *arguments])
    if isinstance(done.exception, errors.FerError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_a_key_is_made_shown_trusted_and_distrusted(monkeypatch, tmp_path):
    made = json.loads(fer("new", "--json"))
    private, key = tmp_path / "home/signing-key.pem", made["key"]
    assert made == {"key": key, "private": str(private), "public": f"{private}.pub"}
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert "trust one: fer keys trust" in fer("show")
    assert json.loads(fer("show", "--json")) == {"signatures": "optional", "signing_key": None, "trusted": []}
    monkeypatch.setenv("FER_SIGNING_KEY", str(private))
    monkeypatch.setenv("FER_SIGNATURES", "required")
    assert f"{key} is trusted" in fer("trust", f"{private}.pub", "--name", "ann")
    file = tmp_path / "home/trusted-keys" / f"ann-{key}.pub"
    shown = json.loads(fer("show", "--json"))
    assert shown["trusted"] == [{"key": key, "file": str(file)}]
    assert shown["signing_key"] == {"key": key, "source": str(private)}
    assert key in fer("show")
    assert json.loads(fer("distrust", key, "--json"))["removed"] == [str(file)]
    assert not file.exists()


def test_a_private_key_is_never_printed_and_never_replaced(tmp_path):
    output = fer("new", str(tmp_path / "key"))
    secret = (tmp_path / "key").read_text().splitlines()[1]
    assert secret not in output
    assert str(tmp_path / "key.pub") in output
    with pytest.raises(errors.ConfigError, match="not there yet"):
        fer("new", str(tmp_path / "key"))
    with pytest.raises(errors.ConfigError, match="a private key in") as refused:
        fer("trust", str(tmp_path / "key"))
    assert secret not in str(refused.value)


def test_a_key_in_the_place_of_its_file_is_refused_and_not_shown(monkeypatch, tmp_path):
    fer("new", str(tmp_path / "key"))
    monkeypatch.setenv("FER_SIGNING_KEY", (tmp_path / "key").read_text())
    with pytest.raises(errors.ConfigError, match="not be the key itself") as refused:
        fer("show")
    assert (tmp_path / "key").read_text().splitlines()[1] not in str(refused.value)
