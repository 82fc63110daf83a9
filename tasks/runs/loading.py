"""What takes seconds to load is loaded on another core before it is needed, once it is likely that it will be."""

import contextlib
from collections.abc import Iterator

from fer.engine.processes import child_process
from fer.registry import trial
from tasks.runs import events

_NEW_DATA = ("download", "index", "inspect", "preprocess")  # where one of them runs, a training mostly follows
_NEW_RELEASE = "export"  # and a release is tried


@contextlib.contextmanager
def ahead() -> Iterator[None]:
    """Begin to load Keras, some seconds of a core, as soon as a stage runs within the block that models will follow.

    Of a run that finds its outputs made, only what uses a model loads it.
    """

    def hear(event: events.Event) -> None:
        if isinstance(event, events.Started):
            if event.name in _NEW_DATA:
                child_process.load_ahead()
            elif event.name == _NEW_RELEASE:
                trial.load_ahead()

    with events.heard_by(hear):
        yield
