"""The commands about what runs beside: `fer store …`, `fer ui` and `fer doctor`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli import console, options
from flows.cli.trust import access

store_app = typer.Typer(
    help="The embedded S3 store (SeaweedFS on loopback); policies for any store.", no_args_is_help=True
)


def doctor() -> None:
    """Show what is configured, what is reachable, what is missing, and the fix."""
    options.quiet_prefect(verbose=False)
    from flows.cli import doctor as doctor_module

    marks = {"ok": "[green]✓[/]", "warn": "[yellow]![/]", "fail": "[red]✗[/]"}
    findings = doctor_module.examine()
    for finding in findings:
        line = f"{marks[finding.level]} {finding.subject:<14} {console.plain(finding.text)}"
        console.out.print(line, highlight=False, soft_wrap=True)
        if finding.fix:
            console.out.print(f"  {'':<14} → {console.plain(finding.fix)}", highlight=False, soft_wrap=True)
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)


def ui(port: Annotated[int, typer.Option(help="Port on loopback.")] = 4200) -> None:
    """Serve the Prefect UI, with all runs so far, on loopback until Ctrl-C; or say where the installation's is."""
    from fer import settings
    from flows.operating import installation
    from flows.operating import services as of_installation

    home = settings.Settings.load().home
    asked = installation.load(home)
    if asked is not None and of_installation.is_running(home, installation.SERVER):
        console.out.print(f"{asked.ui_url} - the installation's, until fer down", highlight=False)
        return
    options.prepare_prefect(verbose=False)
    console.out.print(f"http://127.0.0.1:{port} - stop with Ctrl-C", highlight=False)
    os.environ["PREFECT_SERVER_UI_API_URL"] = f"http://127.0.0.1:{port}/api"  # else the page asks port 4200
    os.environ["PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT"] = "false"
    prefect = Path(sys.executable).with_name("prefect")
    arguments = [str(prefect), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    os.execv(prefect, arguments)  # noqa: S606 - the server takes this process's place, without a shell


@store_app.command("up")
def store_up() -> None:
    """Start the embedded store and leave it running."""
    from fer import settings
    from fer.engine.store import seaweedfs

    server = seaweedfs.up(settings.Settings.load().home)
    text = f"running at {server.endpoint} (process {server.pid}); stop it with: fer store down"
    console.out.print(text, highlight=False)


@store_app.command("down")
def store_down() -> None:
    """Stop the embedded store, or let the run that still uses it stop it."""
    from fer import settings
    from fer.engine.store import seaweedfs
    from flows.operating import installation

    home = settings.Settings.load().home
    asked = installation.load(home)
    stopped = seaweedfs.down(home)
    console.out.print("stopped" if stopped else "in use by a run; it stops when that run ends")
    if asked is not None and asked.is_up:
        console.err.print(
            "[yellow]![/] the installation is up and was using it: its runs start it when they need it, "
            "and fer up keeps it running again",
            highlight=False,
            soft_wrap=True,
        )


store_app.command("policy")(access.policy)


@store_app.command("status")
def store_status() -> None:
    """Say whether the embedded store runs. Exit code 1 if not."""
    from fer import settings
    from fer.engine.store import seaweedfs

    configured = settings.Settings.load()
    configured.require_home()
    server = seaweedfs.status(configured.home)
    if server is None:
        console.out.print("not running; runs start it when they need it, or: fer store up")
        raise typer.Exit(1)
    started = f"since {server.started:%Y-%m-%d %H:%M} UTC"
    console.out.print(f"running at {server.endpoint} (process {server.pid}, {started})")
