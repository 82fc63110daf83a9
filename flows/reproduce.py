"""Make a release again from its manifest alone, in a workspace of its own, and compare what comes out."""

import shutil
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from prefect import flow
from pydantic import ValidationError

import tasks.registry
from data_contracts import files
from fer import errors, settings
from fer.curation.refs import PreviousData
from fer.engine import arithmetic, connect, runners
from fer.engine.refs import Ref
from fer.ingest import sources as source_forms
from fer.ingest.tombstones import records as tombstones
from fer.ingest.tombstones.records import Tombstones
from fer.models import saved_model
from fer.recipes import overrides, reproduction
from fer.recipes.reproduction import Reproduction
from fer.recipes.schema import Recipe
from fer.registry import names, releases, starting_weights, trained_on
from fer.registry.manifest import Manifest
from fer.registry.provenance import lineage
from flows import examining, retrain, run_options
from tasks import block_names, caching, pipeline
from tasks.runs import outcomes
from tasks.shown import graph

FOLDER = "reproductions"  # in FER_HOME


@flow(name="reproduce", flow_run_name="{model}", **run_options.OPTIONS)
@outcomes.as_final_state
def reproduce(
    model: str,
    sources: list[str] | None = None,
    kaggle_secret: block_names.Name | None = None,
    keep: bool = False,
    weights: str | None = None,
) -> Reproduction:
    """Make a release again from its manifest, and say whether its bits come out the same, or where they first differ.

    Nothing is registered or moved; no output of an earlier run is used, and none stays.

    Args:
        model: `NAME@VERSION` or `NAME@ALIAS`.
        sources: Where its data is now, if that was an archive or a folder: `archive:PATH.zip` or `folder:PATH`.
        kaggle_secret: The Prefect Secret block with the Kaggle key; without it the environment or `kaggle.json`.
        keep: Leave the workspace of the attempt in FER_HOME, to look into it.
        weights: Where the file of weights is now that its training started from, if it is not where it was.
    """
    configured = settings.Settings.load()
    with releases.open_registry() as models:
        manifest = models.get(*names.parse_spec(model))
        recipe, given = recipe_of(manifest, weights), sources_of(manifest, sources or [])
        home = configured.home / FOLDER / f"{manifest.name}-{manifest.version}-{uuid.uuid4().hex[:8]}"
        release = models.fetch(manifest, home / "release")
        try:
            with connect.alone(configured, home), tasks.registry.workspace_in_reach():
                before = reproduction.expected(manifest, release)
                found = _made_again(before, release, recipe, given, kaggle_secret)
                return found.model_copy(update={"n_forgotten": _n_forgotten(release, tombstones.read(models.store))})
        finally:
            if not keep:
                shutil.rmtree(home, ignore_errors=True)


def _n_forgotten(release: Path, forgotten: Tombstones | None) -> int:
    """How many of the images that a release was trained on or chosen by are to be forgotten."""
    if forgotten is None or not (release / files.TRAINED_ON).is_file():
        return 0
    known = trained_on.read(release / files.TRAINED_ON)["pixel_sha256"]
    return int(pc.sum(pc.is_in(known, pa.array(forgotten.digests(), pa.string()))).as_py() or 0)


def recipe_of(manifest: Manifest, weights_file: str | None = None) -> Recipe:
    """The recipe that made a release, its starting weights pinned to the version that they were, or taken from the file
    where they are now.

    Raises ConfigError if this code does not know such a recipe, SourceError if the file is not the one.
    """
    try:
        recipe = Recipe.model_validate(manifest.recipe)
    except ValidationError as error:
        raise overrides.config_error(error) from error
    identity, pinned = manifest.inputs.get(starting_weights.fetch.name, ""), recipe.train.weights
    if identity.startswith(starting_weights.OF_FILE):
        pinned = weights_file or pinned
        starting_weights.require_file(str(pinned), identity)
    elif weights_file is not None:
        raise errors.ConfigError(
            "Only weights from a file are named.",
            received=f"--weights {weights_file} for {identity or 'random weights'}",
            todo="leave out --weights",
        )
    elif identity.startswith(starting_weights.REGISTRY):
        pinned = identity.rpartition(":")[0]
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"weights": pinned})})


def sources_of(manifest: Manifest, given: list[str]) -> list[str]:
    """The sources that made a release, at their versions; those `given` in place of archives and folders, of which the
    manifest has the digests alone.

    Raises ConfigError if they are not as many.
    """
    recorded = manifest.inputs.get("source", "").split(source_forms.JOINED_BY)
    found = [name for name in recorded if name.startswith(("demo", "kaggle:"))]
    n_missing = len(recorded) - len(found)
    if len(given) != n_missing:
        raise errors.ConfigError(
            "The archives and folders that made a release must be named, and nothing else: it has their digests alone.",
            received=f"{len(given)} by --source, for {n_missing} of {', '.join(recorded)}",
            todo="--source archive:PATH.zip or folder:PATH for each of them" if n_missing else "leave out --source",
        )
    return [*found, *given]


def _made_again(
    before: reproduction.Expected, release: Path, recipe: Recipe, sources: list[str], kaggle_secret: str | None
) -> Reproduction:
    """The stages of a retraining but those that look at other models, compared after each phase: nothing is made of
    other data.
    """
    runner = runners.Processes()
    steps = pipeline.as_tasks(runner)
    previous = PreviousData(split=lineage.restore_previous_split(release, caching.workspace()))

    def compared(*refs: Ref, environment: dict[str, str] | None = None) -> Reproduction:
        made = lineage.trace(refs, caching.workspace())
        now = reproduction.Now(tasks.registry.code_fingerprint(recipe), environment or arithmetic.environment())
        return reproduction.compare(before, made, now)

    data = graph.phase("data", examining.examine)(recipe, sources, kaggle_secret, previous=previous)
    splits = retrain.splits_of(recipe, data)
    refs: list[Ref] = [data.validation, data.curation, data.split, splits.tested, splits.learned]
    if (found := compared(*refs)).first_difference:
        return found
    prepared = graph.phase("shards", pipeline.prepare)(recipe, data.manifest, splits.learned, steps)
    if (found := compared(*refs, prepared.balanced)).first_difference:
        return found
    trained = graph.phase("training", pipeline.fit)(recipe, prepared, splits.learned, steps)
    environment = saved_model.environment(caching.workspace().folder(trained.model))
    refs += trained.inputs()
    if (found := compared(*refs, environment=environment)).first_difference:
        return found
    measured = graph.phase("verdict", retrain.measured)(recipe, data, splits, trained, runner)
    refs += measured
    if (found := compared(*refs, environment=environment)).first_difference:
        return found
    examination, exports = graph.phase("release", retrain.examined)(recipe, data, splits, trained, *measured)
    return compared(*refs, *examination.refs(), *([] if exports is None else [exports]), environment=environment)
