import base64
import hashlib
import http.server
import socket
import threading
import time

import pytest
from pydantic import SecretStr

from fer import errors
from fer.engine import connect
from fer.engine.store import probing
from fer.engine.store.credentials import Credentials
from fer.engine.store.objectstore import ObjectStore
from fer.settings import Settings

NOBODY = Credentials("nobody", SecretStr("hunter2-hunter2"))
KEYS = {"store_access_key_id": "nobody", "store_secret_access_key": "hunter2-hunter2"}


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


@pytest.fixture
def other_store():
    """One bucket of a store that answers conditional puts as others do, by its `kind`; keeps what was asked of it."""

    class Other(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # says that it goes on to a body, for which boto3 waits a second otherwise

        def answer(self, status, code="", message="", etag=""):
            body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode() if code else b""
            self.send_response(status)
            self.send_header("ETag", etag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
            is_damaged = self.headers.get("x-amz-checksum-sha256", checksum) != checksum
            server.paths.append(self.path)
            match = self.headers.get("If-Match")
            forbidden = (self.headers.get("If-None-Match") and server.paths.count(self.path) > 1) or match == '"0"'
            if server.kind == "b2":
                self.answer(400, "InvalidArgument", "Unsupported header 'x-amz-checksum-sha256' received [/]")
            elif (forbidden and server.kind != "gateway") or (match and server.kind == "ceph"):
                self.answer(412, "PreconditionFailed", "no luck")
            elif is_damaged and server.kind != "no checksums":
                self.answer(400, "BadDigest", "other bytes")
            else:
                self.answer(200, etag='"1"')

        def do_DELETE(self):
            self.answer(204)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    server.paths = []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("as s3", None),
        ("gateway", "a put was accepted that its condition forbids (If-None-Match"),
        ("ceph", "a put was refused that its condition allows (If-Match with the object's own ETag)"),
        ("no checksums", "a put was accepted whose body has another SHA-256"),
    ],
)
def test_what_a_store_does_otherwise_is_told(other_store, kind, fault):
    other_store.kind = kind
    said = probing.fault(ObjectStore(f"http://127.0.0.1:{other_store.server_port}", "fer-models", NOBODY))
    assert said == fault if fault is None else said.startswith(fault)
    assert kind != "ceph" or "PreconditionFailed (HTTP 412: no luck)" in said


@pytest.mark.parametrize("kind", ["gateway", "no checksums"])
def test_a_store_is_probed_before_its_first_conditional_put(other_store, kind, tmp_path):
    other_store.kind = kind
    configured = Settings(home=tmp_path, store_endpoint=f"http://127.0.0.1:{other_store.server_port}", **KEYS)
    store = connect.running_store(configured)
    for _ in range(2):  # nor is the second one let through
        with pytest.raises(errors.StoreError, match="must honour conditional puts"):
            store.put_if_absent("models/demo/log/00000001.json", b"{}")
    assert not any("/models/" in path for path in other_store.paths)
    assert not (tmp_path / "probed-stores").exists()


def test_a_store_that_was_found_to_be_of_use_is_not_probed_again(other_store, tmp_path):
    other_store.kind = "as s3"
    configured = Settings(home=tmp_path, store_endpoint=f"http://127.0.0.1:{other_store.server_port}", **KEYS)
    connect.running_store(configured).put_if_absent("a", b"")
    assert len(other_store.paths) == 6
    connect._store.cache_clear()  # as another process
    connect.running_store(configured).put_if_absent("b", b"")
    assert len(other_store.paths) == 7


def test_a_stores_own_words_are_passed_on(other_store):
    other_store.kind = "b2"
    with pytest.raises(errors.StoreRefused) as caught:
        ObjectStore(f"http://127.0.0.1:{other_store.server_port}", "fer-models", NOBODY).put("k", b"")
    assert "InvalidArgument (HTTP 400: Unsupported header 'x-amz-checksum-sha256' received [/])" in str(caught.value)


def test_an_endpoint_may_have_a_path(other_store):
    other_store.kind = "as s3"
    endpoint = f"http://127.0.0.1:{other_store.server_port}/storage/v1/s3"
    there = ObjectStore(Settings(store_endpoint=f"{endpoint}/").store_endpoint, "fer-models", NOBODY)
    there.put("a/k", b"")
    assert other_store.paths == ["/storage/v1/s3/fer-models/a/k"]


def test_a_server_error_is_transient_and_is_asked_twice(faulty):
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
