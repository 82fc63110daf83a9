"""`fer models sign|verify --openssf` on a real store, and the OpenSSF's own tool beside it.

The library is an extra: where it is not installed these are skipped, and `tests/system/test_openssf.py` runs them in an
environment that has it.
"""

import json
import shutil
import subprocess
import sys

import openssf_keys
import pytest
import signed_registry
from typer.testing import CliRunner

from fer import errors
from fer.registry import names, releases
from fer.registry.trust import keys, openssf
from fer.registry.trust import releases as signed_releases
from flows.cli import app as cli

pytest.importorskip("model_signing", reason="the extra `openssf` is not installed; `make test-system` runs these")


@pytest.fixture
def made(monkeypatch, tmp_path, store_settings):
    """Versions 1 and 2 of `demo`, both signed by Ed25519."""
    signed_registry.require(monkeypatch, tmp_path, store_settings)
    with releases.open_registry() as models:
        return [signed_registry.released(models, tmp_path, number, bill=b'{"bom": 1}') for number in (1, 2)]


@pytest.fixture
def pair(tmp_path):
    """The files of a P-256 key: private, public."""
    return openssf_keys.write(tmp_path / "p256")


def fer(*arguments, code=0):
    done = CliRunner(env={"COLUMNS": "250"}).invoke(cli.app, ["models", *map(str, arguments)])
    if isinstance(done.exception, errors.FerError):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


def part(spec, public, code=0):
    """What is said of the OpenSSF's signature."""
    said = json.loads(fer("verify", spec, "--openssf", public, "--no-answers", "--json", code=code))
    (found,) = (one for one in said["parts"] if one["what"] == "OpenSSF signature")
    assert found["passed"] == (code == 0)
    return found["detail"]


def their_tool(folder, bundle, public):
    command = [sys.executable, "-m", "model_signing", "verify", "key", folder, "--signature", bundle]
    done = subprocess.run([*command, "--public_key", public], capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout + done.stderr


def bundle_in(folder):
    (bundle,) = (folder / "signatures").glob("openssf.*.json")
    return bundle


def pulled(folder, *, spec="demo@2"):
    fer("pull", spec, folder)
    return folder


def test_a_release_is_signed_for_the_openssfs_tool_which_verifies_the_copy_as_it_is(made, pair, tmp_path, store):
    private, public = pair
    key = openssf.public(public).id
    manifest_before = store.get(names.version_key("demo", 2)).data
    assert f"demo@2 is signed by the P-256 key {key}." in fer("sign", "demo@2", "--openssf", private)
    assert store.get(names.version_key("demo", 2)).data == manifest_before
    assert f"demo@2 was signed already by the P-256 key {key}." in fer("sign", "demo@2", "--openssf", private)
    assert f"signed by the P-256 key {key}" in part("demo@2", public)
    copy = pulled(tmp_path / "copy")
    assert f"signed by the P-256 key {key}" in part(copy, public)
    status, said = their_tool(copy, bundle_in(copy), public)
    assert status == 0, said
    signed = json.loads(fer("sign", "demo", "--openssf", private, "--json"))
    assert (signed["key"], signed["signed"], signed["signed_before"], signed["log_entry"]) == (key, [1], [2], None)


def test_signatures_that_come_later_leave_it_whole(made, pair, tmp_path, monkeypatch):
    private, public = pair
    fer("sign", "demo@2", "--openssf", private)
    other, _ = openssf_keys.write(tmp_path / "other")
    fer("sign", "demo@2", "--openssf", other)
    keys.write(keys.new(), tmp_path / "another")
    monkeypatch.setenv("FER_SIGNING_KEY", str(tmp_path / "another"))
    fer("sign", "demo@2")
    copy = pulled(tmp_path / "copy")
    assert len(list((copy / "signatures").iterdir())) == 4
    part(copy, public)
    status, said = their_tool(copy, copy / "signatures" / f"openssf.{openssf.public(public).id}.json", public)
    assert status == 0, said


def test_a_byte_that_changed_in_any_file_of_a_copy_is_found(made, pair, tmp_path):
    private, public = pair
    fer("sign", "demo@2", "--openssf", private)
    copy = pulled(tmp_path / "copy")
    signed = sorted(path.name for path in copy.iterdir() if path.is_file())
    assert signed == ["manifest.json", "metrics.json", "model.keras", "sbom.cdx.json", "verdict.json"]
    for name in signed:
        whole = (copy / name).read_bytes()
        (copy / name).write_bytes(whole + b" ")  # a manifest that can still be read
        detail = part(copy, public, code=7)
        assert name in detail
        assert "Next: " in detail
        (copy / name).write_bytes(whole)
    (copy / "more.py").write_text("")
    assert "more.py" in part(copy, public, code=7)
    status, said = their_tool(copy, bundle_in(copy), public)
    assert status == 1
    assert "more.py" in said


def test_a_bundle_that_was_changed_or_is_none_is_said(made, pair, tmp_path):
    private, public = pair
    fer("sign", "demo@2", "--openssf", private)
    copy = pulled(tmp_path / "copy")
    bundle = bundle_in(copy)
    whole = bundle.read_text()
    envelope = json.loads(whole)["dsseEnvelope"]
    for text in (envelope["payload"], envelope["signatures"][0]["sig"], openssf.public(public).id):
        other = "A" if text[20 % len(text)] != "A" else "B"
        position = 20 % len(text)
        bundle.write_text(whole.replace(text, text[:position] + other + text[position + 1 :]))
        assert str(bundle.parent) in part(copy, public, code=7)
    for damaged in (b"", b"[]", b"{}", b"null", b"\xff", b'{"verificationMaterial": {}}', b"[" * 100_000):
        bundle.write_bytes(damaged)
        assert "does not fit" in part(copy, public, code=7)


def test_another_key_a_missing_bundle_and_a_swapped_one_are_said(made, pair, tmp_path):
    private, public = pair
    _, strange = openssf_keys.write(tmp_path / "strange")
    fault = part("demo@2", public, code=7)
    assert "no bundle of the key" in fault
    assert "fer models sign demo@2 --openssf KEY.pem" in fault
    fer("sign", "demo", "--openssf", private)
    own = openssf.public(public).id
    assert f"by others: {own}" in part("demo@2", strange, code=7)
    first, second = pulled(tmp_path / "first", spec="demo@1"), pulled(tmp_path / "second")
    assert bundle_in(first).name == bundle_in(second).name == f"openssf.{own}.json"
    shutil.copy(bundle_in(first), bundle_in(second))
    assert "model.keras" in part(second, public, code=7)
    their_name = bundle_in(first).with_name(f"openssf.{openssf.public(strange).id}.json")
    bundle_in(first).rename(their_name)
    assert "Key mismatch" in part(first, strange, code=7)


def test_a_bundle_in_the_bucket_that_was_changed_is_found(made, pair, store):
    private, public = pair
    fer("sign", "demo@2", "--openssf", private)
    place = signed_releases.prefix(made[1]) + openssf.name_of(openssf.public(public).id)
    document = json.loads(store.get(place).data)
    document["dsseEnvelope"]["payload"] = "AAAA" + document["dsseEnvelope"]["payload"]
    store.put(place, json.dumps(document).encode())
    assert "does not fit" in part("demo@2", public, code=7)
    fer("sign", "demo@2", "--openssf", private)  # it is made anew
    part("demo@2", public)
    store.put(made[1].files["model.keras"].key, b"weights 9")
    assert "model.keras" in part("demo@2", public, code=7)


def test_a_bundle_over_less_than_the_release_is_found(made, pair, tmp_path):
    from model_signing import hashing, signing

    private, public = pair
    copy = pulled(tmp_path / "copy")
    of_less = hashing.Config().set_ignored_paths(paths=["signatures", "model.keras"])
    by_key = signing.Config().use_elliptic_key_signer(private_key=private).set_hashing_config(of_less)
    bundle = copy / "signatures" / f"openssf.{openssf.public(public).id}.json"
    by_key.sign(copy, bundle)
    assert their_tool(copy, bundle, public)[0] == 0
    assert "it says nothing of model.keras" in part(copy, public, code=7)


def test_what_is_not_whole_is_not_signed(made, pair, store):
    store.put(made[1].files["model.keras"].key, b"weights 9")
    with pytest.raises(errors.IntegrityError, match="SHA-256"):
        fer("sign", "demo@2", "--openssf", pair[0])
    assert openssf.found(store, made[1]) == {}


def test_the_private_key_is_nowhere(made, pair, store, capfd, caplog):
    private, public = pair
    secret = private.read_text().splitlines()[1]
    caplog.set_level("DEBUG")
    said = fer("sign", "demo@2", "--openssf", private) + fer("verify", "demo@2", "--openssf", public, "--no-answers")
    with pytest.raises(errors.ConfigError) as error:
        fer("verify", "demo@2", "--openssf", private)
    said += str(error.value) + caplog.text + "".join(capfd.readouterr())
    assert secret not in said
    assert not any(secret.encode() in store.get(listed.key).data for listed in store.list(""))
