"""The stage `champion`: a released model brought to the workspace, and the champion that a candidate must equal."""

from pathlib import Path

from pydantic import ValidationError

from fer import errors
from fer.engine import stage
from fer.engine.workspace import Workspace
from fer.evaluation.refs import Champion, ChampionState
from fer.progress import Progress, silent
from fer.registry import releases
from fer.shards import preprocessing
from fer.training.refs import ModelRef

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


def state(name: str, candidate: ModelRef | None, workspace: Workspace) -> ChampionState:
    """The champion of `name`, if there is one, and the state of its alias. `candidate` None: it is yet to be trained.

    A candidate that is the champion itself is compared with the champion of its own promotion, so that a run that is
    repeated comes to the same verdict.
    """
    with releases.open_registry() as models:
        alias = models.alias(name)
        if alias is None:
            return ChampionState()
        manifest = models.get(name, str(alias.version))
        if candidate is not None and manifest.model_digest == candidate.digest:
            if manifest.champion_at_registration is None:
                return ChampionState(alias_version=alias.version, alias_state=alias.state)
            manifest = models.get(name, str(manifest.champion_at_registration))
        model = fetch(name, manifest.version, manifest.model_digest, workspace=workspace)
        return ChampionState(
            alias_version=alias.version,
            alias_state=alias.state,
            champion=Champion(
                version=manifest.version,
                source=manifest.inputs.get("source", "unknown"),
                model=model,
                same_preprocessing=preprocessing.load_record(workspace.folder(model)).is_kept(),
            ),
        )


def preprocessing_of(model: ModelRef, workspace: Workspace) -> preprocessing.PreprocessConfig:
    """How a model's training images were preprocessed. Raises IntegrityError."""
    return preprocessing.load_record(workspace.folder(model)).config
