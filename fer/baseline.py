"""What was accepted last: the data that new data is compared with, and whose sides it keeps.

`.accepted/<name>.json` in the workspace is a pointer to the outputs of two stages, `validate` and `split`, and to what
these were made with. It moves by one rename, only after the data was found sound. Runs on the same data are then given
the inputs of the first one, so that they find everything in the cache, and don't compare the data with itself.
"""

import hashlib
import re

from pydantic import BaseModel, ConfigDict, ValidationError

from fer import errors, refs
from fer import workspace as workspaces
from fer.workspace import Workspace

_FOLDER = ".accepted"


class Baseline(BaseModel):
    """Data that was accepted, and `before`: what it was compared with, and whose sides it kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    validation: refs.ValidationRef
    split: refs.SplitRef
    before: refs.Before


def name(recipe: str, source: str) -> str:
    """The pointer's name for a recipe's data from `source` (as in `ManifestRef.source`), whatever its version."""
    family = refs.source_family(source)
    readable = re.sub(r"[^a-z0-9]+", "-", f"{recipe} {family}".lower()).strip("-")[:60]
    exact = hashlib.sha256("\0".join([recipe, family]).encode()).hexdigest()
    return f"{readable}-{exact[:8]}"


def find(workspace: Workspace, name: str) -> Baseline | None:
    """What was accepted last under `name`; None if nothing was, or its output is gone from the workspace.

    Raises WorkspaceError for a pointer that can't be read: to go on without it could move images to other sides.
    """
    path = workspace.root / _FOLDER / f"{name}.json"
    try:
        found = Baseline.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise errors.WorkspaceError(
            "The record of the data last accepted must be whole.",
            received=f"{error.error_count()} faults in {path}",
            todo="remove the file: the next run then compares with nothing, and may draw splits anew",
        ) from error
    return found if _is_there(workspace, found.validation) and _is_there(workspace, found.split) else None


def before(workspace: Workspace, name: str, validation: refs.ValidationRef) -> refs.Before:
    """What data is to be compared with, and whose sides it keeps.

    That is what was accepted last; for the very data that was accepted last, what it was compared with then.
    """
    found = find(workspace, name)
    if found is None:
        return refs.Before()
    if found.validation.digest != validation.digest:
        return refs.Before(validation=found.validation, split=found.split)
    then = found.before
    return refs.Before(
        validation=then.validation if then.validation and _is_there(workspace, then.validation) else None,
        split=then.split if then.split and _is_there(workspace, then.split) else None,
    )


def accept(
    workspace: Workspace, name: str, before: refs.Before, validation: refs.ValidationRef, split: refs.SplitRef
) -> None:
    """Point `name` to this data, which was compared with `before`. Raises WorkspaceError if the disk refuses it."""
    found = Baseline(validation=validation, split=split, before=before)
    folder = workspace.root / _FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        workspaces.write_atomically(folder / f"{name}.json", found.model_dump_json(indent=1).encode())
    except OSError as error:
        raise errors.WorkspaceError(
            "What was accepted must be remembered in the workspace.",
            received=f"'{error.strerror}' at {folder}",
            todo="free some space or change its permissions, then run the same command again",
        ) from error


def _is_there(workspace: Workspace, ref: refs.Ref) -> bool:
    stage, key = ref.path.split("/")
    return workspace.committed(stage, key, type(ref)) is not None
