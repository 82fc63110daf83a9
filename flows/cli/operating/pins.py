"""The commands `fer models pin` and `unpin`: versions that housekeeping leaves alone."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from fer import errors
from flows.cli import console

if TYPE_CHECKING:
    from fer.registry import registry

_Spec = Annotated[str, typer.Argument(metavar="NAME@champion|NAME@VERSION")]


def pin(
    spec: _Spec,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the pin.")] = "",
    as_json: console.AsJson = False,
) -> None:
    """Keep a version, and what it was made of, whatever its age, until it is unpinned: `fer gc` leaves it alone."""
    from fer import settings
    from fer.registry import pins, releases

    settings.Settings.load().require_home()
    with releases.open_registry() as models:
        name, version = _version(models, spec)
        is_new = pins.pin(models, name, version, reason)
    if as_json:
        typer.echo(json.dumps({"name": name, "version": version, "pinned": True, "changed": is_new}, indent=1))
        return
    console.out.print(f"{name}@{version} is pinned{'' if is_new else ' already'}.", highlight=False)


def unpin(spec: _Spec, as_json: console.AsJson = False) -> None:
    """No longer keep a version for a pin; what else needs it, as an alias, still keeps it."""
    from fer import settings
    from fer.registry import pins, releases

    settings.Settings.load().require_home()
    with releases.open_registry() as models:
        name, version = _version(models, spec)
        was_pinned = pins.unpin(models, name, version)
    if as_json:
        typer.echo(json.dumps({"name": name, "version": version, "pinned": False, "changed": was_pinned}, indent=1))
        return
    console.out.print(f"{name}@{version} is {'no longer' if was_pinned else 'not'} pinned.", highlight=False)


def _version(models: "registry.Registry", spec: str) -> tuple[str, int]:
    from fer.registry import names

    name, which = names.parse_spec(spec)
    alias = None if which.isdecimal() else models.alias(name, which)
    if not which.isdecimal() and alias is None:
        raise errors.ConfigError(
            "A version that is pinned must be named by its number, or by an alias that there is.",
            received=spec,
            todo="see `fer models list`",
        )
    return name, int(which) if alias is None else alias.version
