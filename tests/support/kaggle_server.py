"""A small Kaggle on loopback for the real client: datasets, versions, accounts and faults.

It answers the two calls of the API that a download makes, and serves the archive from a signed link as Kaggle's
storage does, with ranges and an MD5.
"""

import base64
import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import re
import socket
import threading
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

SIGNATURE = "signature-of-a-link"
_API = "/api/v1/datasets.DatasetApiService/"


@dataclasses.dataclass
class Fault:
    """A fault in the next request of `kind`: "get", "download" (the API), "blob" (the archive) or "resume".

    status: the response's status. retry_after: its header of that name. reset: the connection is reset. stall_s:
    seconds before the response. cut_bytes: the length at which the body breaks off. flip_byte: the offset of a changed
    byte. bad_md5: the MD5 header is wrong. page: a web page sent with status 200. whole: the requested range is
    ignored.
    """

    kind: str
    status: int | None = None
    retry_after: str | None = None
    reset: bool = False
    stall_s: float = 0
    cut_bytes: int | None = None
    flip_byte: int | None = None
    bad_md5: bool = False
    page: bytes | None = None
    whole: bool = False


@dataclasses.dataclass(frozen=True)
class Request:
    kind: str
    authorization: str
    range: str


class KaggleServer:
    """`datasets` maps "owner/slug" to its archives, version 1 first. `sends_md5`: whether storage sends the MD5."""

    def __init__(self) -> None:
        self.datasets: dict[str, list[bytes]] = {}
        self.private: set[str] = set()
        self.accepted: set[str] | None = None  # Authorization headers; None accepts any
        self.sends_md5 = True
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"server_state": self}))
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """Variables that point the real client in another process here: its requests take this server as a proxy."""
        asks_no_proxy = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}  # `fer` has set both in this process
        return {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "HTTP_PROXY": self.url} | asks_no_proxy

    def kinds(self) -> list[str]:
        """The kinds of the requests so far, in order."""
        return [request.kind for request in self.requests]

    def take_fault(self, kind: str) -> Fault:
        """Remove and return the first fault planned for `kind`; without one, a fault that does nothing."""
        for fault in self.faults:
            if fault.kind == kind:
                self.faults.remove(fault)
                return fault
        return Fault(kind)


class _Handler(BaseHTTPRequestHandler):
    server_state: KaggleServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        kind = {"GetDataset": "get", "DownloadDataset": "download"}[urlsplit(self.path).path.removeprefix(_API)]
        fault = self._begin(kind)
        if fault is None:
            return
        name = f"{body['ownerSlug']}/{body['datasetSlug']}"
        archives = self.server_state.datasets.get(name, [])
        version = body.get("datasetVersionNumber") or len(archives)
        authorization, accepted = self.headers.get("Authorization", ""), self.server_state.accepted
        if authorization and accepted is not None and authorization not in accepted:
            self._error(401)
        elif name in self.server_state.private and not authorization:
            self._error(403)
        elif not 1 <= version <= len(archives):
            self._error(404)
        elif kind == "get":
            self._send(200, json.dumps({"ref": name, "currentVersionNumber": len(archives)}).encode())
        else:
            self._send(302, b"", {"Location": f"{self.server_state.url}/blob/{name}/{version}?Signature={SIGNATURE}"})

    def do_GET(self) -> None:
        fault = self._begin("resume" if "Range" in self.headers else "blob")
        if fault is None:
            return
        _, _, owner, slug, version = urlsplit(self.path).path.split("/")
        data = self.server_state.datasets[f"{owner}/{slug}"][int(version) - 1]
        headers = {"Content-Type": "application/zip", "Accept-Ranges": "bytes"}
        if self.server_state.sends_md5:
            digest = hashlib.md5(b"other" if fault.bad_md5 else data, usedforsecurity=False).digest()
            headers["x-goog-hash"] = f"crc32c=AAAAAA==,md5={base64.b64encode(digest).decode()}"
        if fault.flip_byte is not None:
            data = data[: fault.flip_byte] + bytes([data[fault.flip_byte] ^ 0xFF]) + data[fault.flip_byte + 1 :]
        status, requested = 200, re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if requested and not fault.whole:
            if int(requested[1]) >= len(data):
                self._error(416)
                return
            headers["Content-Range"] = f"bytes {requested[1]}-{len(data) - 1}/{len(data)}"
            status, data = 206, data[int(requested[1]) :]
        self._send(status, data, headers, cut=fault.cut_bytes)

    def _begin(self, kind: str) -> Fault | None:
        """Record the request and return its fault; None if a fault has answered it already."""
        state = self.server_state
        state.requests.append(Request(kind, self.headers.get("Authorization", ""), self.headers.get("Range", "")))
        fault = state.take_fault(kind)
        state.stopping.wait(fault.stall_s)
        if fault.reset:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        if fault.status is not None:
            self._error(fault.status, {} if fault.retry_after is None else {"Retry-After": fault.retry_after})
            return None
        if fault.page is not None:
            self._send(200, fault.page, {"Content-Type": "text/html", "Accept-Ranges": "bytes"})
            return None
        return fault

    def _error(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, json.dumps({"code": status, "message": f"error {status}"}).encode(), headers)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | dict(headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.close_connection = self.close_connection or cut is not None
        with contextlib.suppress(ConnectionError):  # the client closed the connection
            self.wfile.write(body[:cut])


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """A zip of these files, in this order."""
    return _zip_of(tuple(files.items()))


@functools.lru_cache(maxsize=16)
def _zip_of(files: tuple[tuple[str, bytes], ...]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return buffer.getvalue()


@contextlib.contextmanager
def serving() -> Iterator[KaggleServer]:
    """Run a server until the block ends."""
    server = KaggleServer()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def point_here(monkeypatch: pytest.MonkeyPatch, url: str, home: str) -> None:
    """Point the real client of this process at `url`, with `home` for its files and none of the user's keys."""
    from kagglehub import config
    from kagglesdk import kaggle_env

    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, url)
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", f"{home}/.kaggle")
    monkeypatch.setattr(config, "DEFAULT_CACHE_FOLDER", f"{home}/.cache/kagglehub")
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLEHUB_CACHE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
