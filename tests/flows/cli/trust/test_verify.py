"""`fer models verify` and `pull` on a real store."""

import json

import openssf_keys
import pytest
import signed_registry
from typer.testing import CliRunner

from fer import errors
from fer.evaluation.refs import Check
from fer.registry import moves, names, releases, trial
from fer.registry.registry import Registry
from fer.registry.trust import openssf
from fer.registry.trust import releases as signed_releases
from flows.cli import app as cli


@pytest.fixture
def key(monkeypatch, tmp_path, store_settings):
    return signed_registry.require(monkeypatch, tmp_path, store_settings)


@pytest.fixture
def made(key, tmp_path, monkeypatch):
    """Versions 1 and 2 of `demo`, both signed, whose trial needs no model."""
    check = Check(name="answers as recorded", passed=True, detail="no difference", reason="what is served")
    monkeypatch.setattr(trial, "run", lambda *_, **__: trial.Trial(checks=(check,)))
    with releases.open_registry() as models:
        return [signed_registry.released(models, tmp_path, number, bill=b'{"bom": 1}') for number in (1, 2)]


def fer(*arguments, code=0):
    done = CliRunner(env={"COLUMNS": "250"}).invoke(cli.app, ["models", *arguments])
    if isinstance(done.exception, errors.FerError):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


def found(*arguments, code=0):
    document = json.loads(fer("verify", *arguments, "--json", code=code))
    assert document["passed"] == (code == 0)
    return {part["what"]: part for part in document["parts"]}


def test_each_part_of_a_release_is_verified(made, key):
    output = fer("verify", "demo")
    assert f"demo@2: signature: signed by the key {key.public.id}, which is trusted here" in output
    assert "demo@2: log: 4 entries, each after the one before; champion: version 2; signed by" in output
    parts = found("demo@1")
    assert list(parts) == ["log", "manifest", "files", "signature", "bill of materials", "answers"]
    assert parts["files"]["detail"].startswith("all 3 have the SHA-256")
    assert "covered by the signature" in parts["bill of materials"]["detail"]
    assert "answers" not in found("demo@1", "--no-answers")


def test_what_is_not_whole_is_said_and_not_loaded(made, store, monkeypatch):
    monkeypatch.setattr(trial, "run", lambda *_, **__: pytest.fail("it was loaded"))
    place = made[1].files["verdict.json"].key
    whole = store.get(place).data
    store.put(place, b'{"passed": yes!}')
    parts = found("demo@2", code=7)
    assert "verdict.json" in parts["files"]["detail"]
    assert parts["log"]["passed"]
    assert parts["signature"]["passed"]
    store.put(place, whole)
    store.put(names.version_key("demo", 2), store.get(names.version_key("demo", 2)).data.replace(b"0.7", b"0.9"))
    assert not found("demo@2", code=7)["manifest"]["passed"]


def test_a_champion_made_without_a_key_is_said(made, store):
    moves.rollback(Registry(store), "demo")
    parts = found("demo@champion", "--no-answers", code=7)
    assert "not signed" in parts["log"]["detail"]
    assert parts["signature"]["passed"]


def test_where_nothing_is_demanded_it_is_said_who_signed(made, key, monkeypatch, tmp_path, store):
    monkeypatch.setenv("FER_SIGNATURES", "optional")
    monkeypatch.setenv("FER_TRUSTED_KEYS", str(tmp_path / "none"))
    assert f"signed by the key {key.public.id}, which is not trusted here" in found("demo")["signature"]["detail"]
    unsigned = signed_registry.released(Registry(store), tmp_path, 3)
    assert found(f"demo@{unsigned.version}")["signature"]["detail"] == "not signed"


def test_an_older_release_without_recorded_answers_does_not_pass(made, monkeypatch):
    monkeypatch.setattr(trial, "run", lambda *_, **__: trial.Trial())
    assert "older than recorded answers" in found("demo", code=7)["answers"]["detail"]


def test_a_release_is_pulled_whole_with_what_proves_it(made, key, tmp_path, store):
    folder = tmp_path / "copies" / "demo"
    pulled = json.loads(fer("pull", "demo@1", str(folder), "--json"))
    assert pulled["release"] == "demo@1"
    signature = f"signatures/signature-{key.public.id}.json"
    contents = {"manifest.json", "sbom.cdx.json", signature, "model.keras", "metrics.json", "verdict.json"}
    assert contents == set(pulled["files"])
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*")} == contents | {"signatures"}
    assert (folder / "manifest.json").read_bytes() == store.get(names.version_key("demo", 1)).data
    assert [path.name for path in folder.parent.iterdir()] == ["demo"]
    assert found(str(folder))["signature"]["passed"]
    with pytest.raises(errors.ConfigError, match="new or empty"):
        fer("pull", "demo@2", str(folder))
    (tmp_path / "empty").mkdir()
    assert "6 files" in fer("pull", "demo", str(tmp_path / "empty"))


def test_a_copy_whose_signatures_lie_beside_the_files_is_signed_as_well(made, tmp_path):
    folder = tmp_path / "demo"
    fer("pull", "demo", str(folder))
    for path in (folder / "signatures").iterdir():
        path.rename(folder / path.name)
    assert found(str(folder), "--no-answers")["signature"]["passed"]


def test_what_the_openssfs_tool_verifies_is_pulled_and_its_absence_said(made, tmp_path, store, monkeypatch):
    monkeypatch.setattr(openssf, "require", lambda: None)
    _, public = openssf_keys.write(tmp_path)
    other = f".openssf.{'0' * 16}.json"
    store.put(f"{signed_releases.prefix(made[1])}{other}", b"a bundle")
    fer("pull", "demo", str(tmp_path / "copy"))
    assert (tmp_path / "copy" / "signatures" / other[1:]).read_bytes() == b"a bundle"
    for spec in ("demo", str(tmp_path / "copy")):
        parts = found(spec, "--openssf", str(public), "--no-answers", code=7)
        assert all(part["passed"] for what, part in parts.items() if what != "OpenSSF signature")
        detail = parts["OpenSSF signature"]["detail"]
        assert f"no bundle of the key {openssf.public(public).id} ({public})" in detail
        assert f"by others: {'0' * 16}" in detail
        assert "fer models sign demo@2 --openssf KEY.pem" in detail


@pytest.mark.parametrize("name", ["manifest.json", "sbom.cdx.json", "model.keras", "verdict.json"])
def test_a_byte_that_changed_in_a_copy_is_found(made, tmp_path, name):
    folder = tmp_path / "demo"
    fer("pull", "demo", str(folder))
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data.replace(b"7", b"8", 1) if name == "manifest.json" else data[:-1] + b"?")
    assert not all(part["passed"] for part in found(str(folder), "--no-answers", code=7).values())


def test_nothing_of_a_release_that_is_not_whole_or_not_signed_is_pulled(made, store, tmp_path):
    place = made[1].files["verdict.json"].key
    whole = store.get(place).data
    store.put(place, b'{"passed": yes!}')
    with pytest.raises(errors.IntegrityError, match="SHA-256"):
        fer("pull", "demo@2", str(tmp_path / "copy"))
    store.put(place, whole)
    for listed in list(store.list(f"{signed_releases.prefix(made[1])}.signature-")):
        store.delete(listed.key)
    with pytest.raises(errors.IntegrityError, match="not signed"):
        fer("pull", "demo@2", str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()
    assert not list(tmp_path.glob(".copy*"))


def test_moves_pins_and_repairs_are_said_in_json(made, store):
    assert json.loads(fer("pin", "demo@1", "--json")) == {
        "name": "demo",
        "version": 1,
        "pinned": True,
        "changed": True,
    }
    assert not json.loads(fer("unpin", "demo@2", "--json"))["changed"]
    entry = json.loads(fer("rollback", "demo", "--json"))["entry"]
    assert (entry["action"], entry["from_version"], entry["to_version"]) == ("rollback", 2, 1)
    assert entry["signature"]["key"]
    assert json.loads(fer("promote", "demo@2", "--json"))["entry"]["digest"]
    assert json.loads(fer("promote", "demo@2", "--json")) == {"name": "demo", "entry": None}
    assert json.loads(fer("withdraw", "demo@1", "--reason", "no", "--json"))["entry"]["action"] == "withdraw"
    assert json.loads(fer("repair", "demo", "--json")) == {"name": "demo", "applied": False, "findings": []}
    store.delete("models/demo/aliases/champion.json")
    (finding,) = json.loads(fer("repair", "demo", "--json", code=7))["findings"]
    assert "gone" in finding["what"]
    assert finding["fix"]
