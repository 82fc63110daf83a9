"""Log lines for programs."""

import json
import logging
import subprocess
import sys

import pytest

from fer import json_lines
from flows.operating import log_format


def formatted(message, *arguments, exc_info=None, **more):
    record = logging.LogRecord("prefect.flow_runs", logging.WARNING, "file.py", 1, message, arguments, exc_info)
    record.__dict__.update(more)
    return json_lines.Formatter().format(record)


def test_a_record_is_one_line_with_its_run():
    line = formatted("first\nsecond %s", "ü", flow_run_id="f1", flow_run_name="weekly", task_run_id=None)
    assert "\n" not in line
    document = json.loads(line)
    assert document.pop("time").endswith("+00:00")
    assert document == {
        "level": "warning",
        "logger": "prefect.flow_runs",
        "message": "first\nsecond ü",
        "flow_run_id": "f1",
        "flow_run_name": "weekly",
    }


def test_keys_are_masked_also_in_tracebacks():
    try:
        raise RuntimeError("token=s3cret-s3cret")
    except RuntimeError:
        line = formatted("password=%s", "hunter2-hunter2", exc_info=sys.exc_info())
    assert "s3cret" not in line
    assert "hunter2" not in line
    assert "RuntimeError" in json.loads(line)["error"]


@pytest.mark.slow
def test_prefect_writes_so_where_the_setting_says_so(tmp_path):
    program = (
        "import prefect.main; from prefect.logging import get_logger; get_logger('x').warning('[bold]' + 'y' * 300)"
    )
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **log_format.variables("json")}
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    (line,) = run.stderr.splitlines()
    assert json.loads(line)["message"] == "[bold]" + "y" * 300


def test_the_usual_form_changes_nothing():
    assert log_format.variables("text") == {}
