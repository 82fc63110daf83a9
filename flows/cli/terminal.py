"""What a run looks like in a terminal: one line for each stage, a bar for each at work, or one for the run itself."""

import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from rich.box import SIMPLE
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from fer import plain_text
from flows.cli import prefect_ui
from flows.cli.console import plain
from tasks.runs import events
from tasks.runs.results import (
    AuditResult,
    ComparisonResult,
    IngestResult,
    RetrainResult,
    RunPlan,
    ScoreResult,
    SweepResult,
)
from tasks.shown import panels

_LINE_INTERVAL_S = 15.0
_WIDTH = len("preprocess champion")  # the longest name of a stage
_OF_DATA = {"pass": "green", "warn": "yellow", "stop": "red"}  # by the verdict
_OF_MARK = {"✓": "green", "!": "yellow", "✗": "red"}


class Terminal:
    """Draws the events of a run; use it as a context manager around the run."""

    def __init__(self, console: Console):
        self._console = console
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn(f"{{task.description:<{_WIDTH}}}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar_of: dict[str, TaskID] = {}  # of the stages at work; each sends its events from its own thread
        self._printed_at: dict[str, float] = {}
        self._run = self._bars.add_task("run", total=None, note="")

    def __enter__(self) -> "Terminal":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, event: events.Event) -> None:
        """Draw one event; a listener for `tasks.runs.events`."""
        self._draw(event)
        self._bars.update(self._run, visible=not self._bar_of)  # else nothing moves while Prefect or the store works

    def _draw(self, event: events.Event) -> None:
        match event:
            case events.Started(name):
                self._remove_bar(name)
                self._bar_of[name] = self._bars.add_task(name, total=None, note="")
                self._printed_at[name] = time.monotonic()
            case events.Planned(name, title, rows):
                self._console.print(_planned(f"{name}: {title}", rows))
            case events.Progressed(name, done, total, note):
                if name in self._bar_of:
                    self._bars.update(self._bar_of[name], completed=done, total=total, note=plain(note))
                self._print_now_and_then(name, f"  {name:<{_WIDTH}} {done:,} of {total:,} {note}")
            case events.Noted(name, text):
                self._console.print(f"  {name:<{_WIDTH}} {plain(text)}", highlight=False, soft_wrap=True)
            case events.Retrying(name, reason, wait_s):
                self._console.print(
                    f"[yellow]![/] {name}: {plain(reason)} Trying again in about {wait_s:,.0f} s.",
                    highlight=False,
                    soft_wrap=True,
                )
            case events.Over(name):
                self._remove_bar(name)
            case events.Ended(name, cached, failed, seconds, summary, origin=origin):
                self._remove_bar(name)
                mark = "[red]✗[/]" if failed else "[dim]=[/]" if cached else "[green]✓[/]"
                duration = "cached" if cached else f"{seconds:,.1f} s"
                where_from = f"  [dim]({plain(origin)})[/]" if origin else ""
                self._console.print(
                    f"{mark} {name:<{_WIDTH}} {duration:>9}  {plain(summary)}{where_from}",
                    highlight=False,
                    soft_wrap=True,
                )

    def _print_now_and_then(self, name: str, line: str) -> None:
        """Where there is no terminal to draw a bar in, a line of each stage now and then."""
        now = time.monotonic()
        if not self._console.is_terminal and now - self._printed_at.get(name, 0.0) >= _LINE_INTERVAL_S:
            self._printed_at[name] = now
            self._console.print(plain(line), highlight=False, soft_wrap=True)

    def _remove_bar(self, name: str) -> None:
        bar = self._bar_of.pop(name, None)
        if bar is not None:
            self._bars.remove_task(bar)


def show_ingest(console: Console, result: IngestResult, sources: Sequence[str]) -> None:
    """What the data is fit for, what was done about its faults, and where the report is.

    `sources` as the user named them.
    """
    verdict, colour = panels.VERDICTS[result.quality.verdict], _OF_DATA[result.quality.verdict]
    table = _panel(panels.of_ingest(result))
    # The verdict first: a title that is too long is cut at its end.
    _print_box(console, f"{verdict}: {', '.join(plain(source) for source in sources)}", table, colour)
    print_places(console, [*(("source", source) for source in sources), *result.reports.items()])


def show_retrain(console: Console, result: RetrainResult, settings: Sequence[str] = ()) -> None:
    """What was trained, how good it is, what the gates decided, where things are, what to type next.

    `settings` are the user's for this run, each PATH=VALUE.
    """
    release = result.release
    table = _panel(panels.of_retrain(result))
    colour = {"released": "green", "kept": "yellow"}.get(result.status, "red")
    _print_box(console, plain(release.sentence()), table, colour)
    print_places(console, [("release", release.uri), *result.reports.items()])
    if result.is_refused:
        _propose(console, result, settings)
        return
    run_in_ui = f"{plain(prefect_ui.where())}  (this run in the Prefect UI)"
    console.print(f"next:  fer models list   |   fer predict IMAGE…   |   {run_in_ui}", highlight=False, soft_wrap=True)


def _propose(console: Console, result: RetrainResult, settings: Sequence[str]) -> None:
    """What helps a refused run."""
    same_run = ["--recipe", result.recipe]
    same_run += [word for source in result.sources for word in ("--source", source)]
    same_run += [word for setting in settings for word in ("--set", setting)]
    variants = ["--candidate", "now:", "--candidate", "NAME: SETTING=VALUE"]
    proposals = {
        "its figures by class, and where it is wrong": result.reports.get("report", ""),
        "the verdict": f"fer models show {result.release.name}@{result.release.version}",
        "what can be set, the gate's bounds among it": f"fer recipes show {result.recipe}",
        "other settings on the same images": shlex.join(["fer", "compare", *same_run, *variants]),
    }
    if result.verdict.champion_version is not None:
        other_name = shlex.join(["fer", "retrain", *same_run, "--name", "NEW-NAME"])
        proposals["a model for something else than the champion is for"] = other_name
    console.print("next:")
    for purpose, proposal in proposals.items():
        if proposal:
            console.print(f"  {purpose}:", style="dim", highlight=False)
            console.out(f"    {plain_text.visible(proposal)}", highlight=False)  # as it is to be pasted


def show_plan(console: Console, plan: RunPlan) -> None:
    """A line for each stage, as a run has them, and all of it in one line; why the run would end early, if so."""
    marks = {"cached": "[dim]=[/]", "will run": "[green]→[/]", "unknown": "[yellow]?[/]"}
    for row in plan.rows:
        minutes = str(row["minutes"])
        duration = "cached" if row["plan"] == "cached" else f"{minutes} min"
        text = row["why"] if row["plan"] != "unknown" else f"unknown until {row['depends on']}"
        if row["plan"] == "will run" and row["depends on"]:
            text = "; ".join(filter(None, (str(text), f"depends on {row['depends on']}")))
        console.print(
            f"{marks[str(row['plan'])]} {plain(str(row['stage'])):<{_WIDTH}} {duration:>9}  {plain(str(text))}",
            highlight=False,
            soft_wrap=True,
        )
    console.print(plain(plan.message), highlight=False, soft_wrap=True)
    if plan.end:
        console.print(f"[yellow]![/] the run would end here: {plain(plan.end)}", highlight=False, soft_wrap=True)


def show_sweep(console: Console, result: SweepResult) -> None:
    """The trials, the best first, where they are, and how to retrain with the best."""
    print_rows(console, f"{result.recipe}: trials", result.rows)
    print_places(console, result.reports.items())
    if result.command:
        console.out(f"next:  {plain_text.visible(result.command)}", highlight=False)  # as it is to be pasted


def show_comparison(console: Console, result: ComparisonResult) -> None:
    """A row for each candidate, and where the reports are."""
    print_rows(console, f"{result.recipe}: models compared", result.rows)
    console.print(f"best on validation: [bold]{plain(result.best)}[/]", highlight=False)
    print_places(console, result.reports.items())


def show_audit(console: Console, result: AuditResult) -> None:
    """A row for each set of test images, and where the reports are."""
    print_rows(console, f"audit of {result.model}", result.rows)
    console.print(plain(result.sentence), highlight=False, soft_wrap=True)
    print_places(console, result.reports.items())


def show_scores(console: Console, result: ScoreResult) -> None:
    """What was found, where the scores and the report are."""
    print_rows(console, f"scores by {result.model}", result.rows)
    console.print(plain(result.sentence), highlight=False, soft_wrap=True)
    print_places(console, [("scores", result.outputs[0]), *result.reports.items()])


def _print_box(console: Console, title: str, table: Table, colour: str) -> None:
    """A table in a box, as wide as the terminal, or as the table where there is none. Both texts are markup."""
    expand = console.file.isatty()
    console.print(Panel(table, title=title, border_style=colour, title_align="left", expand=expand))


def print_places(console: Console, places: Iterable[tuple[str, str]]) -> None:
    """Names and paths, a line each: in no box, and wrapped by the terminal alone, so that they can be copied."""
    places = list(places)
    width = max((len(name) for name, _ in places), default=0)
    for name, place in places:
        console.print(f"[bold]{plain(name):<{width}}[/]  {plain(place)}", highlight=False, soft_wrap=True)


def print_rows(console: Console, title: str, rows: Sequence[Mapping[str, str | int | float]]) -> None:
    """A table, or a paragraph for each row where a table does not fit."""
    table = Table(title=plain(title), title_justify="left", title_style="bold", box=SIMPLE)
    for column in rows[0] if rows else ():
        table.add_column(plain(column), overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    unlimited = console.options.update(max_width=sys.maxsize)  # a measure is cut at the width it is taken for
    if console.measure(table, options=unlimited).maximum <= console.width:
        console.print(table)
        return
    console.print(f"[bold]{plain(title)}[/]", highlight=False)
    for row in rows:
        head, *others = ((column, _cell(value)) for column, value in row.items())
        console.print(f"{plain(head[0])} [bold]{head[1]}[/]", highlight=False)
        text = "; ".join(f"{plain(column)} {value}" for column, value in others if value)
        console.print(Padding(text, (0, 0, 0, 2), expand=False), highlight=False)


def _planned(title: str, rows: Sequence[Mapping[str, str | int | float]]) -> Table:
    """The rows under the names of their columns; the last is the sum of the others."""
    table = Table(title=plain(title), title_justify="left", title_style="bold", show_footer=True, box=SIMPLE)
    *above, last = rows
    for column, value in last.items():
        justify: Literal["left", "right"] = "left" if isinstance(value, str) else "right"
        table.add_column(column, _cell(value), justify=justify, overflow="fold")
    for row in above:
        table.add_row(*map(_cell, row.values()))
    return table


def _cell(value: str | int | float) -> str:
    match value:
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.2f}"
        case _:
            return plain(value)


def _panel(rows: Iterable[panels.Row]) -> Table:
    """A table of names and texts."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for row in rows:
        mark = f"[{_OF_MARK[row.mark]}]{row.mark}[/] " if row.mark else ""
        table.add_row(row.name, f"{mark}{plain(row.text)}")
    return table
