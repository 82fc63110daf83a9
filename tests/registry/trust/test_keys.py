import stat

import hypothesis
import hypothesis.strategies as st
import pytest

from fer import errors
from fer.registry.trust import keys, signatures


def test_a_key_is_written_for_its_owner_alone_and_read_again(tmp_path):
    key = keys.new()
    public = keys.write(key, tmp_path / "made" / "key")
    assert stat.S_IMODE((tmp_path / "made" / "key").stat().st_mode) == 0o600
    assert keys.read_private(tmp_path / "made" / "key").public == keys.read_public(public) == key.public
    assert len(key.public.id) == 16


def test_a_key_replaces_no_file(tmp_path):
    keys.write(keys.new(), tmp_path / "key")
    with pytest.raises(errors.ConfigError, match="not there yet"):
        keys.write(keys.new(), tmp_path / "key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_key_that_others_can_read_or_write_is_refused(tmp_path, mode):
    keys.write(keys.new(), tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(errors.ConfigError, match=f"{mode:04o}.*chmod 600"):
        keys.read_private(tmp_path / "key")


def test_what_is_no_key_is_refused_and_not_shown(tmp_path):
    for content in (b"hunter2", b"-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n"):
        (tmp_path / "key").write_bytes(content)
        (tmp_path / "key").chmod(0o600)
        with pytest.raises(errors.ConfigError, match="Ed25519") as refused:
            keys.read_private(tmp_path / "key")
        assert "hunter2" not in str(refused.value)
    with pytest.raises(errors.ConfigError, match="a private key in"):
        keys.read_public(tmp_path / "key")
    with pytest.raises(errors.ConfigError, match="No such file"):
        keys.read_private(tmp_path / "none")


def test_a_key_shows_itself_by_its_name_alone():
    key = keys.new()
    secret = key.pem().decode().splitlines()[1]
    assert secret not in f"{key!r} {key} {key.__dict__}"
    assert key.public.id in repr(key)


def test_keys_are_trusted_and_distrusted_by_files(tmp_path):
    first, second = keys.new().public, keys.new().public
    file = keys.trust(first, tmp_path, "ann's laptop")
    keys.trust(second, tmp_path)
    assert file.name == f"ann-s-laptop-{first.id}.pub"
    assert keys.trust(first, tmp_path, "again") == file
    assert {trusted.key for trusted in keys.trusted(tmp_path)} == {first, second}
    assert keys.distrust(first.id, tmp_path) == (file,)
    assert [trusted.key for trusted in keys.trusted(tmp_path)] == [second]
    with pytest.raises(errors.ConfigError, match="must have been trusted"):
        keys.distrust(first.id, tmp_path)
    (tmp_path / "other.pub").write_text("no key")
    with pytest.raises(errors.ConfigError, match=r"other\.pub"):
        keys.trusted(tmp_path)


def test_a_key_in_a_secret_is_read_by_whom_knows_how(monkeypatch):
    key = keys.new()
    monkeypatch.setattr(keys, "_secret_readers", [])
    with pytest.raises(errors.ConfigError, match="secret:mine"):
        keys.signing_key("secret:mine")
    keys.read_secrets_by({"mine": key.pem().decode()}.__getitem__)
    assert keys.signing_key("secret:mine").public == key.public


KEY, OTHER = keys.new(), keys.new()


@hypothesis.given(st.binary(max_size=60), st.binary(max_size=60))
def test_a_signature_is_of_one_message_by_one_key(message, other):
    signature = signatures.sign(message, KEY)
    assert signatures.is_by(signature, message, KEY.public)
    assert signatures.is_by(signature, other, KEY.public) == (message == other)
    assert not signatures.is_by(signature, message, OTHER.public)


@hypothesis.given(st.integers(0, 87), st.integers(1, 255))
def test_a_signature_is_one_text(position, change):
    value = bytearray(signatures.sign(b"message", KEY).value.encode())
    value[position] ^= change
    changed = signatures.Signature(key=KEY.public.id, value=value.decode("latin-1"))
    assert not signatures.is_by(changed, b"message", KEY.public)


@hypothesis.given(st.text(max_size=99))
def test_what_is_no_signature_is_none(value):
    assert not signatures.is_by(signatures.Signature(key=KEY.public.id, value=value), b"message", KEY.public)


def test_kinds_of_statements_are_not_taken_for_each_other():
    assert signatures.message("log", {"number": 1}) != signatures.message("release", {"number": 1})
