"""Where Prefect keeps its database and profiles: where it always does, or below FER_HOME where that can't be used."""

import os
from pathlib import Path

from fer import errors

_FILES = ("prefect.db", "prefect.db-wal", "prefect.db-shm")


def ensure(fer_home: Path) -> str | None:
    """See that Prefect has a home that can be written, before Prefect is imported, which looks where that is.

    Returns why it is `prefect` in `fer_home` and not where Prefect would have it, in words; None if it is there. Raises
    WorkspaceError if neither can be written.
    """
    try:
        wanted: Path | None = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()
    except RuntimeError:  # neither HOME nor an entry in the list of users; other libraries ask for it too
        os.environ["HOME"] = str(fer_home)
        wanted = None
    fault = "there is no home folder" if wanted is None else _fault(wanted)
    if fault is None:
        return None
    own = fer_home / "prefect"
    own_fault = _fault(own)
    if own_fault is not None:
        raise errors.WorkspaceError(
            "Prefect needs a folder for its database.",
            received=f"{fault}; {own_fault}",
            todo="set PREFECT_HOME or FER_HOME to a folder of yours",
        )
    os.environ["PREFECT_HOME"] = str(own)
    if wanted is not None and (wanted / "profiles.toml").is_file():
        os.environ.setdefault("PREFECT_PROFILES_PATH", str(wanted / "profiles.toml"))
    return fault


def _fault(folder: Path) -> str | None:
    """Why Prefect could not keep its database in `folder`, which is made if it is not there; None if it can."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        return f"{folder} can't be made ({error.strerror})"
    for path in [folder, *(folder / name for name in _FILES)]:
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            return f"{path} can't be written"
    return None
