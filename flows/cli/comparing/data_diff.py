"""The command `fer data diff`."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer import errors
from flows.cli import console, options
from flows.cli.comparing import bringing_in

if TYPE_CHECKING:
    from fer.curation.versions.version import Version
    from fer.engine.workspace import Workspace

_WHAT = (
    f"{options.SOURCE}, several joined by ' + '; NAME@VERSION for the data of a release; a quality.json for the data "
    "that it reports on; or the digest of a manifest in the workspace"
)
_ID_CHARS = 12  # of a digest in a folder's name


def diff(
    a: Annotated[str, typer.Argument(help=f"{_WHAT}.", metavar="A")],
    b: Annotated[str, typer.Argument(help="Likewise.", metavar="B")],
    recipe: options.RecipeName = "fer2013-cnn",
    set_: options.Settings = None,
    kaggle_secret: options.KaggleSecret = None,
    as_json: console.AsJson = False,
    verbose: options.Verbose = False,
) -> None:
    """Compare two versions of data: images added, removed, relabelled, moved between splits, and drift.

    A source is brought in and checked by the recipe, as by `fer data check`; nothing is accepted.
    """
    from fer import settings
    from fer.curation.versions import difference
    from fer.engine import connect
    from fer.reports import data_difference

    given = {name: _sources(name) for name in (a, b)}
    parameters = {
        name: options.flow_parameters(sources, recipe, set_ or [], kaggle_secret)
        for name, sources in given.items()
        if sources
    }
    options.prepare_prefect(verbose)
    configured = settings.Settings.load()
    with connect.workspace(configured) as workspace:
        old, new = (_version(name, parameters, recipe, workspace, quiet=as_json) for name in (a, b))
        found, changes = difference.between(old, new)
    together = hashlib.sha256("\0".join([found.a, found.digest_a, found.b, found.digest_b]).encode()).hexdigest()
    folder = configured.home / "reports" / "data-differences" / together[:_ID_CHARS]
    paths = data_difference.write(folder, found, changes)
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    from flows.cli import terminal

    screen = console.out
    terminal.print_rows(
        screen, f"{found.a} ({found.n_a:,}) → {found.b} ({found.n_b:,})", data_difference.summary(found)
    )
    for title, rows in (
        ("by class", data_difference.beside("class", found.classes)),
        ("by split", data_difference.beside("split", found.splits)),
        ("relabelled", data_difference.crossed(found.relabelled)),
        ("moved", data_difference.crossed(found.moved or {})),
        ("drift", [row for row in data_difference.drifted(found) if row["verdict"] != "none"]),
    ):
        if rows:
            terminal.print_rows(screen, title, rows)
    terminal.print_places(screen, ((name, str(path)) for name, path in paths.items()))


def _sources(name: str) -> list[str]:
    """The sources that this stands for; none if it is something else."""
    from fer.ingest import sources

    is_source = name == "demo" or any(name.startswith(f"{kind}:") for kind in ("kaggle", "archive", "folder"))
    return name.split(sources.JOINED_BY) if is_source else []


def _version(
    name: str, parameters: Mapping[str, dict[str, Any]], recipe: str, workspace: "Workspace", *, quiet: bool
) -> "Version":
    from fer.curation.versions import version

    if name in parameters:
        return _brought_in(name, parameters[name], recipe, workspace, quiet=quiet)
    if Path(name).suffix == ".json":
        return _reported(name, workspace)
    if version.is_digest(name):
        return version.of_manifest(name, workspace)
    return _of_release(name, workspace)


def _brought_in(
    name: str, parameters: dict[str, Any], recipe: str, workspace: "Workspace", *, quiet: bool
) -> "Version":
    from fer.curation.versions import version

    result = bringing_in.bring_in(parameters, recipe, quiet=quiet)
    return version.read(name, result.validation, result.split, workspace)


def _reported(name: str, workspace: "Workspace") -> "Version":
    """The data that a quality.json reports on."""
    from fer.curation.versions import version

    try:
        digests = json.loads(Path(name).read_bytes())["provenance"]["digests"]
        validation, split = digests["validation"], digests.get("split")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise errors.ConfigError(
            "A data quality report must be the quality.json that `fer data check` writes.",
            received=f"{type(error).__name__} on reading {name}",
            todo="give its path, or the data's source",
        ) from error
    return version.by_digests(name, workspace, validation=validation, split=split)


def _of_release(name: str, workspace: "Workspace") -> "Version":
    """The data that a release was trained on."""
    from fer.curation.versions import version
    from fer.registry import names, releases

    wanted = names.parse_spec(name)
    with releases.open_registry() as models:
        manifest = models.get(*wanted)
    validation = manifest.inputs.get("validate")
    spec = f"{manifest.name}@{manifest.version}"
    if validation is None:
        raise errors.ConfigError(
            "A version must say which data it was made of.",
            received=f"{spec}, which does not",
            todo="give the data's source",
        )
    return version.by_digests(spec, workspace, validation=validation, split=manifest.inputs.get("split"))
