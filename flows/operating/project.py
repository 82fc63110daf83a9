"""The files of a project folder: from where deployments are made, and where their settings stand. Loads no Prefect."""

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

import flows
from fer import errors, settings
from fer.engine import disk
from flows.operating import installation

PREFECT_YAML = "prefect.yaml"
SETTINGS = "fer.env"
_README = """# Scheduled retraining of facial-emotion models

* `prefect.yaml`: the deployments: what runs when, on which data, by which recipe. Edit it, then `prefect deploy --all`.
* `fer.env`: settings of this installation, all of them optional. Before other commands: `set -a; . ./fer.env; set +a`.
* `.fer/`: the data. It is no part of a repository.

`fer up` starts Prefect's server, a worker and the store, `fer doctor` says what is missing, `fer down` ends them.
"""
_IN_POOL = f"    name: {installation.POOL}\n"  # in the definitions of `prefect.yaml`
_GITIGNORE = ".fer/\nfer.env\n"


class Written(NamedTuple):
    """A file of the project folder: made now, there as it would be made, or there otherwise and left so."""

    path: Path
    how: Literal["made", "same", "other"]


def contents(pool: str = installation.POOL) -> dict[str, bytes]:
    """What a project folder holds: file name -> content. `pool`: the work pool of its deployments."""
    own = {"README.md": _README, SETTINGS: _settings(), ".gitignore": _GITIGNORE}
    deployments = _deployments().read_text()
    if pool != installation.POOL:
        deployments = deployments.replace(_IN_POOL, f"    name: {json.dumps(pool)}\n")
    return {PREFECT_YAML: deployments.encode()} | {name: text.encode() for name, text in own.items()}


def write(folder: Path, pool: str = installation.POOL) -> list[Written]:
    """Make the folder and what is missing in it; what is there stays. Raises WorkspaceError."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents(pool).items():
            path = folder / name
            if path.exists():
                written.append(Written(path, "same" if path.read_bytes() == content else "other"))
                continue
            (disk.write_private if name == SETTINGS else disk.write)(path, content)
            written.append(Written(path, "made"))
    except OSError as error:
        raise errors.WorkspaceError(
            "A project folder must be writable.",
            received=f"'{error.strerror}' at {error.filename or folder}",
            todo="name another one: fer init FOLDER",
        ) from error
    return written


def _deployments() -> Path:
    """The project's `prefect.yaml`: that of the wheel, or of the checkout that this is installed from."""
    package = Path(flows.__file__).parent
    in_wheel = package / "operating" / PREFECT_YAML
    return in_wheel if in_wheel.exists() else package.parent / PREFECT_YAML


def _settings() -> str:
    """Every setting as a comment, with its description and its default."""
    lines = [
        "# Settings; a line without its `#` sets one. Lines are NAME=VALUE, as for a shell, systemd and containers."
    ]
    defaults: dict[str, Any] = {}
    for name, field in settings.Settings.model_fields.items():
        default = defaults[name] = field.get_default(call_default_factory=True, validated_data=defaults)
        shown = "" if default is None else str(default)
        lines += ["", f"# {field.description}", f"#FER_{name.upper()}={shown}"]
    return "\n".join(lines) + "\n"
