"""What was accepted last: the data that new data is compared with, and whose sides it keeps.

The note `.accepted/<name>.json` in the workspace points to the outputs of two stages, `validate` and `split`, and says
what these were made with. There is one for each recipe, set of sources and drawing of splits; data is held against the
one that shares most with it, so that a source that is added or left out loses no history. It is replaced whole, only
after the data was found sound. Runs on the same data by the same settings are then given the inputs of the first one,
so that they find everything in the cache, and don't compare the data with itself.
"""

import datetime
import hashlib
import json
import re
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from fer import errors
from fer.curation.refs import Before, CurationRef, DriftRef, InspectionRef, SplitRef, ValidationRef
from fer.engine.refs import Ref
from fer.engine.workspace import Note, Workspace
from fer.ingest import sources

_KIND = "accepted"


class Baseline(BaseModel):
    """Data that was accepted, and `before`: what it was compared with, and whose sides it kept.

    `anchor` is the data that the newest images are held against, which stays until enough of them have come together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    families: tuple[str, ...]  # of the sources, sorted
    drawing: str  # what the split's drawing hangs on: see `split.drawing`
    accepted_utc: datetime.datetime
    validation: ValidationRef
    split: SplitRef
    anchor: ValidationRef
    divided_from: str  # what the split was made of, but for what it kept: see `divided_from`
    before: Before


def families(given: Sequence[str]) -> tuple[str, ...]:
    """What the sources stand for whatever their content or version: `kaggle:owner/slug`, `folder:/path`, ...; sorted.

    Raises ConfigError, SourceError as `sources.parse` does.
    """
    return tuple(sorted({_family(sources.parse(each)) for each in given}))


def _family(source: sources.Source) -> str:
    if isinstance(source, sources.KaggleSource):
        return f"kaggle:{source.owner}/{source.slug}"
    return str(source)


def name(recipe: str, families: Sequence[str], drawing: str = "") -> str:
    """The name of a recipe's data from sources of these families, and of a drawing of its splits, fit for a file."""
    readable = re.sub(r"[^a-z0-9]+", "-", " ".join([recipe, *families]).lower()).strip("-")[:60]
    exact = hashlib.sha256("\0".join([recipe, *families, drawing]).encode()).hexdigest()
    return f"{readable}-{exact[:8]}"


def divided_from(curation: CurationRef, inspection: InspectionRef, config: BaseModel) -> str:
    """A name for what a split is made of beside the sides that it keeps: digests, and the split's `config`."""
    return json.dumps([curation.digest, inspection.digest, config.model_dump(mode="json")], sort_keys=True)


def find(workspace: Workspace, recipe: str, families: Sequence[str], drawing: str) -> Baseline | None:
    """What was accepted last of this recipe and at least one of these sources; None if nothing was, or it is gone.

    Of several one of the same drawing, then the one that shares most sources, then that with fewest others, then the
    one accepted last.
    Raises WorkspaceError for a record that can't be read: to go on without it could move images to other sides.
    """
    found = [_read(note) for note in workspace.notes(_KIND)]
    usable = [
        each
        for each in found
        if each.recipe == recipe
        and not set(families).isdisjoint(each.families)
        and _is_there(workspace, each.validation)
        and _is_there(workspace, each.split)
    ]
    return max(
        usable,
        key=lambda each: (
            each.drawing == drawing,
            len({*families} & {*each.families}),
            -len(each.families),
            each.accepted_utc,
        ),
        default=None,
    )


def _read(note: Note) -> Baseline:
    try:
        return Baseline.model_validate_json(note.data)
    except ValidationError as error:
        raise errors.WorkspaceError(
            "The record of the data last accepted must be whole.",
            received=f"{error.error_count()} faults in {note.location}",
            todo="remove the file: the next run then compares with nothing, and may draw splits anew",
        ) from error


def before(
    found: Baseline | None, workspace: Workspace, validation: ValidationRef, drawing: str, divided: str
) -> Before:
    """What data is to be compared with, and whose sides it keeps: those of what was accepted last, `found`.

    For the very data that was accepted last, it is what that was compared with; and for the same data `divided` by the
    same settings (see `divided_from`) the sides that were kept then. Sides of another `drawing` mean nothing.
    """
    if found is None:
        return Before()
    same_data = found.validation.digest == validation.digest
    compared = found.before if same_data else Before(validation=found.validation, anchor=found.anchor)
    kept = found.before.split if same_data and found.divided_from == divided else found.split
    if found.drawing != drawing:
        kept = None
    return Before(
        validation=_if_there(workspace, compared.validation),
        anchor=_if_there(workspace, compared.anchor),
        split=kept if kept is not None and _is_there(workspace, kept) else None,
    )


def accept(
    workspace: Workspace,
    recipe: str,
    families: Sequence[str],
    before: Before,
    validation: ValidationRef,
    split: SplitRef,
    drift: DriftRef,
    drawing: str,
    divided: str,
) -> None:
    """Point to this data, which was compared with `before` by `drift` and `divided` from what `divided_from` says.

    Raises WorkspaceError if the disk refuses it, StoreError if the store does.
    """
    found = Baseline(
        recipe=recipe,
        families=tuple(families),
        drawing=drawing,
        accepted_utc=datetime.datetime.now(datetime.UTC),
        validation=validation,
        split=split,
        anchor=validation if drift.is_anchored or before.anchor is None else before.anchor,
        divided_from=divided,
        before=before,
    )
    try:
        workspace.write_note(_KIND, f"{name(recipe, families, drawing)}.json", found.model_dump_json(indent=1).encode())
    except OSError as error:
        raise errors.WorkspaceError(
            "What was accepted must be remembered in the workspace.",
            received=f"'{error.strerror}' at {error.filename or workspace.root}",
            todo="free some space or change its permissions, then run the same command again",
        ) from error


def _if_there(workspace: Workspace, ref: ValidationRef | None) -> ValidationRef | None:
    return ref if ref is not None and _is_there(workspace, ref) else None


def _is_there(workspace: Workspace, ref: Ref) -> bool:
    stage, key = ref.path.split("/")
    return workspace.committed(stage, key, type(ref)) is not None
