"""The stage `champion`: a released model brought to the workspace, and the champion that a candidate must equal."""

import datetime
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from fer import errors
from fer.engine import stage
from fer.engine.workspace import Workspace
from fer.evaluation.calibration import calibrator
from fer.evaluation.refs import CalibrationRef, Champion, ChampionState, Opponents
from fer.progress import Progress, silent
from fer.registry import log as registry_log
from fer.registry import releases
from fer.registry.log import Log
from fer.registry.manifest import Manifest
from fer.shards import preprocessing
from fer.training.refs import ModelRef

_YEAR = datetime.timedelta(days=365)
MODEL = "model.json"  # the ModelRef, beside the model's files


@stage.stage("champion")
def fetch(
    out: Path, name: str, version: int, model_digest: str, *, workspace: Workspace, progress: Progress = silent
) -> ModelRef:
    """Bring a released model's files into the workspace, each verified. Raises StoreError, IntegrityError.

    `model.json` may have fields that this code does not know, if a newer version of it wrote them.
    """
    with releases.open_registry() as models:
        models.fetch(models.get(name, str(version)), out, progress)
    try:
        model = ModelRef.model_validate_json((out / MODEL).read_bytes(), extra="ignore")
    except ValidationError as error:
        first = error.errors()[0]
        raise errors.IntegrityError(
            f"A release's {MODEL} must be such as this version of the project can read.",
            received=f"{' '.join(str(part) for part in (f'{name}@{version}', *first['loc']))}: {first['msg']}",
            todo="begin anew under another name: --name NAME",
        ) from error
    if model.digest != model_digest:
        raise errors.IntegrityError(
            "A release's model must be the one that its manifest names.",
            received=f"{model.digest} instead of {model_digest} in {name}@{version}",
            todo="restore the store from a backup",
        )
    return model


@stage.stage("champion calibration")
def fetch_calibration(
    out: Path, model: ModelRef, sha256: str, *, workspace: Workspace, progress: Progress = silent
) -> CalibrationRef:
    """Bring a released model's calibration, the file of this digest, to a place of its own: versions of the same
    weights can have others. Raises IntegrityError."""
    shutil.copyfile(workspace.folder(model) / calibrator.FILE, out / calibrator.FILE)
    known = calibrator.load(out)
    if known is None:
        raise ValueError(f"A release must hold the files that its manifest names. Received: no {sha256}.")
    return calibrator.ref(known)


class Made(NamedTuple):
    """What a candidate was made of: the digests of its data and of the code of all its stages."""

    model: ModelRef
    data: str
    code: str


def state(name: str, candidate: Made | None, max_age_days: int, workspace: Workspace) -> ChampionState:
    """The champion of `name` and whom else a candidate meets, and the state of the alias.

    `candidate` None: it is yet to be trained. One that is the champion itself meets those of its own promotion, so that
    a run that is repeated comes to the same verdict. `max_age_days` is the champion's age that is a reason to change.
    """
    with releases.open_registry() as models:
        ledger = models.ledger(name).read()
        if ledger.champion is None:
            return ChampionState()
        manifest = models.get(name, str(ledger.champion))
        if candidate is None:
            opponents = Opponents(champion=released(manifest, workspace))
        elif manifest.model_digest == candidate.model.digest:
            met = manifest.compared_with
            champion, anchor = (
                None if version is None else models.get(name, str(version))
                for version in (manifest.champion_at_registration, met.anchor)
            )
            opponents = _opponents(champion, anchor, met.changes, met.waivers_used, workspace)
        else:
            opponents = _opponents(
                manifest,
                releases.anchor_of(models.versions(name), manifest, ledger.log),
                _changes(manifest, candidate, ledger.log, max_age_days),
                _waivers_used(ledger.log),
                workspace,
            )
        return ChampionState(alias_version=ledger.champion, alias_state=ledger.id, opponents=opponents)


def _opponents(
    champion: Manifest | None,
    anchor: Manifest | None,
    changes: tuple[str, ...],
    waivers_used: tuple[str, ...],
    workspace: Workspace,
) -> Opponents:
    return Opponents(
        champion=None if champion is None else released(champion, workspace),
        anchor=None if anchor is None else released(anchor, workspace),
        changes=changes,
        waivers_used=waivers_used,
    )


def released(manifest: Manifest, workspace: Workspace) -> Champion:
    """A version brought to the workspace, with its calibration if it has one.

    Raises StoreError, IntegrityError, also where it is not signed as is demanded but is in the workspace already.
    """
    releases.require_trusted(manifest)
    model = fetch(manifest.name, manifest.version, manifest.model_digest, workspace=workspace)
    file = manifest.files.get(calibrator.FILE)
    return Champion(
        version=manifest.version,
        source=manifest.inputs.get("source", "unknown"),
        model=model,
        same_preprocessing=preprocessing.load_record(workspace.folder(model)).is_kept(),
        calibration=None if file is None else fetch_calibration(model, file.sha256, workspace=workspace),
    )


def _changes(champion: Manifest, candidate: Made, log: Log, max_age_days: int) -> tuple[str, ...]:
    """The reasons to change the champion, beside a better candidate."""
    changes = []
    if champion.inputs.get("index") != candidate.data:
        changes.append("the data has changed")
    if champion.code_fingerprint != candidate.code:
        changes.append("the code has changed")
    promoted = log.last_move
    if promoted is not None and registry_log.now() - promoted.at_utc > datetime.timedelta(days=max_age_days):
        changes.append(f"the champion is older than {max_age_days} days")
    return tuple(changes)


def _waivers_used(log: Log) -> tuple[str, ...]:
    """The promotions of the last year for which a reason was enough."""
    year_ago = registry_log.now() - _YEAR
    return tuple(
        f"so version {entry.version} was promoted on {entry.at_utc:%Y-%m-%d}"
        for entry in log.entries
        if entry.waiver and entry.at_utc > year_ago
    )


class Procedure(NamedTuple):
    """What made a release: its recipe, as it was written then, and the fingerprint of the code."""

    recipe: dict[str, Any]
    code: str


def procedure(name: str, version: int) -> Procedure:
    """What made a release. Raises StoreError, IntegrityError."""
    with releases.open_registry() as models:
        manifest = models.get(name, str(version))
        models.require_trusted(manifest)
    return Procedure(manifest.recipe, manifest.code_fingerprint)


def preprocessing_of(model: ModelRef, workspace: Workspace) -> preprocessing.PreprocessConfig:
    """How a model's training images were preprocessed. Raises IntegrityError."""
    return preprocessing.load_record(workspace.folder(model)).config
