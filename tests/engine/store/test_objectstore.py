import hashlib
import http.server
import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr

from fer import errors
from fer.engine.store import objectstore
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
    assert [(each.key, each.size_bytes) for each in store.list("models/x/")] == [("models/x/1", 10), ("models/x/2", 10)]
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


def test_the_embedded_store_keeps_conditions_and_the_probe_leaves_nothing(store):
    assert store.keeps_conditions()
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


def test_an_unknown_key_is_refused_with_the_setting_to_check(store):
    stranger = ObjectStore(store.endpoint, store.bucket, NOBODY)
    for call in (stranger.ping, lambda: stranger.get("k"), lambda: stranger.put_if_absent("k", b""), stranger.buckets):
        with pytest.raises(errors.StoreRefused, match="FER_STORE_ACCESS_KEY_ID") as caught:
            call()
        assert store.endpoint in str(caught.value)
        assert not caught.value.transient
        assert "hunter2" not in f"{caught.value}{caught.value.__cause__}"


def test_a_wrong_secret_is_refused_with_the_setting_to_check(store):
    known = store._credentials.access_key_id
    with pytest.raises(errors.StoreRefused, match="check FER_STORE_SECRET_ACCESS_KEY"):
        ObjectStore(store.endpoint, store.bucket, Credentials(known, SecretStr("wrong"))).ping()


def test_a_missing_bucket_is_refused_with_how_to_create_it(store, tmp_path):
    elsewhere = ObjectStore(store.endpoint, "no-such-bucket", store._credentials)
    (tmp_path / "file").write_bytes(b"x")
    for call in (
        elsewhere.ping,
        lambda: elsewhere.get("k"),
        lambda: elsewhere.put_if_absent("k", b""),
        lambda: elsewhere.upload_file("k", tmp_path / "file"),
        lambda: list(elsewhere.list("")),
    ):
        with pytest.raises(errors.StoreRefused, match="aws s3 mb s3://no-such-bucket"):
            call()


def test_a_bucket_is_made_once(store):
    other = ObjectStore(store.endpoint, "another-bucket", store._credentials)
    other.ensure_bucket()
    other.ensure_bucket()
    assert "another-bucket" in store.buckets()


def test_a_store_that_is_down_is_unavailable_within_seconds():
    with socket.socket() as closed:  # bound, not listening: nobody else can take the port
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(errors.StoreUnavailable, match=endpoint) as caught:
            ObjectStore(endpoint, "fer-models", NOBODY).get("k")
        assert time.monotonic() - began < 5
        assert caught.value.transient


@pytest.fixture
def faulty():
    """A server that answers every request with `status`; counts them."""

    class Faulty(http.server.BaseHTTPRequestHandler):
        def answer(self):
            server.requests += 1
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_PUT = do_HEAD = answer

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    server.requests = 0
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_error_may_pass_and_is_asked_twice(faulty):
    faulty.status = 503
    with pytest.raises(errors.StoreUnavailable, match="503"):
        ObjectStore(f"http://127.0.0.1:{faulty.server_port}", "fer-models", NOBODY).get("k")
    assert faulty.requests == 2


def test_a_conditional_put_is_never_repeated(faulty):
    faulty.status = 503
    with pytest.raises(errors.StoreUnavailable, match="503"):
        ObjectStore(f"http://127.0.0.1:{faulty.server_port}", "fer-models", NOBODY).put_if_absent("k", b"")
    assert faulty.requests == 1


def test_a_store_without_conditional_puts_is_refused(faulty):
    faulty.status = 501
    with pytest.raises(errors.StoreRefused, match="conditional"):
        ObjectStore(f"http://127.0.0.1:{faulty.server_port}", "fer-models", NOBODY).put_if_absent("k", b"")


@pytest.mark.parametrize("status", [404, 409, 412])
def test_all_ways_to_say_that_the_condition_failed_are_conflicts(faulty, status):
    faulty.status = status
    with pytest.raises(errors.StoreConflict):
        ObjectStore(f"http://127.0.0.1:{faulty.server_port}", "fer-models", NOBODY).put_if_match("k", b"", '"0"')


def test_loopback_is_reached_directly_whatever_the_proxy(store, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    ObjectStore(store.endpoint, store.bucket, store._credentials).ping()


def test_without_given_credentials_boto3s_own_chain_is_asked(store, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", store._credentials.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store._credentials.secret_access_key.get_secret_value())
    ObjectStore(store.endpoint, store.bucket).ping()

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(errors.StoreRefused, match="FER_STORE_ACCESS_KEY_ID"):
        ObjectStore(store.endpoint, store.bucket).ping()


def test_no_secret_is_in_a_repr():
    shown = f"{NOBODY!r} {NOBODY} {ObjectStore('http://127.0.0.1:9', 'fer-models', NOBODY)!r}"
    assert "hunter2" not in shown
    assert "nobody" not in shown


def test_a_link_can_be_read_by_anyone(store):
    store.put("k", b"page")
    with urllib.request.urlopen(store.link("k", 60)) as answer:  # noqa: S310 - loopback
        assert answer.read() == b"page"


def test_there_is_no_link_that_would_hold_a_session_token(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    here = "http://127.0.0.1:9"
    assert ObjectStore(here, "fer-models").link("k", 60).startswith(here)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-token")
    assert ObjectStore(here, "fer-models").link("k", 60) is None
    given = ObjectStore(here, "fer-models", NOBODY).link("k", 60)
    assert "session-token" not in given
