"""How the models stood when a run held the store last: for the overview after it, when the embedded store has ended."""

from pathlib import Path

import pydantic

from fer.engine import disk
from fer.engine.workspace import Workspace
from fer.registry.registry import Registry as ModelRegistry
from fer.reports.overview import models
from fer.reports.overview.document import Registry


def keep(home: Path, registry: ModelRegistry, workspace: Workspace) -> None:
    """Keep how they stand now. Raises StoreError, OSError."""
    path = _path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    disk.write(path, models.all_standing(registry, workspace).model_dump_json().encode())


def read(home: Path) -> Registry:
    """What was kept last; nothing where nothing was."""
    try:
        return Registry.model_validate_json(_path(home).read_bytes())
    except (OSError, pydantic.ValidationError):
        return Registry()


def _path(home: Path) -> Path:
    return home / "overview" / "registry.json"
