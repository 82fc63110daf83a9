"""Log lines as JSON, one object a line, for programs that gather logs; what looks like a key is masked in each."""

import datetime
import json
import logging

from fer import redaction

_OF_RUNS = ("flow_run_id", "flow_run_name", "task_run_id", "task_run_name")  # what Prefect adds to a run's records


class Formatter(logging.Formatter):
    """Each record as one JSON object: `time` (ISO 8601, UTC), `level`, `logger`, `message`, `error` with its traceback,
    and the run and task that it is of.
    """

    def __init__(self, *_: object, **__: object):
        """Whatever `logging.config` gives a formatter is left aside."""
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        when = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line = {
            "time": when.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redaction.redacted(record.getMessage()),
        }
        line |= {name: str(value) for name in _OF_RUNS if (value := getattr(record, name, None))}
        if record.exc_text or record.exc_info:
            raised = record.exc_text or self.formatException(record.exc_info)  # type: ignore[arg-type]  # True is typed too, and never comes
            line["error"] = redaction.redacted(raised)
        return json.dumps(line, ensure_ascii=False)
