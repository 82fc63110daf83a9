"""Why a stage's output was made, or is to be: what changed since the nearest earlier one, in a recipe's terms."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fer import plain_text
from fer.engine.code import key_parts
from fer.engine.code.key_parts import Change, KeyParts
from fer.engine.outputs import OutputRecord
from fer.engine.workspace import Workspace
from fer.recipes.schema import Recipe

_COMPARED = 50  # the newest outputs of a stage, among which the nearest is looked for
_SHOWN = 3


class Reason(NamedTuple):
    """Why an output was made: what differs from the nearest earlier output of its stage, None if there is none."""

    nearest: OutputRecord | None
    changes: tuple[Change, ...]

    def sentences(self) -> list[str]:
        """What changed, a line each; changed code is one line."""
        sentences = [change.sentence() for change in self.changes if change.kind != "code"]
        code = [change for change in self.changes if change.kind == "code"]
        if len(code) == 1:
            sentences.append(code[0].sentence())
        elif code:
            names = [change.name for change in code]
            more = f" and {len(names) - _SHOWN} more files" if len(names) > _SHOWN else ""
            sentences.append(f"code: {', '.join(names[:_SHOWN])}{more} changed")
        return [plain_text.visible(sentence) for sentence in sentences]

    def sentence(self) -> str:
        """What changed, in one line."""
        if self.nearest is None:
            return "nothing like it was made here before"
        sentences = self.sentences()
        more = f"; and {len(sentences) - _SHOWN} more changes" if len(sentences) > _SHOWN else ""
        return "; ".join(sentences[:_SHOWN]) + more or "its earlier output is gone or damaged"

    @property
    def is_of_its_own(self) -> bool:
        """Whether something other than the data that it was given changed."""
        return any(change.kind != "input" for change in self.changes)


def of(parts: KeyParts, stage: str, workspace: Workspace) -> Reason:
    """Why `stage` is to make an output with these parts of its key."""
    return _reason(parts, workspace.records(stage, _COMPARED))


def of_output(record: OutputRecord, workspace: Workspace) -> Reason | None:
    """Why an output was made; None where it does not say from what."""
    if record.parts is None:
        return None
    stage, _, _ = record.path.partition("/")
    records = workspace.records(stage)
    place = next((number for number, other in enumerate(records) if other.path == record.path), -1)
    return _reason(record.parts, records[place + 1 :][:_COMPARED])


def _reason(parts: KeyParts, others: Sequence[OutputRecord]) -> Reason:
    nearest = key_parts.nearest(parts, others, lambda record: record.parts)
    if nearest is None or nearest.parts is None:
        return Reason(None, ())
    return Reason(nearest, between(nearest.parts, parts))


def between(before: KeyParts, after: KeyParts) -> tuple[Change, ...]:
    """What makes two keys differ; settings by the names that a recipe has for them: `train.epochs`."""
    configs = before.configs | after.configs
    return tuple(change._replace(name=_in_recipe(change, configs)) for change in key_parts.changes(before, after))


class Cause(NamedTuple):
    """An input that is other data, and why: what differs between the outputs before and after, `depth` stages up."""

    depth: int
    output: str  # stage/key
    reason: Reason


def causes(reason: Reason, workspace: Workspace) -> Iterator[Cause]:
    """Why inputs are other data, up the chain, as far as it is known; each output once."""
    return _causes(reason, workspace, 1, set())


def _causes(reason: Reason, workspace: Workspace, depth: int, told: set[str]) -> Iterator[Cause]:
    for change in reason.changes:
        before, after = (_record(path, workspace) for path in (change.before, change.after))
        if change.kind != "input" or before is None or after is None or after.path in told:
            continue
        told.add(after.path)
        if before.parts is not None and after.parts is not None:
            found = Reason(before, between(before.parts, after.parts))
            yield Cause(depth, after.path, found)
            yield from _causes(found, workspace, depth + 1, told)


def _record(path: str, workspace: Workspace) -> OutputRecord | None:
    stage, slash, key = path.partition("/")
    if not (slash and key):
        return None
    return next((record for record in workspace.records(stage) if record.path == path), None)


def _in_recipe(change: Change, configs: dict[str, str]) -> str:
    if change.kind != "setting":
        return change.name
    given, dot, rest = change.name.partition(".")
    section = _sections().get(configs.get(given, ""))
    return f"{section}{dot}{rest}" if section is not None else change.name


@functools.cache
def _sections() -> dict[str, str]:
    """The type of a recipe's section, `module.Class` -> the section's name."""
    annotations = {name: field.annotation for name, field in Recipe.model_fields.items()}
    return {
        f"{annotation.__module__}.{annotation.__qualname__}": name
        for name, annotation in annotations.items()
        if isinstance(annotation, type)
    }


def newest(named: str, workspace: Workspace) -> OutputRecord | None:
    """The newest output of a stage; of `stage/KEY` the one whose key begins so."""
    stage, _, key = named.partition("/")
    found = (record for record in workspace.records(stage) if record.path.startswith(f"{stage}/{key}"))
    return next(found, None)
