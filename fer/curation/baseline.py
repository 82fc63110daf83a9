"""The data accepted last: what new data is compared with, and whose split assignments it keeps.

The note `.accepted/<name>.json` in the workspace points to the outputs of two stages, `validate` and `split`, and says
what these were made with. There is one for each recipe, set of sources and settings of the split; data is compared with
the one that shares most with it, so that a source that is added or left out loses no history. It is replaced whole,
only after the data passed its checks. Runs on the same data by the same settings are then given the inputs of the first
one, so that they find everything in the cache, and don't compare the data with itself.
"""

import datetime
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import AliasChoices, BaseModel, Field, ValidationError

from fer import errors
from fer.curation.refs import CurationRef, DriftRef, InspectionRef, PreviousData, SplitRef, ValidationRef
from fer.engine.outputs import RefT
from fer.engine.records import Record
from fer.engine.refs import Ref
from fer.engine.workspace import Note, Workspace
from fer.ingest import sources

_KIND = "accepted"


class Scope(NamedTuple):
    """What a baseline is kept for: a recipe, the `families` of its sources, and the `split.settings_key`."""

    recipe: str
    families: tuple[str, ...]
    settings_key: str = ""

    @property
    def name(self) -> str:
        """A name fit for a file, different for each scope."""
        readable = re.sub(r"[^a-z0-9]+", "-", " ".join([self.recipe, *self.families]).lower()).strip("-")[:60]
        exact = hashlib.sha256("\0".join([self.recipe, *self.families, self.settings_key]).encode()).hexdigest()
        return f"{readable}-{exact[:8]}"


class Baseline(Record):
    """Data that was accepted, and the data `previous` to it: what it was compared with, and whose split it kept.

    `anchor` is the data that the newest images are compared with, which stays until enough of them have come together.
    Notes of earlier versions, which call some of the fields otherwise, are read too.
    """

    recipe: str
    families: tuple[str, ...]  # of the sources, sorted
    settings_key: str = Field(validation_alias=AliasChoices("settings_key", "drawing"))  # see `split.settings_key`
    accepted_utc: datetime.datetime
    validation: ValidationRef
    split: SplitRef
    anchor: ValidationRef
    inputs_key: str = Field(validation_alias=AliasChoices("inputs_key", "divided_from"))  # see `inputs_key`
    previous: PreviousData = Field(validation_alias=AliasChoices("previous", "before"))


def families(source_names: Sequence[str]) -> tuple[str, ...]:
    """What the sources are whatever their content or version: `kaggle:owner/slug`, `folder:/path`, ...; sorted.

    Raises ConfigError, SourceError as `sources.parse` does.
    """
    return tuple(sorted({_family(sources.parse(source_name)) for source_name in source_names}))


def _family(source: sources.Source) -> str:
    if isinstance(source, sources.KaggleSource):
        return f"kaggle:{source.owner}/{source.slug}"
    return str(source)


def inputs_key(curation: CurationRef, inspection: InspectionRef, config: BaseModel) -> str:
    """A name for what a split is made of beside the assignments that it keeps: digests, and the split's `config`."""
    return json.dumps([curation.digest, inspection.digest, config.model_dump(mode="json")], sort_keys=True)


def accepted(workspace: Workspace) -> list[Baseline]:
    """All data that was accepted last, of each scope one. Raises WorkspaceError for a note that can't be read."""
    return [_read(note) for note in notes(workspace)]


def notes(workspace: Workspace) -> list[Note]:
    """The same as it is written."""
    return workspace.notes(_KIND)


def write_note(workspace: Workspace, name: str, document: Mapping[str, Any]) -> None:
    """Put back what `notes` gave, by its file's name. Raises OSError, StoreError."""
    workspace.write_note(_KIND, name, document)


def refs(accepted: Baseline) -> tuple[Ref, ...]:
    """The outputs that it names: the data, its split, and what new data is compared with."""
    named = (accepted.validation, accepted.split, accepted.anchor, *(ref for _, ref in accepted.previous))
    return tuple(ref for ref in named if ref is not None)


def find(workspace: Workspace, scope: Scope) -> Baseline | None:
    """The data accepted last of this recipe and at least one of these sources; None if none is, or it was removed.

    Of several one of the same split settings, then the one that shares most sources, then that with fewest others, then
    the one accepted last.
    Raises WorkspaceError for a note that can't be read: to go on without it could move images to other splits.
    """
    usable = [
        baseline
        for baseline in accepted(workspace)
        if baseline.recipe == scope.recipe
        and not set(scope.families).isdisjoint(baseline.families)
        and not _is_removed(workspace, baseline.validation)
        and not _is_removed(workspace, baseline.split)
    ]
    return max(
        usable,
        key=lambda baseline: (
            baseline.settings_key == scope.settings_key,
            len({*scope.families} & {*baseline.families}),
            -len(baseline.families),
            baseline.accepted_utc,
        ),
        default=None,
    )


def _read(note: Note) -> Baseline:
    try:
        return Baseline.model_validate(note.document)
    except ValidationError as error:
        raise errors.WorkspaceError(
            "The record of the data last accepted must be whole.",
            received=f"{error.error_count()} faults in {note.location}",
            todo="remove the file and its copy: the next run then compares with nothing, and may draw splits anew",
        ) from error


def previous_data(
    baseline: Baseline | None, workspace: Workspace, validation: ValidationRef, scope: Scope, inputs: str
) -> PreviousData:
    """What data is to be compared with, and whose assignments it keeps: those of the `baseline` that `find` found.

    For the very data that was accepted last, it is what that was compared with; and for the same data split from the
    same `inputs` (see `inputs_key`) the assignments that were kept then. Those by other split settings mean nothing.
    What was removed from the workspace is left out. Raises WorkspaceError for what was damaged there.
    """
    if baseline is None:
        return PreviousData()
    is_same_data = baseline.validation.digest == validation.digest
    compared = baseline.previous
    if not is_same_data:
        compared = PreviousData(validation=baseline.validation, anchor=baseline.anchor)
    kept: SplitRef | None = baseline.split
    if is_same_data and baseline.inputs_key == inputs:
        kept = baseline.previous.split
    if baseline.settings_key != scope.settings_key:
        kept = None
    return PreviousData(
        validation=_if_there(workspace, compared.validation),
        anchor=_if_there(workspace, compared.anchor),
        split=_if_there(workspace, kept),
    )


def accept(
    workspace: Workspace,
    scope: Scope,
    previous: PreviousData,
    validation: ValidationRef,
    split: SplitRef,
    drift: DriftRef,
    inputs: str,
) -> None:
    """Point to this data, which was compared with `previous` by `drift`, and split from `inputs` (see `inputs_key`).

    Raises WorkspaceError if the disk refuses it, StoreError if the store does.
    """
    baseline = Baseline(
        recipe=scope.recipe,
        families=scope.families,
        settings_key=scope.settings_key,
        accepted_utc=datetime.datetime.now(datetime.UTC),
        validation=validation,
        split=split,
        anchor=validation if drift.is_anchored or previous.anchor is None else previous.anchor,
        inputs_key=inputs,
        previous=previous,
    )
    try:
        workspace.write_note(_KIND, f"{scope.name}.json", baseline.model_dump(mode="json"))
    except OSError as error:
        raise errors.WorkspaceError(
            "What was accepted must be remembered in the workspace.",
            received=f"'{error.strerror}' at {error.filename or workspace.root}",
            todo="free some space or change its permissions, then run the same command again",
        ) from error


def _if_there(workspace: Workspace, ref: RefT | None) -> RefT | None:
    if ref is None or _is_removed(workspace, ref):
        return None
    if _committed(workspace, ref) is None:
        raise errors.WorkspaceError(
            "The data accepted last must be as it was committed: without it images could move to other splits.",
            received=f"a damaged output {ref.path} in the workspace",
            todo=f"restore {ref.path} from a backup, or run on that data again, which makes it again; to begin anew "
            f"remove .damaged/{ref.path}",
        )
    return ref


def _is_removed(workspace: Workspace, ref: Ref) -> bool:
    return _committed(workspace, ref) is None and not workspace.is_damaged(*ref.path.split("/"))


def _committed(workspace: Workspace, ref: RefT) -> RefT | None:
    stage, key = ref.path.split("/")
    return workspace.committed(stage, key, type(ref))
