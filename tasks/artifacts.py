"""What a run shows in the Prefect UI: progress bars, tables, reports and pictures."""

import base64
import time
from typing import cast
from uuid import UUID

from prefect import artifacts, get_run_logger

from fer import progress, refs
from tasks import events

_UPDATE_INTERVAL_S = 1.0
_LOG_INTERVAL_S = 10.0


def progress_bar(name: str) -> progress.Progress:
    """Begin a stage: a progress bar in the UI, lines in the log, and events for the terminal."""
    events.publish(events.Started(name))
    logger = get_run_logger()
    created = artifacts.create_progress_artifact(0.0, key=f"{name}-progress", description=f"{name}: started")
    bar = cast(UUID, created)  # a coroutine only where an event loop runs, which is not in these tasks
    shown_at = logged_at = time.monotonic()

    def update(done: int, total: int, note: str = "") -> None:
        nonlocal shown_at, logged_at
        events.publish(events.Progressed(name, done, total, note))
        now, finished = time.monotonic(), done >= total
        if finished or now - shown_at >= _UPDATE_INTERVAL_S:
            shown_at = now
            text = f"{name}: {done:,} of {total:,} {note}".strip()
            artifacts.update_progress_artifact(bar, progress=100.0 * done / max(total, 1), description=text)
            if finished or now - logged_at >= _LOG_INTERVAL_S:
                logged_at = now
                logger.info(text)

    return update


def class_table(key: str, description: str, before: refs.Counts, after: refs.Counts) -> None:
    """A table of images by class, before and after a stage."""
    rows = [
        {"class": name, "before": before.get(name, 0), "after": count, "change": count - before.get(name, 0)}
        for name, count in after.items()
    ]
    total = {"class": "all", "before": sum(before.values()), "after": sum(after.values())}
    total["change"] = sum(after.values()) - sum(before.values())
    artifacts.create_table_artifact([*rows, total], key=key, description=description)


def markdown(key: str, text: str, description: str = "") -> None:
    """A report. `key` takes lowercase letters, digits and dashes."""
    artifacts.create_markdown_artifact(text, key=key, description=description)


def picture(png: bytes, title: str) -> str:
    """A PNG as Markdown that needs no server to show it."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"
