"""From a trained model to a release in the registry, and from a release back to a model that can be used."""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from data_contracts import files
from fer import errors, settings
from fer.curation.refs import SplitRef
from fer.engine import fingerprint, seaweedfs, stage
from fer.engine.refs import Ref
from fer.engine.workspace import Workspace
from fer.evaluation import evaluate
from fer.evaluation.refs import Contest, EvaluationRef, Opponent, VerdictRef
from fer.ingest.refs import ManifestRef
from fer.models import saved_model
from fer.progress import Progress, silent
from fer.recipes.schema import Recipe
from fer.registry import log as registry_log
from fer.registry import names, registry
from fer.registry.manifest import Manifest, Registration
from fer.registry.refs import ReleaseRef
from fer.shards import preprocessing
from fer.training.refs import ModelRef, WeightsRef

_MODEL = "model.json"  # the ModelRef, beside the model's files
_VERDICT = "verdict.json"


@contextlib.contextmanager
def open_registry() -> Iterator[registry.Registry]:
    """The registry in the store that the settings name. Raises StoreError if it can't be reached."""
    with seaweedfs.connect(settings.Settings.load()) as store:
        yield registry.Registry(store)


@stage.stage("champion")
def fetch(
    out: Path, name: str, version: int, model_digest: str, *, workspace: Workspace, progress: Progress = silent
) -> ModelRef:
    """Bring a released model's files into the workspace, each verified. Raises StoreError, IntegrityError.

    `model.json` may say more than this code knows, as a newer one wrote it.
    """
    with open_registry() as models:
        models.fetch(models.get(name, str(version)), out, progress)
    try:
        model = ModelRef.model_validate_json((out / _MODEL).read_bytes(), extra="ignore")
    except ValidationError as error:
        first = error.errors()[0]
        raise errors.IntegrityError(
            f"A release's {_MODEL} must be such as this version of the project can read.",
            received=f"{' '.join(str(each) for each in (f'{name}@{version}', *first['loc']))}: {first['msg']}",
            todo="begin anew under another name: --name NAME",
        ) from error
    if model.digest != model_digest:
        raise errors.IntegrityError(
            "A release's model must be the one that its manifest names.",
            received=f"{model.digest} instead of {model_digest} in {name}@{version}",
            todo="restore the store from a backup",
        )
    return model


def contest(name: str, candidate: ModelRef | None, workspace: Workspace) -> Contest:
    """Find what `candidate` must be compared with: the champion of `name`, if there is one.

    A candidate that already is the champion meets whom it met when it was promoted, so that a run that is repeated
    comes to the same verdict. None: it is yet to be trained.
    """
    with open_registry() as models:
        alias = models.alias(name)
        if alias is None:
            return Contest()
        opponent = models.get(name, str(alias.version))
        if candidate is not None and opponent.model_digest == candidate.digest:
            if opponent.champion_at_registration is None:
                return Contest(alias_version=alias.version, alias_state=alias.state)
            opponent = models.get(name, str(opponent.champion_at_registration))
        model = fetch(name, opponent.version, opponent.model_digest, workspace=workspace)
        source = opponent.inputs.get("source", "unknown")
        return Contest(
            alias_version=alias.version,
            alias_state=alias.state,
            opponent=Opponent(
                version=opponent.version,
                source=source,
                model=model,
                same_preprocessing=preprocessing.load_record(workspace.folder(model)).is_kept(),
            ),
        )


def preprocessing_of(model: ModelRef, workspace: Workspace) -> preprocessing.PreprocessConfig:
    """How a model's training images were preprocessed. Raises IntegrityError."""
    return preprocessing.load_record(workspace.folder(model)).config


def registration_key(recipe: Recipe, model: ModelRef, evaluation: EvaluationRef, verdict: VerdictRef) -> str:
    """SHA-256 (hex) of what makes a release: the same one is registered once."""
    parts = [recipe.model_dump_json(), model.digest, evaluation.digest, verdict.digest]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class Registered(NamedTuple):
    """Whether all is done that `register` does, and the ID of the entry that keeps the model from being promoted."""

    done: bool
    barred_by: str = ""


def registered(name: str, key: str) -> Registered:
    """Whether the version is there and, if it passed its gates, the champion or barred from becoming it."""
    with open_registry() as models:
        found = next((each for each in models.versions(name) if each.registration_key == key), None)
        if found is None or found.status == "refused":
            return Registered(found is not None)
        state = models.ledger(name).read()
        bar = None if state.champion == found.version else state.log.bar(found.version, found.model_digest)
        if bar is not None:
            return Registered(done=True, barred_by=bar.id)
        return Registered(done=state.champion == found.version)


def register(
    recipe: Recipe,
    lineage: dict[str, str],
    division: SplitRef,
    model: ModelRef,
    evaluation: EvaluationRef,
    verdict: VerdictRef,
    against: Contest,
    *,
    by: str | None = None,
    workspace: Workspace,
    progress: Progress = silent,
) -> ReleaseRef:
    """Register a version, released or refused as the verdict says, and make a released one champion.

    A model that was rolled back or withdrawn is kept without being promoted, under whatever version it comes again.
    `division` is the split that the model was trained and tested on, `by` the run. Raises StoreConflict if another run
    moved the champion alias since `against` was found, IntegrityError if something of the registry was lost.
    """
    model_folder, evaluation_folder = workspace.folder(model), workspace.folder(evaluation)
    with open_registry() as models:
        bar = models.log(recipe.model_name).bar(None, model.digest) if verdict.passed else None
    registration = Registration(
        status="refused" if not verdict.passed else "released" if bar is None else "kept",
        reasons=(*(check.detail for check in verdict.checks), *([registry_log.why_barred(bar)] if bar else ())),
        registration_key=registration_key(recipe, model, evaluation, verdict),
        model_digest=model.digest,
        recipe=recipe.model_dump(mode="json"),
        inputs=lineage,
        code_fingerprint=fingerprint.of_module("fer.recipes.schema"),
        metrics=json.loads((evaluation_folder / evaluate.METRICS).read_bytes()),
        environment=saved_model.environment(model_folder),
        champion_at_registration=verdict.champion_version,
    )
    with tempfile.TemporaryDirectory() as temporary, open_registry() as models:
        record, trained_on = Path(temporary) / _MODEL, Path(temporary) / files.TRAINED_ON
        record.write_text(model.model_dump_json(indent=1))
        pq.write_table(_trained_on(workspace.folder(division), model_folder), trained_on, compression="zstd")
        content = {_MODEL: record, files.TRAINED_ON: trained_on, _VERDICT: workspace.folder(verdict) / _VERDICT}
        for folder in (model_folder, evaluation_folder):
            files_there = (path for path in sorted(folder.iterdir()) if path.is_file())
            content |= {path.name: path for path in files_there if not path.name.startswith("_")}
        manifest = models.register(recipe.model_name, content, registration, progress, by)
        state = models.ledger(manifest.name).read()
        champion, status, kept_because = state.champion, manifest.status, ""
        if manifest.status != "refused":
            bar = state.log.bar(manifest.version, manifest.model_digest)
            if bar is not None and champion != manifest.version:
                status, kept_because = "kept", registry_log.why_barred(bar, manifest.version)
            else:
                expected = None
                if against.alias_version is not None and against.alias_state is not None:
                    expected = registry.Alias(against.alias_version, against.alias_state)
                status, champion = "released", _promote(models, manifest, expected, by).version
        return ReleaseRef(
            path=f"{manifest.name}@{manifest.version}",
            digest=hashlib.sha256(manifest.model_dump_json().encode()).hexdigest(),
            name=manifest.name,
            version=manifest.version,
            status=status,
            kept_because=kept_because,
            uri=models.uri(manifest),
            champion_version=champion,
        )


def _trained_on(division: Path, model: Path) -> pa.Table:
    """What `trained_on.parquet` says of a model: train and validation of the split's folder, and what the release knows
    that it started from. Of an image that was both, it is `train`."""
    rows = pq.read_table(division / files.SPLIT, columns=["pixel_sha256", "split"])
    known = rows.filter(pc.is_in(rows["split"], pa.array(["train", "validation"])))
    if (earlier := model / files.WEIGHTS_TRAINED_ON).is_file():
        known = pa.concat_tables([known, read_trained_on(earlier).cast(known.schema)])
    found = known.group_by("pixel_sha256").aggregate([("split", "min")])
    return found.rename_columns(["pixel_sha256", "split"]).sort_by("pixel_sha256")


def read_trained_on(path: Path) -> pa.Table:
    """`pixel_sha256` and `split` of a release's images: `train`, or `validation` for those that it was only chosen by.

    A release that names no splits counts as trained on all of its images.
    """
    found = pq.read_table(path)
    if "split" not in found.column_names:
        found = found.append_column("split", pa.repeat("train", len(found)))
    return found.select(["pixel_sha256", "split"])


def _promote(
    models: registry.Registry, manifest: Manifest, expected: registry.Alias | None, by: str | None
) -> registry.Alias:
    try:
        return models.promote(manifest.name, manifest.version, expected, by)
    except errors.StoreConflict as error:
        raise errors.StoreConflict(
            f"The champion of {manifest.name!r} must be the one that this run's candidate was compared with.",
            received=f"another run moved it meanwhile; this candidate is version {manifest.version}",
            todo="run the same command again: the candidate is then compared with the new champion",
        ) from error


@contextlib.contextmanager
def local_copy(spec: str | None) -> Iterator[tuple[Manifest, Path]]:
    """A released model's files on this machine, every one verified against the manifest before it is used.

    `spec` is NAME, NAME@ALIAS or NAME@VERSION; None means the champion of the only name there is.
    Raises ConfigError, StoreError, IntegrityError.
    """
    with open_registry() as models:
        chosen = names.parse_spec(spec) if spec else names.Spec(_only_name(models), names.CHAMPION)
        manifest = models.get(*chosen)
        folder = settings.Settings.load().home / "models" / manifest.name / str(manifest.version)
        folder.mkdir(parents=True, exist_ok=True)
        yield manifest, models.fetch(manifest, folder)


def withdrawn(manifest: Manifest) -> str:
    """A sentence on the version's withdrawal; empty if it was not withdrawn."""
    with open_registry() as models:
        log = registry_log.Log(models.ledger(manifest.name).entries())  # whatever became of the alias
    entry = log.withdrawn.get(manifest.version)
    return "" if entry is None else registry_log.said(entry)


def _only_name(models: registry.Registry) -> str:
    names = models.names()
    if len(names) != 1:
        raise errors.ConfigError(
            "Without --model the registry must hold one model.",
            received=", ".join(names) or "an empty registry",
            todo="name one: --model NAME@champion" if names else "make one: fer retrain",
        )
    return names[0]


def lineage(manifest: ManifestRef, split: SplitRef, *others: Ref) -> dict[str, str]:
    """The sources, where the splits come from, and each stage's digest: what a release was made of.

    Of weights it is which they are: `registry:NAME@VERSION:…`, or their file's digest; `weights_origin` says what they
    were trained on.
    """
    stages = {"split": split.digest} | {
        ref.path.split("/")[0]: ref.identity if isinstance(ref, WeightsRef) else ref.digest
        for ref in (manifest, *others)
    }
    found = {"source": manifest.source, "split_origin": split.origin} | stages
    for ref in others:
        if isinstance(ref, WeightsRef):
            found["weights_origin"] = ref.origin
    return found
