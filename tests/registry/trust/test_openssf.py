"""Keys for OpenSSF model signing, and what is said without its library."""

import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from openssf_keys import private_pem, write

from fer import errors
from fer.registry.trust import openssf


def test_both_halves_of_a_key_are_read_and_are_called_alike(tmp_path):
    private, public = write(tmp_path)
    assert openssf.private(private).id == openssf.public(public).id
    assert openssf.public(public).pem == public.read_bytes()


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1()], ids=lambda curve: curve.name)
def test_a_key_of_another_curve_is_refused(tmp_path, curve):
    private, public = write(tmp_path, ec.generate_private_key(curve))
    with pytest.raises(errors.ConfigError, match=rf"P-256.*{curve.name} in .*ec\.pem.*openssl"):
        openssf.private(private)
    with pytest.raises(errors.ConfigError, match=rf"P-256.*{curve.name} in .*ec\.pub"):
        openssf.public(public)


def test_what_is_no_such_key_is_refused_and_not_shown(tmp_path):
    private, public = write(tmp_path)
    lines = private.read_text().splitlines()[1:-1]
    with pytest.raises(errors.ConfigError, match=r"a private key in .*ec\.pem") as error:
        openssf.public(private)
    assert not any(line in str(error.value) for line in lines)
    public.chmod(0o600)
    with pytest.raises(errors.ConfigError, match=r"something else in .*ec\.pub"):
        openssf.private(public)


def test_a_key_with_a_passphrase_or_of_another_kind_is_refused(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    locked = key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"secret"))
    for data in (locked, private_pem(ed25519.Ed25519PrivateKey.generate()), b"", b"\xff\x00"):
        path = tmp_path / "key.pem"
        path.write_bytes(data)
        path.chmod(0o600)
        with pytest.raises(errors.ConfigError, match=r"without a passphrase.*key\.pem"):
            openssf.private(path)
        with pytest.raises(errors.ConfigError, match=r"P-256 key in PEM.*key\.pem"):
            openssf.public(path)


def test_a_file_that_is_not_there_or_that_others_can_read_is_refused(tmp_path):
    private, _ = write(tmp_path)
    with pytest.raises(errors.ConfigError, match=r"--openssf must name a file.*none\.pem.*openssl"):
        openssf.private(tmp_path / "none.pem")
    with pytest.raises(errors.ConfigError, match=r"none\.pem: No such file"):
        openssf.public(tmp_path / "none.pem")
    private.chmod(0o640)
    with pytest.raises(errors.ConfigError, match=r"owner alone can read.*ec\.pem with the permissions 0640.*chmod 600"):
        openssf.private(private)


def test_without_the_library_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "model_signing.signing", None)
    with pytest.raises(errors.ConfigError, match=r"extra `openssf`.*uv pip install 'model-signing.*pyopenssl"):
        openssf.require()
