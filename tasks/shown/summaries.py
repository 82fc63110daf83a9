"""A run's summary in the Prefect UI: what the terminal shows at its end, its stages, and its other pages."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from fer import plain_text
from fer.reports import markdown_tables
from tasks.runs import events
from tasks.runs.results import AuditResult, ComparisonResult, IngestResult, RetrainResult, SweepResult
from tasks.shown import artifacts, panels

KEY = "summary"
_SHOWN_DIGITS = 8  # of a key, by which `fer why STAGE/KEY` takes it
_plain = plain_text.in_markdown


def show(title: str, result: Any, stages: Iterable[events.Ended], pages: Mapping[str, UUID]) -> None:
    """Show it as an artifact of the flow's run. `title` is the run's message; `pages`: key of an artifact -> its ID."""
    text = markdown(title, result, list(stages), pages)
    artifacts.markdown(KEY, text, "What this run did, and where it is")


def markdown(title: str, result: Any, stages: Sequence[events.Ended], pages: Mapping[str, UUID]) -> str:
    """The summary; `result` is what the flow returned, None where it failed."""
    lines = [*_result(title, result), ""]
    if stages:
        head = "| stage | took | result | from, or what for | key |"
        lines += ["## Stages", "", head, "| --- | ---: | --- | --- | --- |", *map(_stage, stages), ""]
    if pages:
        links = (f"[{key}](/artifacts/artifact/{identity})" for key, identity in pages.items())
        lines += ["## Pages of this run", "", " · ".join(links), ""]
    return "\n".join(lines)


def _result(title: str, result: Any) -> Iterator[str]:
    match result:
        case RetrainResult():
            yield from [f"# {_plain(result.release.sentence())}", "", *_panel(panels.of_retrain(result)), ""]
            release = f"{result.release.name}@{result.release.version}"
            yield from _places({"release": result.release.uri, **result.reports})
            yield from _commands(f"fer report {release} --open", f"fer models show {release}")
        case IngestResult():
            yield from [f"# {panels.VERDICTS[result.quality.verdict]}", "", *_panel(panels.of_ingest(result)), ""]
            yield from _places(result.reports)
        case AuditResult():
            yield from [f"# Audit of {_plain(result.model)}", "", _plain(result.sentence), ""]
            yield from [markdown_tables.table(result.rows), *_places(result.reports)]
        case ComparisonResult():
            yield from [f"# {_plain(title)}", "", markdown_tables.table(result.rows), *_places(result.reports)]
        case SweepResult():
            yield from [f"# {_plain(title)}", "", markdown_tables.table(result.rows), *_places(result.reports)]
            yield from _commands(result.command)
        case _:
            first, *others = title.splitlines() or [""]
            yield from [f"# {_plain(first)}", "", *map(_plain, others)]


def _panel(rows: Iterable[panels.Row]) -> Iterator[str]:
    for row in rows:
        yield f"- **{row.name}** {row.mark} {_plain(row.text)}" if row.mark else f"- **{row.name}** {_plain(row.text)}"


def _places(places: Mapping[str, str]) -> Iterator[str]:
    """Where things are, on the machine of the run: the browser may be on another."""
    for name, place in places.items():
        yield f"- **{_plain(name)}** `{plain_text.visible(place).replace('`', '')}`"


def _commands(*commands: str) -> Iterator[str]:
    yield from ["", "```", *(plain_text.visible(command) for command in commands if command), "```"]


def _stage(stage: events.Ended) -> str:
    mark = "✗" if stage.failed else "=" if stage.cached else "✓"
    took = "cached" if stage.cached else f"{stage.seconds:,.1f} s"
    cells = (f"{mark} {_plain(stage.name)}", took, _plain(stage.summary), _plain(stage.origin or stage.why))
    return f"| {' | '.join(cells)} | {stage.key[:_SHOWN_DIGITS]} |"
