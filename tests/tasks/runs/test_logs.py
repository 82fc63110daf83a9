"""What of Prefect's own lines is kept out of a run's log."""

import logging

import pytest

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
