"""The command `fer models verify`."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer import errors
from flows.cli import console

if TYPE_CHECKING:
    from fer.registry.trust.openssf import Key
    from fer.registry.trust.verifying import Part


def verify(
    spec: Annotated[str, typer.Argument(metavar="NAME|NAME@VERSION|FOLDER")],
    answers: Annotated[
        bool, typer.Option("--answers/--no-answers", help="Load it, and compare its answers with those recorded.")
    ] = True,
    openssf: Annotated[
        Path | None,
        typer.Option(metavar="PUBLIC.pem", help="Verify the OpenSSF's signature by this public P-256 key as well."),
    ] = None,
    as_json: console.AsJson = False,
) -> None:
    """Verify a release: log, manifest, each file, who signed them, and whether it answers as it was judged.

    Without @VERSION the champion; a folder is one that `fer models pull` made, whose log is not known. What is not
    whole is not loaded. Exit code 0: all is as it was written, and signed as the settings demand; 7: it is not, or it
    says nothing of how it answered.
    """
    from fer.registry.trust import openssf as openssf_keys
    from fer.registry.trust import verifying

    key = None if openssf is None else openssf_keys.public(openssf.expanduser())
    if key is not None:
        openssf_keys.require()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if Path(spec).is_dir() and (Path(spec) / verifying.MANIFEST).is_file():
            name, parts = _copy(Path(spec), folder, key)
        else:
            name, parts = _release(spec, folder, key)
        if answers and all(part.passed for part in parts):
            parts += _answers(folder)
    is_whole = all(part.passed for part in parts)
    if as_json:
        found = {"release": name, "passed": is_whole, "parts": [part.model_dump(mode="json") for part in parts]}
        typer.echo(json.dumps(found, indent=1))
    else:
        for part in parts:
            mark = "[green]✓[/]" if part.passed else "[red]✗[/]"
            line = f"{mark} {console.plain(name)}: {part.what}: {console.plain(part.detail)}"
            console.out.print(line, highlight=False, soft_wrap=True)
    if not is_whole:
        raise typer.Exit(errors.IntegrityError.exit_code)


def _release(spec: str, folder: Path, key: "Key | None") -> "tuple[str, list[Part]]":
    """What was found, and the files in `folder`."""
    from fer import settings
    from fer.registry import names, releases
    from fer.registry.trust import policy, verifying

    configured = settings.Settings.load()
    configured.require_home()
    demands = policy.of(configured)
    wanted = names.parse_spec(spec)
    with releases.open_registry(unsigned=True) as models:
        parts = [verifying.log(models, demands, wanted.name)]
        try:
            manifest = models.get(*wanted)
        except errors.IntegrityError as error:
            return spec, [*parts, verifying.Part(what="manifest", passed=False, detail=str(error))]
        parts += verifying.release(models, demands, manifest, folder)
        if key is not None:
            parts.append(verifying.openssf_of_release(models, manifest, key, folder))
    return f"{manifest.name}@{manifest.version}", parts


def _copy(place: Path, folder: Path, key: "Key | None") -> "tuple[str, list[Part]]":
    from fer import settings
    from fer.registry.trust import policy, verifying

    manifest, parts = verifying.copy(place, policy.of(settings.Settings.load()), folder)
    if key is not None:
        parts.append(verifying.openssf_of_copy(place, manifest, key))
    return f"{manifest.name}@{manifest.version} in {place}", parts


def _answers(folder: Path) -> "list[Part]":
    from fer.evaluation.config import GateConfig
    from fer.registry import trial
    from fer.registry.trust.verifying import Part

    found = trial.run(folder, trial.Material(), GateConfig())
    if not found.checks:
        return [Part(what="answers", passed=False, detail="it can be loaded, but is older than recorded answers")]
    return [Part(what="answers", passed=check.passed, detail=check.detail) for check in found.checks]
