"""A stage's output with other bytes than it was committed with, committed as it is now."""

from pathlib import Path

from fer.engine import outputs
from fer.engine.refs import Ref
from fer.engine.workspace import Workspace


def recommit(workspace: Workspace, ref: Ref) -> Path:
    """Write the record of the output's folder anew, after a file in it was changed; the folder."""
    folder = workspace.root / ref.path
    outputs.write_record(folder, ref, outputs.files(folder))
    return folder


def rewrite(workspace: Workspace, ref: Ref, name: str, data: bytes) -> None:
    """Have a file of the output hold `data`, as if its stage had written that."""
    (workspace.folder(ref) / name).write_bytes(data)
    recommit(workspace, ref)
