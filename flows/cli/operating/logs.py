"""The command `fer logs`."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from fer import redaction
from flows.cli import console, options

if TYPE_CHECKING:
    from prefect.client.schemas.objects import Log

_COLOURS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red bold"}


def logs(
    run: Annotated[str, typer.Argument(help="The ID of a run, its name, or: latest.", metavar="[RUN]")] = "latest",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run is over.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show the log of a run, of `fer retrain` as of a deployment. What looks like a key is left out."""
    options.prepare_prefect(verbose=False)
    from prefect import get_client

    from flows.cli import temporary_server
    from flows.operating import run_logs

    server = temporary_server.start()
    try:
        with get_client(sync_client=True) as client:
            found = run_logs.find(client, run)
            state = found.state_name or "not begun"
            console.err.print(
                f"[bold]{console.plain(found.name)}[/] ({found.id}): {console.plain(state)}",
                highlight=False,
                soft_wrap=True,
            )
            for line in run_logs.lines(client, found, follow=follow):
                if as_json:
                    typer.echo(json.dumps(_document(line), ensure_ascii=False))
                else:
                    _show(line)
    finally:
        if server is not None:
            server.stop()


def _show(line: "Log") -> None:
    import logging

    level = logging.getLevelName(line.level)
    colour = _COLOURS.get(level, "dim")
    text = console.plain(line.message, keep="\n")
    console.out.print(
        f"[dim]{line.timestamp:%Y-%m-%d %H:%M:%S}[/] [{colour}]{level:<7}[/] {text}", highlight=False, soft_wrap=True
    )


def _document(line: "Log") -> dict[str, str | None]:
    import logging

    return {
        "time": line.timestamp.isoformat(),
        "level": logging.getLevelName(line.level).lower(),
        "logger": line.name,
        "message": redaction.redacted(line.message),
        "flow_run_id": str(line.flow_run_id),
        "task_run_id": None if line.task_run_id is None else str(line.task_run_id),
    }
