"""What a run shows in the Prefect UI: progress bars, tables, reports and pictures.

A page that can't be shown, since Prefect's server does not answer, is worth a warning and never a stage's work.
"""

import base64
import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Protocol, cast
from uuid import UUID

from prefect import artifacts, get_client, get_run_logger
from prefect.client.schemas.actions import ArtifactUpdate

from fer import progress, redaction
from tasks.runs import events
from tasks.runs.results import RunPlan

_FIRST_BAR_S = 3.0  # a stage that takes less shows none
_UPDATE_INTERVAL_S = 1.0
_LOG_INTERVAL_S = 10.0
_REDRAW_INTERVAL_S = 10.0
_PAUSE_S = 60.0  # without updates, after one that failed


@contextlib.contextmanager
def progress_bar(name: str) -> Iterator[progress.Progress]:
    """Show a stage's progress within the block: a bar in the UI, lines in the log, and events for the terminal.

    The bar is there while the stage works, if that takes some seconds; the run's summary tells how it ended.
    """
    events.publish(events.Started(name))
    logger = get_run_logger()
    bar: UUID | None = None
    key = f"{name.replace(' ', '-')}-progress"
    show_at = time.monotonic() + _FIRST_BAR_S
    log_at = time.monotonic() + _LOG_INTERVAL_S

    def note(text: str) -> None:
        events.publish(events.Noted(name, text))
        logger.info(f"{name}: {text}")

    def update(done: int, total: int, text: str) -> None:
        nonlocal log_at
        events.publish(events.Progressed(name, done, total, text))
        now = time.monotonic()
        line = f"{name}: {done:,} of {total:,} {text}".strip()
        if now >= show_at:
            show(100.0 * done / total, redaction.redacted(line))
        if now >= log_at:  # the stage's summary gives the result
            log_at = now + _LOG_INTERVAL_S
            logger.info(line)

    def show(percent: float, text: str) -> None:
        nonlocal bar, show_at
        show_at = time.monotonic() + _PAUSE_S
        with harmless(f"The artifact {key!r}"):
            if bar is None:
                created = artifacts.create_progress_artifact(percent, key=key, description=text)
                bar = cast(UUID, created)  # a coroutine only where an event loop runs, which is not in these tasks
            else:
                artifacts.update_progress_artifact(bar, progress=percent, description=text)
            show_at = time.monotonic() + _UPDATE_INTERVAL_S

    try:
        yield progress.Reporter(update, note)
    finally:
        if bar is not None:
            with harmless(f"The artifact {key!r}"), get_client(sync_client=True) as client:
                client.delete_artifact(bar)


_noted: ContextVar[dict[str, UUID] | None] = ContextVar("_noted", default=None)


@contextlib.contextmanager
def noted() -> Iterator[dict[str, UUID]]:
    """The pages that are shown within the block, by their keys: the last one of each."""
    pages: dict[str, UUID] = {}
    token = _noted.set(pages)
    try:
        yield pages
    finally:
        _noted.reset(token)


def _note(key: str, created: object) -> UUID:
    page = cast(UUID, created)
    pages = _noted.get()
    if pages is not None:
        pages[key] = page
    return page


def table(key: str, rows: Sequence[Mapping[str, str | int | float]], description: str) -> None:
    """A table. `key` takes lowercase letters, digits and dashes."""
    with harmless(f"The artifact {key!r}"):
        shown = [{name: _shown(cell) for name, cell in row.items()} for row in rows]
        _note(key, artifacts.create_table_artifact(shown, key=key, description=redaction.redacted(description)))


def _shown(cell: str | int | float) -> str | int | float:
    return redaction.redacted(cell) if isinstance(cell, str) else cell


def markdown(key: str, text: str, description: str = "") -> None:
    """A report. `key` takes lowercase letters, digits and dashes."""
    with harmless(f"The artifact {key!r}"):
        _note(key, artifacts.create_markdown_artifact(redaction.redacted(text), key=key, description=description))


def plan_of_run(made: RunPlan) -> None:
    """What a run would do: a row a stage."""
    table("plan", made.rows, f"{made.message}. {made.end}".strip())


class LivingPage(Protocol):
    """Shows the Markdown that `text` makes, now and then; the `last` of them in any case."""

    def __call__(self, text: Callable[[], str], *, last: bool = False) -> None: ...


def living_page(key: str, description: str = "") -> LivingPage:
    """A report that changes while its stage works: one artifact, first shown with its first text."""
    page: UUID | None = None
    show_at = -math.inf

    def show(text: Callable[[], str], *, last: bool = False) -> None:
        nonlocal page, show_at
        if not last and time.monotonic() < show_at:
            return
        show_at = time.monotonic() + _PAUSE_S
        with harmless(f"The artifact {key!r}"):
            if page is None:
                created = artifacts.create_markdown_artifact(
                    redaction.redacted(text()), key=key, description=description
                )
                page = _note(key, created)
            else:
                with get_client(sync_client=True) as client:
                    client.update_artifact(page, ArtifactUpdate(data=redaction.redacted(text())))
            show_at = time.monotonic() + _REDRAW_INTERVAL_S

    return show


def picture(image: bytes, title: str) -> str:
    """A PNG or SVG as Markdown that needs no server to show it."""
    kind = "svg+xml" if image.startswith(b"<svg") else "png"
    return f"![{title}](data:image/{kind};base64,{base64.b64encode(image).decode()})"


@contextlib.contextmanager
def harmless(what: str) -> Iterator[None]:
    """Make of an error in showing `what` a warning in the log."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a page, it is not the stage's work
        get_run_logger().warning("%s can't be shown (%s); the run goes on.", what, type(error).__name__)
