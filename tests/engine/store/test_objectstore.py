import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr

from fer import errors
from fer.engine.store import objectstore, probing
from fer.engine.store.credentials import Credentials
from fer.engine.store.objectstore import ObjectStore

NOBODY = Credentials("nobody", SecretStr("hunter2-hunter2"))


def _outcome(call):
    try:
        return call()
    except errors.StoreConflict:
        return None


def test_what_is_put_is_got_until_it_is_deleted(store):
    assert store.get("a/b") is None
    etag = store.put("a/b", b"one")
    assert store.get("a/b") == objectstore.Object(b"one", etag)
    store.delete("a/b")
    store.delete("a/b")
    assert store.get("a/b") is None


def test_listings_are_relative_to_the_prefix_and_complete(store):
    for key in ("models/x/1", "models/x/2", "models/y/1", "other"):
        store.put(key, key.encode())
    assert [(listed.key, listed.size_bytes) for listed in store.list("models/x/")] == [
        ("models/x/1", 10),
        ("models/x/2", 10),
    ]
    assert sorted(store.folders("models/")) == ["x", "y"]
    assert list(store.list("nothing/")) == []
    assert store.uri("other") == f"s3://fer-models/{store.prefix}/other"


@pytest.mark.parametrize("key", ["", "a/", "/a", "a/../b", "x" * 300])
def test_keys_that_stores_refuse_are_refused_before_they_are_sent(store, key):
    with pytest.raises(ValueError, match="key"):
        store.put(key, b"")


def test_one_of_sixteen_creators_wins(store):
    with ThreadPoolExecutor(16) as racers:
        etags = list(
            racers.map(lambda n: _outcome(lambda: store.put_if_absent("k", b"%d" % n)), range(16)),
        )
    won = [(n, etag) for n, etag in enumerate(etags) if etag is not None]
    assert len(won) == 1
    assert store.get("k") == objectstore.Object(b"%d" % won[0][0], won[0][1])


def test_one_of_sixteen_replacers_wins(store):
    before = store.put("k", b"before")
    with ThreadPoolExecutor(16) as racers:
        etags = list(racers.map(lambda n: _outcome(lambda: store.put_if_match("k", b"%d" % n, before)), range(16)))
    won = [(n, etag) for n, etag in enumerate(etags) if etag is not None]
    assert len(won) == 1
    assert store.get("k") == objectstore.Object(b"%d" % won[0][0], won[0][1])


def test_replacing_what_is_gone_is_a_conflict(store):
    etag = store.put("k", b"1")
    store.delete("k")
    with pytest.raises(errors.StoreConflict):
        store.put_if_match("k", b"2", etag)


def test_the_embedded_store_keeps_conditions_and_checksums_and_the_probe_leaves_nothing(store):
    assert probing.fault(store) is None
    assert list(store.list("")) == []


@pytest.mark.parametrize("single_put_max_bytes", [2**26, 0])
def test_a_file_comes_back_as_it_went(store, tmp_path, monkeypatch, single_put_max_bytes):
    monkeypatch.setattr(objectstore, "_SINGLE_PUT_MAX_BYTES", single_put_max_bytes)
    there, back = tmp_path / "there", tmp_path / "new folder" / "back"
    data = bytes(range(256)) * 50_000  # 12.8 MB: two parts when it goes in parts
    there.write_bytes(data)
    uploaded = store.upload_file("file", there)
    assert uploaded == (hashlib.sha256(data).hexdigest(), len(data))
    store.download_file("file", back, uploaded.sha256)
    assert back.read_bytes() == data


def test_a_file_that_was_tampered_with_never_appears(store, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"promised")
    uploaded = store.upload_file("file", path)
    store.put("file", b"tampered")
    path.unlink()
    with pytest.raises(errors.IntegrityError, match=uploaded.sha256):
        store.download_file("file", path, uploaded.sha256)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_gone_is_an_integrity_error(store, tmp_path):
    with pytest.raises(errors.IntegrityError, match="nothing at s3://"):
        store.download_file("file", tmp_path / "file", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_is_made_once(store):
    other = ObjectStore(store.endpoint, "another-bucket", store._credentials)
    other.ensure_bucket()
    other.ensure_bucket()
    assert "another-bucket" in store.buckets()


def test_no_secret_is_in_a_repr():
    shown = f"{NOBODY!r} {NOBODY} {ObjectStore('http://127.0.0.1:9', 'fer-models', NOBODY)!r}"
    assert "hunter2" not in shown
    assert "nobody" not in shown
