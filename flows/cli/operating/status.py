"""The command `fer status`: processes first, then the models."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from flows.cli import console, options
from flows.cli.console import plain

if TYPE_CHECKING:
    from fer.reports.overview.document import Overview

_MARKS = {"up": "[green]✓[/]", "down": "[red]✗[/]", "unused": "[dim]–[/]"}
_LEVELS = {"stop": "[red]✗[/]", "warn": "[yellow]![/]"}
_STATES = {"COMPLETED": "green", "FAILED": "red", "CRASHED": "red", "RUNNING": "cyan"}


def status(
    as_json: console.AsJson = False,
    html: Annotated[bool, typer.Option("--html", help="Write it as an HTML page.")] = False,
    prometheus: Annotated[bool, typer.Option("--prometheus", help="Write it as metrics for Prometheus.")] = False,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Where to; without it --html writes reports/overview.html below FER_HOME, and --prometheus prints.",
            metavar="[FILE]",
        ),
    ] = None,
) -> None:
    """Show what runs, how the models stand, the last runs and the next, the disk, and what needs a person.

    Exit code 0: nothing needs a person; 12: something does, except with --prometheus, whose metrics say so.
    """
    options.prepare_prefect(verbose=False)
    from fer import errors, settings
    from fer.reports.overview import document, metrics, page
    from flows.operating import overview, server_state

    if sum((as_json, html, prometheus)) > 1 or (file is not None and not (html or prometheus)):
        raise errors.ConfigError(
            "At most one form must be chosen, and a file is for --html and --prometheus.",
            received=" ".join(sys.argv[1:]),
            todo="fer status --html FILE, for example",
        )
    configured = settings.Settings.load()
    found = overview.collect(configured)
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    elif html:
        path = file or overview.page_path(configured)
        overview.write(path, page.render(found))
        console.out.print(plain(str(path)), highlight=False, soft_wrap=True)
    elif prometheus:
        text = metrics.render(found, server_state.stage_runs() if found.server.answers else ())
        if file is None:
            typer.echo(text, nl=False)
        else:
            overview.write(file, text)
        return
    else:
        show(found)
    if found.needs:
        raise typer.Exit(document.EXIT_CODE)


def show(found: "Overview") -> None:
    """Print it for a person, what is most urgent last, where the eye is."""
    _heading("processes")
    for service in (*found.services, *found.server.services):
        _line(f"{_MARKS[service.state]} {plain(service.name):<18} {plain(service.text)}")
    _show_models(found)
    _show_runs(found)
    _show_disk(found)
    _show_needs(found)


def _show_models(found: "Overview") -> None:
    from fer.reports.overview import page

    _heading("models")
    if found.registry.problem:
        _line(f"[red]✗[/] {plain(found.registry.problem)}")
    elif not found.registry.models:
        _line("  none; a first version is made by: fer retrain")
    for model in found.registry.models:
        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, text in page.facts(model, found):
            table.add_row(f"    {name}", plain(text))
        _line(f"  [bold]{plain(model.name)}[/]")
        console.out.print(table, highlight=False)


def _show_runs(found: "Overview") -> None:
    from fer.reports.overview import words

    _heading("runs")
    if not found.server.runs:
        _line(f"  {plain(found.server.problem or 'none yet')}")
    for run in found.server.runs[: words.RUNS_SHOWN]:
        colour = _STATES.get(run.kind, "dim")
        name = f"{run.flow}: {run.name}"
        _line(f"  [{colour}]{plain(run.state):<10}[/] {words.run(run):<30} {plain(name)}")
    if found.server.schedules:
        _heading("next")
    for schedule in found.server.schedules:
        _line(f"  {plain(schedule.deployment):<24} {words.next_run(schedule, found.made_utc)}")


def _show_disk(found: "Overview") -> None:
    from fer.reports.overview import words

    _heading("disk")
    parts = [f"{use.part} {words.size(use.size_bytes)}" for use in found.disk.parts[: words.PARTS_SHOWN]]
    _line(f"  {plain(found.disk.folder)}, {words.size(found.disk.free_bytes)} free")
    if parts:
        _line(f"  {plain(', '.join(parts))}")


def _show_needs(found: "Overview") -> None:
    from fer.reports.overview import words

    console.out.print()
    colour = "yellow" if found.needs else "green"
    _line(f"[bold {colour}]{words.headline(found)}[/]")
    for matter in found.needs:
        _line(f"{_LEVELS[matter.level]} [bold]{plain(matter.subject)}[/]: {plain(matter.text)}")
        _line(f"  → {plain(matter.todo)}")


def _heading(text: str) -> None:
    console.out.print(f"\n[bold]{text}[/]", highlight=False)


def _line(text: str) -> None:
    console.out.print(text, highlight=False, soft_wrap=True)
