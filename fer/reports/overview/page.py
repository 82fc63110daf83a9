"""The overview as one HTML page, and as Markdown for Prefect's UI; both made of the document alone."""

import functools

import jinja2

from fer import plain_text
from fer.reports import markdown_tables, pages, svg_charts
from fer.reports.overview import words
from fer.reports.overview.document import Model, Overview

_SERVICES = {"up": ("pass", "✓ up"), "down": ("stop", "✗ down"), "unused": ("idle", "– not needed")}
_RUNS = {"COMPLETED": "pass", "FAILED": "stop", "CRASHED": "stop", "RUNNING": "warn", "PENDING": "warn"}


def render(overview: Overview) -> str:
    """The page."""
    state = "pass" if not overview.needs else "stop" if overview.needs[0].level == "stop" else "warn"
    page = (
        _environment()
        .get_template("overview.html.j2")
        .render(
            overview,
            title="Overview of the installation",
            overview=overview,
            now=overview.made_utc,
            state=state,
            words=words,
            facts=facts,
            charts=svg_charts,
            services_shown=_SERVICES,
            run_states=_RUNS,
            largest=max((use.size_bytes for use in overview.disk.parts), default=1),
        )
    )
    return plain_text.visible(page, keep="\n")


@functools.cache
def _environment() -> jinja2.Environment:
    return pages.environment()


def markdown(overview: Overview) -> str:
    """The same in CommonMark with tables."""
    now = overview.made_utc
    parts = [f"**{words.headline(overview)}** ({words.moment(now)})"]
    parts.append(
        markdown_tables.table(
            [{"needs a person": matter.subject, "what": matter.text, "next": matter.todo} for matter in overview.needs]
        )
    )
    services = (*overview.services, *overview.server.services)
    parts.append("## Processes")
    parts.append(
        markdown_tables.table(
            [{"process": one.name, "state": _SERVICES[one.state][1], "": one.text} for one in services]
        )
    )
    parts.append("## Models")
    parts += [_model(model, overview) for model in overview.registry.models] or ["None is registered."]
    parts.append("## Last runs")
    parts.append(
        markdown_tables.table(
            [
                {"run": run.name, "flow": run.flow, "state": run.state, "began": words.run(run)}
                for run in overview.server.runs[: words.RUNS_SHOWN]
            ]
        )
        or "None."
    )
    parts.append("## Next")
    parts.append(
        markdown_tables.table(
            [
                {"deployment": schedule.deployment, "next run": words.next_run(schedule, now)}
                for schedule in overview.server.schedules
            ]
        )
        or "Nothing is deployed."
    )
    parts.append(f"## Disk\n\n{words.size(overview.disk.free_bytes)} are free.")
    parts.append(
        markdown_tables.table(
            [{"part": use.part, "size": words.size(use.size_bytes)} for use in overview.disk.parts[: words.PARTS_SHOWN]]
        )
    )
    return "\n\n".join(filter(None, parts))


def _model(model: Model, overview: Overview) -> str:
    rows = [{"": name, plain_text.visible(model.name): text} for name, text in facts(model, overview)]
    return markdown_tables.table(rows)


def facts(model: Model, overview: Overview) -> list[tuple[str, str]]:
    """What there is to say of a model, each with its name."""
    if model.problem:
        return [("problem", model.problem)]
    rows = [("champion", words.champion(model, overview.made_utc))]
    if model.champion is not None:
        rows += [
            ("quality", words.figures(model.champion)),
            ("anchor", words.anchor(model)),
            ("data", words.drift(model.drift)),
        ]
    return [*rows, ("test images", words.reads(model.reads)), ("last version", words.last_version(model))]
