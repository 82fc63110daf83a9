"""Which code works in a workspace, and where: workers of several machines may be at different commits unnoticed.

Each place keeps a note `.code/<digest of the place>.json` of the code that it ran last.
"""

import datetime
import functools
import hashlib
import socket
from collections.abc import Sequence
from pathlib import Path

import data_contracts
import fer
from fer.engine.records import Record
from fer.engine.workspace import Workspace

_KIND = "code"
_RECENT = datetime.timedelta(days=7)
_OFTEN = datetime.timedelta(hours=1)  # a note is not written more often than that
_DIGITS = 8  # of a digest, as shown


class Use(Record):
    """The code that runs of a place had, from the first to the last of them."""

    place: str  # host and folder
    code: str  # SHA-256 (hex) of the sources
    first_utc: datetime.datetime
    last_utc: datetime.datetime


@functools.cache
def digest() -> str:
    """SHA-256 (hex) of this project's sources below the flows, comments included: that of a commit, as it were."""
    roots = [Path(str(package.__file__)).parent for package in (fer, data_contracts)]
    hashed = hashlib.sha256()
    for root in roots:
        for path in sorted(root.rglob("*.py")):
            content = path.read_bytes()
            hashed.update(f"{root.name}/{path.relative_to(root)} {len(content)}\n".encode() + content)
    return hashed.hexdigest()


def here() -> str:
    """This place."""
    return f"{socket.gethostname()}:{Path(str(fer.__file__)).parents[1]}"


def note(workspace: Workspace, place: str, code: str, now: datetime.datetime) -> str:
    """Note that `code` is used at `place`, and say which other code is in use elsewhere; empty if there is none.

    Raises OSError, WorkspaceError, StoreError.
    """
    uses = [Use.model_validate(known.document) for known in workspace.notes(_KIND)]
    own = next((use for use in uses if use.place == place and use.code == code), None)
    if own is None or now - own.last_utc > _OFTEN:
        own = Use(place=place, code=code, first_utc=now if own is None else own.first_utc, last_utc=now)
        name = f"{hashlib.sha256(place.encode()).hexdigest()[:16]}.json"
        workspace.write_note(_KIND, name, own.model_dump(mode="json"))
    return _sentence(own, uses, now)


def _sentence(own: Use, uses: Sequence[Use], now: datetime.datetime) -> str:
    """Other code counts as in use if it ran after this one had first run anywhere: an upgrade of all is no mixture."""
    since = min([own.first_utc, *(use.first_utc for use in uses if use.code == own.code)])
    others = [use for use in uses if use.code != own.code and use.place != own.place and use.last_utc > since]
    recent = [use for use in others if now - use.last_utc < _RECENT]
    if not recent:
        return ""
    shown = ", ".join(
        f"{use.place} (code {use.code[:_DIGITS]}, last run {use.last_utc:%Y-%m-%d %H:%M} UTC)" for use in recent
    )
    return (
        f"other code works in this workspace: {shown}; this is {own.place} (code {own.code[:_DIGITS]}). Stages whose "
        "code differs are made by each, in turn, for nothing. Next: bring all workers to one version"
    )
