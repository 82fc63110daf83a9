"""The command `fer report`: where the report of a release or of a run is."""

import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from fer import errors
from flows.cli import console

if TYPE_CHECKING:
    from fer.registry.registry import Registry
    from fer.reports import library


def report(
    which: Annotated[
        str,
        typer.Argument(
            help="A release: NAME@VERSION, NAME@champion or NAME; or a run of Prefect's: its ID or its name.",
            metavar="MODEL|RUN",
        ),
    ],
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the page was made of, report.json.")] = False,
) -> None:
    """Say where the report of a release, or of a run, is on this machine; fetch it from the store if it is gone.

    Beside the page lie the same as JSON, the model card, the data card, the data quality report and the Data Docs.
    A run that ended before a release has the report of its data.
    """
    from fer import settings
    from fer.registry import releases

    configured = settings.Settings.load()
    configured.require_home()
    place = _here(which)
    if place is None:
        with releases.open_registry() as models:
            place = _find(models, which)
    if as_json:
        typer.echo(_record(place))
        return
    if place.was_fetched:
        console.err.print("fetched from the store", style="dim", highlight=False)
    console.out.print(console.plain(str(place.page)), highlight=False, soft_wrap=True)
    if open_it and not webbrowser.open(place.page.as_uri()):
        console.err.print("No browser was found here: open the path above in one.", highlight=False, soft_wrap=True)


def _here(which: str) -> "library.Place | None":
    """The report of a version that is given by its number, if this machine has it: no store is needed for that."""
    from fer import settings
    from fer.registry import names
    from fer.reports import library

    try:
        name, version = names.parse_spec(which)
    except errors.ConfigError:  # the name of a run
        return None
    page = (
        library.folder_of(settings.Settings.load().home, name, int(version) if version.isdecimal() else 0)
        / library.PAGE
    )
    return library.Place(page, was_fetched=False) if page.is_file() else None


def _find(models: "Registry", which: str) -> "library.Place":
    from fer import settings
    from fer.registry import names
    from fer.reports import library

    home = settings.Settings.load().home
    known = models.names()
    if which.partition("@")[0] in known:
        manifest = models.get(*names.parse_spec(which))
        return library.of_release(models.store, home, manifest.name, manifest.version)
    pages = library.of_run(models.store, which)
    if pages is None:
        raise errors.ConfigError(
            "A report must be of a model in the registry, or of a run that shared one.",
            received=f"{which}, which is neither; the models are {', '.join(known) or 'none yet'}",
            todo="see `fer models list`; the ID of a run is in the Prefect UI and in `fer models log NAME`",
        )
    if pages.name is not None and pages.version is not None:
        return library.of_release(models.store, home, pages.name, pages.version)
    return library.of_data(models.store, home, pages)


def _record(place: "library.Place") -> str:
    path = place.page.with_suffix(".json")
    if not path.is_file():
        raise errors.ConfigError(
            "A report must have its JSON beside it.",
            received=f"no {path}",
            todo="run the same `fer retrain` again: every stage is cached, and the report is written anew",
        )
    return path.read_text()
