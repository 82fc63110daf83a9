"""The registry's tasks: whom a candidate must beat, and its release."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from prefect import get_run_logger
from prefect.exceptions import MissingContextError
from pydantic import ValidationError

from fer import errors, plain_text, settings
from fer.curation.refs import SplitRef
from fer.engine import connect
from fer.engine.code import fingerprint
from fer.engine.stage import Found
from fer.engine.store import objectstore, probing
from fer.evaluation.gates import beforehand
from fer.evaluation.refs import Champion, ChampionState, Examination, Judged, VerdictRef
from fer.housekeeping import budget
from fer.ingest.refs import ManifestRef
from fer.recipes import overrides
from fer.recipes.schema import Recipe
from fer.registry import register as register_stage
from fer.registry import registry
from fer.registry.opponents import champion as champion_stage
from fer.registry.refs import ReleaseRef
from fer.reports.overview import kept as overview
from fer.shards import preprocessing
from fer.training.refs import ModelRef
from tasks import caching, reports, signing
from tasks.planning import walks
from tasks.runs import events, mixed_code, outcomes
from tasks.runs.results import TrainedModel
from tasks.shown import artifacts


@contextlib.contextmanager
def store_in_reach(*, makes_outputs: bool = True) -> Iterator[None]:
    """Hold the store for the length of a run, and find out at its begin, not after the training, if it is of no use.

    A run that `makes_outputs` begins within the disk budget only.
    """
    configured = settings.Settings.load()
    if walks.current() is not None:
        with connect.store(configured) if connect.has_store(configured) else contextlib.nullcontext():
            yield
        return
    if makes_outputs:
        require_room(configured)
    with connect.store(configured) as store:
        require_usable(store, configured)
        signing.require(configured)
        with connect.workspace(configured) as workspace:
            mixed_code.tell(workspace)
            yield
            with artifacts.harmless("How the models stand"):
                overview.keep(configured.home, registry.Registry(store), workspace)


@contextlib.contextmanager
def workspace_in_reach() -> Iterator[None]:
    """Do the same with the workspace's store alone, if it is in one."""
    require_room(settings.Settings.load())
    with connect.workspace(settings.Settings.load()) as workspace:
        if workspace.objects is not None:
            require_usable(workspace.objects.store, settings.Settings.load())
        mixed_code.tell(workspace)
        yield


def require_room(configured: settings.Settings) -> None:
    """Warn where little of the disk budget is left. Raises WorkspaceError where nothing is."""
    if warning := budget.require(configured):
        caching.say(warning)


def require_usable(store: objectstore.ObjectStore, configured: settings.Settings) -> None:
    """Raise StoreError unless the store answers and, if not the embedded one, honours conditions and checksums.

    One that was of use before is waited for, a minute: it may be started anew.
    """
    waits_s = [float(2**n) for n in range(1, 6)] if connect.was_of_use(configured, store) else []
    while True:
        try:
            store.ping()
            if configured.store_endpoint is not None:
                probing.require(store)
        except errors.StoreUnavailable as error:
            if not waits_s:
                raise
            waiting = events.Retrying.after(error, "store", waits_s.pop(0))
            events.publish(waiting)
            with contextlib.suppress(MissingContextError):  # outside of a run
                reason = plain_text.visible(waiting.reason)
                get_run_logger().warning("%s Trying again in %.0f s.", reason, waiting.wait_s)
            time.sleep(waiting.wait_s)
        else:
            return


@caching.uncached("find champion", only_looks=True)
def find_champion(recipe: Recipe, data: ManifestRef | None = None, model: ModelRef | None = None) -> ChampionState:
    """Find the models that the candidate is compared with, and bring them here; without a candidate, the champion."""
    if walks.current() is not None and not connect.has_store(settings.Settings.load()):
        return ChampionState()
    candidate = None
    if data is not None and model is not None:
        candidate = champion_stage.Made(model, data.digest, code_fingerprint(recipe))
    return champion_stage.state(recipe.model_name, candidate, recipe.gate.max_age_days, caching.workspace())


def require_judgeable(
    recipe: Recipe, sources: list[str], champion: Champion | None, source: str, split: SplitRef
) -> None:
    """Raise ContractViolation or ConfigError if the gate would refuse any model trained on `split`."""
    if not walks.is_made(champion, split):
        return
    try:
        beforehand.require(champion, source, split, recipe.gate, workspace=caching.workspace())
    except errors.ContractViolation as error:
        outcomes.emit_too_small(recipe.name, sources, error)
        raise


def comparable(released: Champion, source: str, split: SplitRef) -> bool:
    """Whether a candidate from `source` that is tested on `split` can be compared with a release, if that is known."""
    return not walks.is_made(split) or beforehand.comparability(released, source, split) is None


def preprocessing_of(model: ModelRef) -> preprocessing.PreprocessConfig:
    """How the images that a model was trained on were preprocessed."""
    return champion_stage.preprocessing_of(model, caching.workspace())


def recipe_of(recipe: Recipe, released: Champion) -> Recipe:
    """`recipe` with all that made a release's model in place of its own: to train as the release was, on today's data.

    Raises ConfigError if this code can't: the recipe or a model of it is not known, or code has changed since.
    """
    made_by = champion_stage.procedure(recipe.model_name, released.version)
    try:
        own = Recipe.model_validate(made_by.recipe)
    except ValidationError as error:
        raise overrides.config_error(error) from error
    if code_fingerprint(own) != made_by.code:
        raise errors.ConfigError(
            "A release's recipe must be trained by the code that trained the release.",
            received=f"version {released.version} of other code",
            todo="see whether the candidate is to replace it, and promote it by hand; the next ones are then compared",
        )
    train = own.train.model_copy(update={"timeout_s": recipe.train.timeout_s})
    sections = {"preprocess": own.preprocess, "balance": own.balance, "train": train, "calibration": own.calibration}
    return recipe.model_copy(update=sections)


def _find_release(parameters: Mapping[str, Any]) -> Found | None:
    if walks.current() is not None and not connect.has_store(settings.Settings.load()):
        return None
    candidate = parameters["candidate"]
    release = register_stage.registered(candidate)
    record = register_stage.remembered(candidate, release, caching.workspace()) if release is not None else None
    return Found(release, record) if release is not None and record is not None else None


_CODE = (
    "fer.recipes.schema",
    "fer.training.train",
    "fer.evaluation.calibration.calibrate",
    "fer.evaluation.evaluate",
)  # what reaches the code of all stages


def code_fingerprint(recipe: Recipe) -> str:
    """SHA-256 (hex) of all code that the recipe's stages run, and of its conditions."""
    return fingerprint.read(*_CODE, type(recipe.train.model).__module__).digest


def candidate(
    recipe: Recipe,
    lineage: dict[str, str],
    learned: SplitRef,
    judged: Judged,
    trained: TrainedModel,
    verdict: VerdictRef,
    examination: Examination,
) -> register_stage.Candidate:
    """What is to be registered, by a run of today's code; `learned` is the split that it was trained on."""
    return register_stage.Candidate(
        name=recipe.model_name,
        recipe=recipe.model_dump_json(),
        code_fingerprint=code_fingerprint(recipe),
        lineage=lineage,
        split=learned,
        tested=judged.split,
        model=trained.model,
        seeds=trained.seeds,
        shards=trained.shards,
        evaluation=judged.evaluation,
        verdict=verdict,
        examination=examination,
        exports=judged.exports,
        gate=recipe.gate,
    )


_NAME = "register"


@caching.task(_NAME, _find_release, model_of=lambda parameters: parameters["candidate"].name)
def register(candidate: register_stage.Candidate, champion_state: ChampionState) -> ReleaseRef:
    """Register the model as a version; move the champion alias to it if it passed its gates."""
    began = time.monotonic()
    report = reports.evaluation_report(candidate.evaluation, candidate.model)
    workspace = caching.workspace()
    with artifacts.progress_bar(_NAME) as progress:
        release = register_stage.register(
            candidate, champion_state, report=report, by=caching.run_label(), workspace=workspace, progress=progress
        )
    register_stage.remember(candidate, release, time.monotonic() - began, workspace)
    return release
