"""What of Prefect's own lines is kept out of a run's log, so that the figures are seen."""

import logging
import os

from prefect.logging.loggers import get_logger
from rich.console import Console

from fer import errors, redaction

_FORMATTER = logging.Formatter()
_OF_WORKER = "PREFECT__FLOW_RUN_ID"  # in the environment of a run's process
# Where Prefect's engines say that a hook ran, and in which state a task ended: its stage says more.
_CHATTER = {("task_engine", "call_hooks"), ("task_engine", "log_finished_message"), ("flow_engine", "call_hooks")}


def tidy() -> None:
    """Filter what is written to the logs of flow runs and task runs; once is enough.

    The process of a worker's run goes on without the worker, to which its lines go: rich would end it at the next one.
    """
    for name in ("flow_runs", "task_runs"):
        get_logger(name).addFilter(keeps)
    if _OF_WORKER in os.environ:
        # In the class, as Prefect makes the console: no object of a class of ours can be given to it.
        Console.on_broken_pipe = _go_on_unheard  # type: ignore[assignment,method-assign] # rich has no setting for it


def _go_on_unheard(console: Console) -> None:
    console.quiet = True
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(nowhere, output)
    os.close(nowhere)


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
