import http.server
import threading

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.operating import asking


@pytest.fixture
def busy_server():
    """A server that has no time: its URL, and the paths that it was asked for."""
    asked = []

    class Busy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(503)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api", asked
        server.shutdown()


def test_a_server_that_has_no_time_is_asked_once_and_the_settings_are_as_before_afterwards(busy_server):
    url, asked = busy_server
    with temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 3}):
        with asking.once(60.0) as client, pytest.raises(Exception, match="503"):
            client.read_flows()
        assert PREFECT_CLIENT_MAX_RETRIES.value() == 3
    assert asked
    assert len(asked) == len(set(asked))  # nothing twice


@pytest.mark.parametrize(
    ("url", "reads_certificates"),
    [
        ("http://127.0.0.1:4200/api", False),
        ("http://localhost/api", False),
        ("http://[::1]:4200/api", False),
        ("https://127.0.0.1:4200/api", True),
        ("http://prefect.example.org/api", True),  # may lead to https
    ],
)
def test_certificates_are_read_unless_the_server_is_here_and_speaks_no_tls(url, reads_certificates):
    options = asking.options(url)
    assert (options == {}) == reads_certificates
    with httpx.Client(**options) as client:
        assert client.timeout is not None


def test_without_certificates_nothing_that_speaks_tls_is_trusted():
    context = asking.options("http://127.0.0.1/api")["verify"]
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    assert context.get_ca_certs() == []
