"""The lineage of a release: the output of every stage that it was made of, and what each output's key was made of.

In the manifest stand the digests of the outputs; `lineage.json` of the release has what the keys were made of, as
`fer.engine.code.key_parts` has it: settings, inputs, code module by module, versions of libraries.

A split keeps the assignments of the data accepted before. Where there were any, the release holds these too, as
`assignments_before.parquet` (data_contracts.split.ASSIGNMENTS) with the split's report `split_before.json`: nobody else
could split the images in the same way again.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from data_contracts import files
from fer.curation.refs import SplitRef
from fer.engine.code import key_parts
from fer.engine.code.key_parts import KeyParts
from fer.engine.records import Record
from fer.engine.refs import Ref
from fer.engine.workspace import Workspace

FILE = "lineage.json"
ASSIGNMENTS_BEFORE, SPLIT_BEFORE = "assignments_before.parquet", "split_before.json"
_SPLIT, _PREVIOUS = "split", "previous"
FORGOTTEN = "forgotten"  # the input of `index` that names what it leaves out
# Inputs that are of earlier data or of other models, and what was left out: not what a stage's output was made of.
_OF_OTHERS = frozenset({_PREVIOUS, "baseline", "anchor", "opponents", "champion", FORGOTTEN})


class StageOutput(Record):
    """The output of a stage."""

    stage: str
    output: str = Field(description="its place in the workspace that made it: stage/key")
    digest: str = Field(description="SHA-256 of its content; of a model of its weights and preprocessing")


class Lineage(Record):
    """The run that registered a version, and the outputs that it was made of, each after those that it was made of."""

    run: str = Field(default="", description="of Prefect, its name and ID; empty where it was registered without one")
    stages: tuple[StageOutput, ...] = ()


class Traced(NamedTuple):
    """Outputs in their order, and of each the parts of its key, as far as they are known: stage/key -> parts."""

    stages: tuple[StageOutput, ...]
    parts: dict[str, KeyParts]


def trace(refs: Iterable[Ref], workspace: Workspace) -> Traced:
    """The outputs that these were made of, themselves among them. What is not in the workspace any more is left out."""
    stages: dict[str, StageOutput] = {}
    parts: dict[str, KeyParts] = {}
    seen: set[str] = set()

    def visit(path: str) -> None:
        if path in seen:
            return
        seen.add(path)
        stage, slash, key = path.partition("/")
        record = workspace.record(stage, key) if slash and key else None
        if record is None:
            return
        if record.parts is not None:
            parts[path] = record.parts
            for name, made_from in record.parts.refs().items():
                if _OF_OTHERS.isdisjoint(name.replace("[", ".").split(".")):
                    visit(made_from)
        stages[path] = StageOutput(stage=stage, output=path, digest=str(record.ref.get("digest", "")))

    for ref in refs:
        visit(ref.path)
    return Traced(tuple(stages.values()), parts)


def write(traced: Traced, out: Path, workspace: Workspace) -> None:
    """Write to the folder of a release what its keys were made of, and the assignments that its split kept, if any."""
    document = {path: parts.model_dump(mode="json") for path, parts in traced.parts.items()}
    (out / FILE).write_text(json.dumps(document, sort_keys=True, separators=(",", ":")))
    before = previous_split(traced.parts)
    if before is not None:
        folder = workspace.folder(before)
        shutil.copyfile(folder / files.ASSIGNMENTS, out / ASSIGNMENTS_BEFORE)
        shutil.copyfile(folder / files.SPLIT_REPORT, out / SPLIT_BEFORE)


def read(path: Path) -> dict[str, KeyParts]:
    """What `lineage.json` says: stage/key -> parts. Empty where there is no such file, as in older releases."""
    if not path.is_file():
        return {}
    document = json.loads(path.read_bytes())
    return {output: known for output, parts in document.items() if (known := key_parts.parse(parts)) is not None}


def previous_split(parts: Mapping[str, KeyParts]) -> Ref | None:
    """The split whose assignments were kept, by the parts of all keys; None if none were."""
    for output, known in parts.items():
        if output.partition("/")[0] == _SPLIT and known.inputs.get(_PREVIOUS):
            path, digest = key_parts.reference(known.inputs[_PREVIOUS])
            return Ref(path=path, digest=digest)
    return None


def restore_previous_split(release: Path, workspace: Workspace) -> SplitRef | None:
    """The split whose assignments a release kept, as an output of a workspace that never had it; None if it kept none.

    `release` is the folder with the release's files.
    """
    kept = release / ASSIGNMENTS_BEFORE
    before = previous_split(read(release / FILE))
    if before is None or not kept.is_file():
        return None
    report = json.loads((release / SPLIT_BEFORE).read_bytes())
    fields = {name: value for name, value in report.items() if name in SplitRef.model_fields}

    def produce(out: Path) -> SplitRef:
        shutil.copyfile(kept, out / files.ASSIGNMENTS)
        shutil.copyfile(release / SPLIT_BEFORE, out / files.SPLIT_REPORT)
        return SplitRef.model_validate(fields | {"path": "", "digest": before.digest})

    return workspace.run(_SPLIT, before.path.partition("/")[2], SplitRef, produce, resumable=False)
