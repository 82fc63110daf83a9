"""What of Prefect's own lines is kept out of a run's log, so that the figures are seen."""

import logging

from prefect.logging.loggers import get_logger

from fer import errors, redaction

_FORMATTER = logging.Formatter()
# Where Prefect's engines say that a hook ran, and in which state a task ended: its stage says more.
_CHATTER = {("task_engine", "call_hooks"), ("task_engine", "log_finished_message"), ("flow_engine", "call_hooks")}


def tidy() -> None:
    """Filter what is written to the logs of flow runs and task runs; once is enough."""
    for name in ("flow_runs", "task_runs"):
        get_logger(name).addFilter(keeps)


def keeps(record: logging.LogRecord) -> bool:
    """Whether a line is worth keeping. One about an error that is raised on purpose loses its traceback, and each what
    looks like a key.
    """
    if record.levelno <= logging.INFO and (record.module, record.funcName) in _CHATTER:
        return False
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if isinstance(error, errors.FerError):
        record.exc_info = record.exc_text = None
        if str(error) not in record.getMessage():
            record.msg, record.args = f"{record.getMessage()}: {error}", None
    record.msg, record.args = redaction.redacted(record.getMessage()), None
    if isinstance(record.exc_info, tuple):
        record.exc_text = redaction.redacted(_FORMATTER.formatException(record.exc_info))
    return True
