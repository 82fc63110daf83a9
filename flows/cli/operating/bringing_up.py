"""What `fer up` and `fer down` do, and say."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pydantic

from fer import errors, settings
from fer.engine.store import ports, seaweedfs
from flows.cli import console, prefect_ui
from flows.cli.operating import init
from flows.operating import installation, interrupted, own_server, services, systemd
from flows.operating.installation import SERVER, Installation


def bring_up(configured: settings.Settings, chosen: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Start what does not run yet, and say where it is.

    `chosen`: fields of Installation that the user gave. Raises ConfigError, PrefectUnavailable, StoreUnavailable.
    """
    home = configured.home
    server_runs = services.is_running(home, SERVER)
    asked, given = _keep_asked(home, chosen, environment, server_runs=server_runs)
    if configured.store_endpoint is None:
        store = seaweedfs.up(home)
        _say(services.STORE, store.pid, store.endpoint)
    _end_surplus(home, asked)
    is_anew = not any(services.is_running(home, name) for name in asked.services if name != SERVER)
    for name in asked.services:
        if not services.is_running(home, name):
            console.err.print(f"starting the {name} …", highlight=False)
        services.start(home, asked, name, environment)
        if name == SERVER and is_anew:  # as after a power cut
            with services.client(home, asked) as http, contextlib.suppress(httpx.TransportError):
                for run in interrupted.settle(asked, http, set()):
                    _say_ended(run)
    for service in services.services(home):
        if service.name != services.STORE:
            _say(service.name, service.pid, service.address or f"pool {asked.pool}")
    own_server.use(home)
    if own_server.is_used():
        init.provide()
    else:
        named = prefect_ui.origin(prefect_ui.API_URL)
        text = f"commands here ask another server, as {named.name} of {named.place} says; for this one: {named.undo}"
        console.err.print(f"[yellow]![/] {console.plain(text)}", highlight=False, soft_wrap=True)
    _say_how_to_go_on(asked, given)


def write_units(configured: settings.Settings, chosen: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Write systemd's user units of the installation, and say what makes it run. Raises ConfigError."""
    home, into = configured.home, systemd.folder(environment)
    asked, _ = _keep_asked(home, chosen, environment, server_runs=services.is_running(home, SERVER))
    units = systemd.units(home, asked, with_store=configured.store_endpoint is None)
    systemd.write(home, into, units, environment)
    for name in units:
        console.out.print(str(into / name), highlight=False, soft_wrap=True)
    lines = ["", "start it, now and at each boot:", "    systemctl --user daemon-reload"]
    lines += [f"    systemctl --user enable --now {systemd.TARGET}", "    loginctl enable-linger"]
    for line in lines:
        console.out.print(line, highlight=False, soft_wrap=True)


def bring_down(configured: settings.Settings) -> None:
    """End it all, and say what was ended."""
    home = configured.home
    asked = installation.load(home)
    if asked is None:
        return
    installation.save(home, asked.model_copy(update={"is_up": False}))
    runs = interrupted.at_work(asked)
    ended = services.end_workers(home, asked)
    if services.is_running(home, SERVER):
        with services.client(home, asked) as http, contextlib.suppress(httpx.TransportError):
            for name in interrupted.settle(asked, http, runs):
                _say_ended(name)
        ended += [SERVER] if services.end(home, SERVER) else []
    services.end(home, services.STORE)  # what systemd keeps it by
    if configured.store_endpoint is None and seaweedfs.status(home) is not None:
        if seaweedfs.down(home):
            ended.append(services.STORE)
        else:
            console.out.print("the store is in use by a run; it ends with that run", highlight=False)
    console.out.print(f"ended: {', '.join(ended)}" if ended else "nothing ran", highlight=False)


def _end_surplus(home: Path, asked: Installation) -> None:
    """End workers that are not to be any more, and give an end to the runs that end with them."""
    surplus = services.surplus(home, asked)
    runs = interrupted.at_work(asked) if surplus else set()
    for name in surplus:
        services.end(home, name)
    if runs and services.is_running(home, SERVER):
        with services.client(home, asked) as http, contextlib.suppress(httpx.TransportError):
            for run in interrupted.settle(asked, http, runs, is_whole=False):
                _say_ended(run)


def _keep_asked(
    home: Path, chosen: Mapping[str, Any], environment: Mapping[str, str], *, server_runs: bool
) -> tuple[Installation, dict[str, str]]:
    """What is asked for now, and the settings of the server; kept, if they are valid. Raises ConfigError."""
    known, kept = installation.load(home), installation.server_settings(home)
    asked = _asked(known, chosen, environment)
    given = installation.given_settings(environment, kept)
    installation.require_guarded(asked, given)
    if server_runs and known is not None:
        _require_unchanged(known, asked, kept, given)
    elif not ports.is_free(asked.port):
        raise errors.ConfigError(
            "The server's port must be free.",
            received=f"{asked.port}, on which another program listens",
            todo="end that one, or choose another: fer up --port PORT",
        )
    installation.save_settings(home, given)
    installation.save(home, asked)
    return asked, given


def _asked(known: Installation | None, chosen: Mapping[str, Any], environment: Mapping[str, str]) -> Installation:
    """What is asked for now: what was asked for before, with what was chosen in its place. Raises ConfigError."""
    before = {} if known is None else known.model_dump()
    own_home = {}
    if known is None or environment.get("PREFECT_HOME"):
        own_home["prefect_home"] = installation.default_prefect_home(environment)
    try:
        return Installation.model_validate({**before, **own_home, **chosen, "is_up": True})
    except pydantic.ValidationError as error:
        faults = "; ".join(f"--{fault['loc'][0]}: {fault['msg']}".replace("_", "-") for fault in error.errors())
        raise errors.ConfigError("Options must be valid.", received=faults, todo="see fer up --help") from error


def _require_unchanged(
    known: Installation, asked: Installation, kept: Mapping[str, str], given: Mapping[str, str]
) -> None:
    changed = [
        f"--{name}: {getattr(known, name)} → {getattr(asked, name)}"
        for name in ("host", "port", "pool", "runs_at_once", "prefect_home")
        if getattr(known, name) != getattr(asked, name)
    ]
    changed += [name for name in sorted({*kept, *given}) if kept.get(name) != given.get(name)]  # values may be secret
    if changed:
        raise errors.ConfigError(
            "What runs keeps its options and settings.",
            received=", ".join(changed),
            todo="fer down, and then fer up with the new ones",
        )


def _say_ended(run: str) -> None:
    console.out.print(f"ended while at work, run it again to go on: {console.plain(run)}", highlight=False)


def _say(name: str, pid: int | None, place: str) -> None:
    console.out.print(f"{name:<10} {place} (process {pid})", highlight=False, soft_wrap=True)


def _say_how_to_go_on(asked: Installation, given: Mapping[str, str]) -> None:
    lines = ["", f"the UI: {asked.ui_url}", "every fer command asks this server; for prefect commands in a shell:"]
    lines += [f"    export PREFECT_API_URL={asked.url}"]
    if installation.PASSWORD in given:
        lines += ["    export PREFECT_API_AUTH_STRING=…    # the user and password that the server was given"]
    for line in [*lines, "end it: fer down"]:
        console.out.print(line, highlight=False, soft_wrap=True)
