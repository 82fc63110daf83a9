"""A stage's output of two small files, committed to a workspace."""

from pathlib import Path

from fer.engine.workspace import Workspace
from fer.ingest.refs import DatasetRef


def dataset(**changes) -> DatasetRef:
    return DatasetRef(**({"source": "demo", "n_files": 1, "size_bytes": 2} | changes))


def write_two_files(out: Path) -> DatasetRef:
    (out / "a.txt").write_text("a")
    (out / "deeper").mkdir(exist_ok=True)
    (out / "deeper" / "b.txt").write_text("b")
    return dataset()


def run(workspace: Workspace, produce=write_two_files, key: str = "k1", resumable: bool = False) -> DatasetRef:
    return workspace.run("stage", key, DatasetRef, produce, resumable=resumable)
