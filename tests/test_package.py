"""What importing the library does to the environment."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("environment", "hosts"),
    [
        ({}, "localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "localhost"}, "localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "example.org, .intern"}, "example.org,.intern,localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "ignored", "no_proxy": "example.org"}, "example.org,localhost,127.0.0.1,::1"),
        ({"no_proxy": "*"}, "*"),
        ({"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "NO_PROXY": "127.0.0.1"}, "127.0.0.1,::1"),
    ],
)
def test_no_proxy_is_asked_for_loopback(environment, hosts):
    show = "import fer, os; print(os.environ['NO_PROXY']); print(os.environ['no_proxy'])"
    run = subprocess.run([sys.executable, "-c", show], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [hosts, hosts]


def test_the_clients_in_use_ask_no_proxy_for_loopback():
    ask = """
import fer, httpx, requests, urllib.request
client = httpx.Client()
for host in ("127.0.0.1", "[::1]", "localhost"):
    url = f"http://{host}:4200/api"
    assert client._transport_for_url(httpx.URL(url)) is client._transport, url
    assert not requests.utils.get_environ_proxies(url), url
assert client._transport_for_url(httpx.URL("http://example.org")) is not client._transport
"""
    environment = {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "example.com"}
    subprocess.run([sys.executable, "-c", ask], env=environment, check=True)
