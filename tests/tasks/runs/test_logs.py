"""What of Prefect's own lines is kept out of a run's log."""

import contextlib
import logging
import os

import pytest
from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console

from fer import errors
from tasks.runs import logs


@pytest.mark.parametrize("message", ["Engine execution exited", "Engine execution exited: The store must answer."])
def test_a_line_of_prefects_about_a_known_error_names_it_in_place_of_its_traceback(message):
    error = errors.StoreUnavailable("The store must answer.")
    record = logging.LogRecord("prefect.flow_runs", logging.ERROR, __file__, 1, message, (), (type(error), error, None))
    assert logs.keeps(record)
    assert (record.exc_info, record.getMessage()) == (None, "Engine execution exited: The store must answer.")


def test_no_line_and_no_traceback_holds_a_key():
    try:
        raise RuntimeError("at https://ann:hunter2@example.org")
    except RuntimeError as error:
        raised = (type(error), error, error.__traceback__)
    record = logging.LogRecord("prefect.flow_runs", logging.ERROR, __file__, 1, "token=%s is", ("hunter2",), raised)
    assert logs.keeps(record)
    line = logging.Formatter().format(record)
    assert "hunter2" not in line
    assert line.startswith("token=… is\nTraceback")
    assert line.endswith("RuntimeError: at https://…@example.org")


def test_a_run_goes_on_when_its_worker_is_gone_that_read_its_lines(monkeypatch):
    unheard: list[int] = []
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "0")
    monkeypatch.setattr(Console, "on_broken_pipe", Console.on_broken_pipe)  # to be put back
    monkeypatch.setattr(os, "dup2", lambda _, output: unheard.append(output))
    logs.tidy()
    reader, writer = os.pipe()
    os.close(reader)
    with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "w") as stream:
        handler = PrefectConsoleHandler(stream)
        for _ in range(2):
            handler.handle(logging.LogRecord("prefect.flow_runs", logging.INFO, __file__, 1, "a line", (), None))
    assert unheard == [1, 2]
