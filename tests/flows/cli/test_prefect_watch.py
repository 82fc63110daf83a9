"""A run whose Prefect server dies or falls silent ends soon, and says how to go on."""

import os
import signal
import subprocess
import sys
import time
from subprocess import DEVNULL, PIPE

import psutil
import pytest
import quick_demo
from shell import FER, bare, give_prefect_database

from fer import errors

QUICK = [word for setting in quick_demo.SETTINGS for word in ("--set", setting)]
_SERVER = """
import http.server
class Health(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"true")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health)
print(server.server_port, flush=True)
server.serve_forever()
"""
_RUN = """
import time
from flows.cli import prefect_watch
prefect_watch._LOOK_EVERY_S, prefect_watch._ANSWER_TIMEOUT_S, prefect_watch._PATIENCE_S = 0.1, 0.3, 1.5
with prefect_watch.watched():
    print("begun", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGSTOP], ids=lambda ending: ending.name)
def test_a_configured_server_that_dies_or_falls_silent_ends_the_run(tmp_path, ending):
    with subprocess.Popen([sys.executable, "-c", _SERVER], stdout=PIPE, stderr=DEVNULL, text=True) as server:
        url = f"http://somebody:s3cret@127.0.0.1:{server.stdout.readline().strip()}/api"
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PREFECT_API_URL": url}
        run = subprocess.Popen([sys.executable, "-c", _RUN], env=environment, stdout=PIPE, stderr=PIPE, text=True)
        try:
            assert run.stdout.readline() == "begun\n"
            time.sleep(2)
            assert run.poll() is None
            server.send_signal(ending)
            _, said = run.communicate(timeout=60)
        finally:
            run.kill()
            server.kill()
    assert run.returncode == errors.PrefectUnavailable.exit_code
    assert f"no answer from {url.replace('somebody:s3cret@', '')}" in said
    assert "run the same command again" in said
    assert "s3cret" not in said
    assert "Traceback" not in said


@pytest.mark.end_to_end
def test_a_temporary_server_that_is_killed_in_a_run_ends_it_within_seconds_and_leaves_no_process(tmp_path):
    give_prefect_database(tmp_path)
    run = subprocess.Popen(
        [*FER, "retrain", *QUICK],
        env=bare(tmp_path),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert any("download" in line for line in run.stdout)
        started = psutil.Process(run.pid).children(recursive=True)
        (server,) = [process for process in started if "prefect.server.api.server:create_app" in process.cmdline()]
        server.kill()
        began = time.monotonic()
        _, said = run.communicate(timeout=60)
        seconds = time.monotonic() - began
        _, alive = psutil.wait_procs(started, 20)
    finally:
        run.kill()
    assert run.returncode == errors.PrefectUnavailable.exit_code
    assert seconds < 30
    assert "its process has ended, with exit code -9" in said
    assert "run the same command again" in said
    assert said.count("\n") == 1  # one message
    assert alive == []
