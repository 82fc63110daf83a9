"""The embedded store's own ports, attacked by a process of this machine that has no keys."""

import contextlib
import http.client
import json
import socket
import ssl
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest

from fer.engine.store import ports, process, seaweedfs, security

# Its parts' own requests, in Protocol Buffers' encoding: of the filer in the folder /buckets, of the master.
_RPCS = {
    "/filer_pb.SeaweedFiler/ListEntries": b"\x0a\x08/buckets",
    "/filer_pb.SeaweedFiler/LookupDirectoryEntry": b"\x0a\x08/buckets\x12\x0afer-models",
    "/filer_pb.SeaweedFiler/CreateEntry": b"\x0a\x08/buckets\x12\x09\x0a\x05alien\x10\x01",
    "/filer_pb.SeaweedFiler/DeleteEntry": b"\x0a\x08/buckets\x12\x0afer-models\x20\x01\x28\x01",
    "/master_pb.Seaweed/Assign": b"\x08\x01",
    "/master_pb.Seaweed/VolumeList": b"",
    "/volume_server_pb.VolumeServer/DeleteCollection": b"",
}
_REQUESTS = [
    ("GET", "/buckets/?limit=9"),
    ("GET", "/fer-models"),
    ("PUT", "/buckets/fer-models/alien"),
    ("PUT", "/fer-models/alien"),
    ("POST", "/dir/assign"),
    ("DELETE", "/buckets/fer-models?recursive=true"),
    ("DELETE", "/fer-models/secret"),
]
_REFUSED = {400, 401, 403, 405}  # 400: "Client sent an HTTP request to an HTTPS server."; 405: S3 knows no such request
_ANY_SERVER = ssl.create_default_context()
_ANY_SERVER.check_hostname = False
_ANY_SERVER.verify_mode = ssl.CERT_NONE


@pytest.fixture
def listening(store_home: Path, store) -> list[tuple[str, str | int]]:
    """Where the store listens, as the kernel says: ("inet", port) and ("unix", path). It holds an object."""
    store.put("secret", b"a release")
    server = seaweedfs.status(store_home)
    assert server is not None
    listed = psutil.Process(server.pid).net_connections("inet")
    found = [("inet", connection.laddr.port) for connection in listed if connection.status == psutil.CONN_LISTEN]
    assert len(found) == len(ports.NAMES)
    sockets = {connection.laddr for connection in psutil.Process(server.pid).net_connections("unix")} - {""}
    found += [("unix", str(store_home / "store" / path)) for path in sockets]
    return found


@contextlib.contextmanager
def _connected(kind: str, place: str | int, tls: bool) -> Iterator[http.client.HTTPConnection]:
    plain: socket.socket
    if kind == "inet":
        plain = socket.create_connection(("127.0.0.1", int(place)), timeout=5)
    else:
        plain = socket.socket(socket.AF_UNIX)
        plain.settimeout(5)
        plain.connect(str(place))
    with plain:
        connection = http.client.HTTPConnection("127.0.0.1", timeout=5)
        connection.sock = _ANY_SERVER.wrap_socket(plain) if tls else plain
        yield connection


def _status(kind: str, place: str | int, method: str, path: str, tls: bool) -> int | None:
    """The answer's status; None where there is none."""
    try:
        with _connected(kind, place, tls) as connection:
            connection.request(method, path, body=b"x" if method != "GET" else None)
            return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None


def test_without_keys_no_port_reads_lists_writes_or_deletes_by_http(listening, store):
    for kind, place in listening:
        for tls in (False, True):
            for method, path in _REQUESTS:
                answer = _status(kind, place, method, path, tls)
                assert answer is None or answer in _REFUSED, (place, tls, method, path)
    assert store.get("secret").data == b"a release"


def test_without_a_certificate_no_port_answers_grpc(listening, store, store_home):
    authority = (store_home / "store" / "tls.crt").read_bytes()
    for kind, place in listening:
        target = f"127.0.0.1:{place}" if kind == "inet" else f"unix:{place}"
        for credentials in (None, grpc.ssl_channel_credentials(authority)):
            if credentials is None:
                channel = grpc.insecure_channel(target)
            else:
                named = [("grpc.ssl_target_name_override", "localhost")]
                channel = grpc.secure_channel(target, credentials, options=named)
            with channel:
                for rpc, request in _RPCS.items():
                    with pytest.raises(grpc.RpcError) as refused:
                        channel.unary_unary(rpc)(request, timeout=5)
                    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE, (place, rpc, refused.value)
    assert store.get("secret").data == b"a release"


def test_with_the_certificate_the_same_requests_are_answered(store, store_home):
    """Else the tests above would show nothing."""
    store.put("secret", b"a release")
    folder = store_home / "store"
    port = json.loads((folder / "ports.json").read_text())["filer.port.grpc"]
    certificate, key = (folder / "tls.crt").read_bytes(), (folder / "tls.key").read_bytes()
    channel = grpc.secure_channel(
        f"127.0.0.1:{port}",
        grpc.ssl_channel_credentials(certificate, key, certificate),
        options=[("grpc.ssl_target_name_override", "localhost")],
    )
    rpc = "/filer_pb.SeaweedFiler/LookupDirectoryEntry"
    with channel:
        assert b"fer-models" in channel.unary_unary(rpc)(_RPCS[rpc], timeout=60)


def test_the_keys_are_their_owners_alone_and_neither_logged_nor_on_a_command_line(store_home):
    folder = store_home / "store"
    configuration = tomllib.loads((folder / "security.toml").read_text())
    tokens = configuration["jwt"]
    keys = [tokens[part]["key"] for part in ("signing", "filer_signing")]
    keys += [tokens[part]["read"]["key"] for part in ("signing", "filer_signing")]
    keys += [line for line in (folder / "tls.key").read_text().splitlines() if "-----" not in line]
    server = psutil.Process(seaweedfs.status(store_home).pid)
    shown = (folder / "log").read_text() + " ".join(server.cmdline() + server.parent().cmdline())
    assert len(set(keys)) == len(keys) > 4
    for key in keys:
        assert key not in shown
    for name in security.FILES:
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_each_start_makes_other_keys(tmp_path):
    security.make(tmp_path)
    before = [(tmp_path / name).read_bytes() for name in security.FILES]
    security.make(tmp_path)
    assert all((tmp_path / name).read_bytes() != old for name, old in zip(security.FILES, before, strict=True))


@pytest.mark.slow
def test_data_of_a_store_whose_ports_were_open_is_read_and_written(tmp_path, monkeypatch):
    from fer.engine import connect
    from fer.settings import Settings

    monkeypatch.setattr(process, "_STOP_TIMEOUT_S", 0.1)
    settings = Settings(home=tmp_path / "home", store_endpoint=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(security, "make", lambda folder: None)
        with connect.store(settings) as store:
            store.put("k", b"kept" * 500_000)
    with connect.store(settings) as store:
        assert store.get("k").data == b"kept" * 500_000
        store.put("k", b"changed")
        assert store.get("k").data == b"changed"
