"""What `benchmarks/` shares with the tests and with the product."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import quick_demo

from benchmarks import promotions
from benchmarks.campaigns import chaos, faulty_proxy, trials
from fer.recipes import catalog, overrides

RECIPE = Path(__file__).parents[1] / "benchmarks" / "campaigns" / "quick_demo.toml"


def test_the_campaigns_run_the_quick_demo_of_the_tests():
    in_tests = overrides.apply(catalog.load("demo"), overrides.parse_settings(quick_demo.SETTINGS))
    in_campaigns = catalog.load(str(RECIPE))
    own = {"name", "made_for"}
    assert in_campaigns.model_dump(exclude=own) == in_tests.model_dump(exclude=own)


@pytest.mark.slow  # by what it computes
def test_the_simulated_decisions_of_a_year_are_the_products_own():
    assert promotions.agreement([263], sample=40) >= 0.95


def test_the_digest_of_the_code_follows_what_is_written_and_not_what_is_being_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "ROOT", tmp_path)
    compiled = tmp_path / "fer" / "__pycache__"
    compiled.mkdir(parents=True)
    (tmp_path / "fer" / "errors.py").write_text("A = 1\n")
    before = trials.code()
    (compiled / "errors.cpython-311.pyc.140233").write_bytes(b"half")
    assert trials.code() == before
    (tmp_path / "fer" / "page.html").write_text("<p>")
    assert trials.code() != before


def test_the_table_of_faults_counts_one_state_of_the_code_and_no_trial_without_a_fault_or_out_of_time(
    tmp_path, monkeypatch
):
    trial = {"utc": "2026-11-30", "code": "new", "kind": "`kill -9` of the store", "stage": "train", "disturbed": True}
    held, lost = trial | {"held": True, "out_of_time": False}, trial | {"held": False, "out_of_time": False}
    out_of_time, missed = lost | {"out_of_time": True}, {"code": "new", "kind": trial["kind"], "disturbed": False}
    results, page = tmp_path / "results.jsonl", tmp_path / "faults.md"
    lines = [lost | {"code": "old"}, missed, out_of_time, held, lost, held]
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(trials, "ROOT", tmp_path)
    monkeypatch.setattr(chaos, "_PAGE", page)
    monkeypatch.setattr(sys, "argv", ["chaos", "--table", "--results", str(results)])
    chaos.main()
    written = page.read_text()
    assert "| `kill -9` of the store |  |  |  | 2 of 3 |  |  | 3 of 10 |" in written
    assert "`new`" in written
    assert "1 of them" in written


@pytest.fixture
def pages():
    """A server whose every page is 1,000 bytes, behind a faulty proxy."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(bytes(1000))

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        with faulty_proxy.serving(lambda: server.server_address) as proxy:
            yield proxy
        server.shutdown()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("reset", httpx.TransportError),
        ("silence", httpx.ReadTimeout),
        ("truncated", httpx.RemoteProtocolError),
        ("503", 503),
    ],
)
def test_the_proxy_spoils_an_open_connection_and_passes_on_again(pages, fault, expected):
    with httpx.Client(trust_env=False, timeout=0.3) as http:
        assert len(http.get(pages.url).content) == 1000
        pages.spoil(fault, times=1)
        if isinstance(expected, int):
            assert http.get(pages.url).status_code == expected
        else:
            with pytest.raises(expected):
                http.get(pages.url)
        pages.heal()
        assert len(http.get(pages.url).content) == 1000
    assert pages.met == 1
