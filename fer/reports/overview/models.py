"""How the registered models stand: champion, anchor, the test images' wear, and what has happened to the data since."""

import concurrent.futures

from fer import errors
from fer.curation import baseline
from fer.curation.refs import DriftRef, ValidationRef
from fer.engine.workspace import Workspace
from fer.evaluation.config import GateConfig
from fer.ingest import sources
from fer.registry import log as registry_log
from fer.registry import reads as registry_reads
from fer.registry import releases
from fer.registry.manifest import Manifest
from fer.registry.registry import Registry
from fer.reports.overview.document import Drift, Figures, Model, TestReads
from fer.reports.overview.document import Registry as Models

_DAY_S = 86_400
_READERS = 4


def all_standing(models: Registry, workspace: Workspace) -> Models:
    """How each model stands. Raises StoreError."""
    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        names = models.names()
        return Models(models=tuple(readers.map(lambda name: standing(models, name, workspace), names)))


def standing(models: Registry, name: str, workspace: Workspace | None) -> Model:
    """How a model stands. A part of the registry that was lost is its `problem`. Raises StoreError.

    Without a `workspace` nothing is known of the data.
    """
    try:
        state = models.ledger(name).read()
        versions = models.versions(name)
        reads = _reads(models, versions)
    except errors.IntegrityError as error:
        return Model(name=name, problem=str(error))
    last = versions[-1] if versions else None
    model = Model(
        name=name,
        n_versions=len(versions),
        reads=reads,
        last_version=last.version if last else None,
        last_status=last.status if last else "",
        last_utc=last.created_utc if last else None,
    )
    champion = next((manifest for manifest in versions if manifest.version == state.champion), None)
    if champion is None:
        lost = "" if state.champion is None else f"its champion, version {state.champion}, was lost"
        return model.model_copy(update={"problem": lost})
    moved = state.log.last_move
    since = champion.created_utc if moved is None else moved.at_utc
    best = releases.anchor_of(versions, champion, state.log)
    return model.model_copy(
        update={
            "champion": _figures(champion),
            "champion_since_utc": since,
            "age_days": (registry_log.now() - since).total_seconds() / _DAY_S,
            "max_age_days": int(champion.recipe.get("gate", {}).get("max_age_days", GateConfig().max_age_days)),
            "source": champion.inputs.get("source", ""),
            "anchor": None if best is None else _figures(best),
            "drift": None if workspace is None else since_training(champion, workspace),
        }
    )


def since_training(champion: Manifest, workspace: Workspace) -> Drift:
    """How the data accepted last differs from the champion's. It is found out once, and then kept in the workspace."""
    trained_on = champion.inputs.get("validate")
    try:
        accepted = _accepted(champion, baseline.accepted(workspace))
        if accepted is None:
            return Drift(unknown="no data of its recipe and sources was accepted here")
        if accepted.validation.digest == trained_on:
            return Drift(accepted_utc=accepted.accepted_utc)
        known = workspace.outputs("validate", ValidationRef)
        then = next((validation for validation in known if validation.digest == trained_on), None)
        if then is None:
            return Drift(unknown="the data that it was trained on is no more in the workspace")
        found = _compared(accepted.validation, then, champion, workspace)
    except (errors.FerError, OSError) as error:
        return Drift(unknown=str(error))
    return Drift(
        accepted_utc=accepted.accepted_utc,
        n_new=found.n_new,
        n_gone=found.n_gone,
        n_relabelled=found.n_relabelled,
        findings=(*found.failures, *found.warnings),
    )


def _accepted(champion: Manifest, known: list[baseline.Baseline]) -> baseline.Baseline | None:
    """What was accepted last of the champion's recipe and, where that can be told, its sources."""
    of_recipe = [one for one in known if one.recipe == champion.recipe.get("name")]
    try:
        families = baseline.families(champion.inputs.get("source", "").split(sources.JOINED_BY))
    except errors.FerError:  # it names a source by its digest
        families = ()
    same = [one for one in of_recipe if one.families == families]
    return max(same or of_recipe, key=lambda one: one.accepted_utc, default=None)


def _compared(now: ValidationRef, then: ValidationRef, champion: Manifest, workspace: Workspace) -> DriftRef:
    """By the champion's own bounds; by today's, where an older version of this project had others."""
    from fer.curation import drift  # a stage, whose code is read as it is imported

    try:
        config = drift.DriftConfig.model_validate(champion.recipe.get("drift", {}))
    except ValueError:
        config = drift.DriftConfig()
    return drift.drift(now, then, None, config, workspace=workspace)


def _figures(manifest: Manifest) -> Figures:
    """Older versions lack some of them."""
    metrics = manifest.metrics
    return Figures(
        version=manifest.version,
        n_images=metrics.get("n_images", 0),
        accuracy=metrics.get("accuracy", 0.0),
        accuracy_interval=metrics.get("accuracy_interval"),
        macro_f1=metrics.get("macro", {}).get("f1", 0.0),
        macro_f1_interval=metrics.get("macro_f1_interval"),
    )


def _reads(models: Registry, versions: list[Manifest]) -> TestReads | None:
    """Of the test images that were read last."""
    only_one = len({manifest.test_set for manifest in versions if manifest.test_set}) == 1  # overlaps no other

    def images_of(manifest: Manifest) -> registry_reads.Pixels | None:
        return None if only_one else registry_reads.tested_on(models, manifest)

    ledger = registry_reads.ledger(versions, images_of)
    if not ledger:
        return None
    last = ledger[-1]
    return TestReads(
        test_set=last.test_set,
        n_images=last.n_images,
        verdicts=last.per_image,
        max_reads=last.max_reads,
        is_worn=last.is_worn,
        accuracy_within=last.accuracy_within,
    )
