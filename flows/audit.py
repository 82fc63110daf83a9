"""Audit a model on some data: a release on other data, or a model that was trained elsewhere."""

from pathlib import Path
from typing import NamedTuple

from prefect import flow

import tasks.evaluation
import tasks.registry
import tasks.shards
from fer import errors
from fer.evaluation.audits import adopt
from fer.evaluation.audits.audit import AuditedModel
from fer.evaluation.refs import CalibrationRef, Examination
from fer.models import foreign_file
from fer.models.foreign_file import InputFormat
from fer.recipes import catalog, overrides
from fer.recipes.overrides import RecipeSettings
from fer.recipes.schema import Recipe
from fer.training.refs import ModelRef
from flows import examining, missed_runs, naming, run_options
from tasks import audits, block_names
from tasks.runs import outcomes
from tasks.runs.results import AuditResult
from tasks.shown import graph


@flow(name="audit", flow_run_name=naming.run_name, **run_options.OPTIONS)
@outcomes.as_final_state
def audit(
    sources: list[str],
    model: str,
    recipe: catalog.Choice = "fer2013-cnn",
    settings: RecipeSettings | None = None,
    kaggle_secret: block_names.Name | None = None,
    input_format: InputFormat | None = None,
    robustness: bool = True,
) -> AuditResult:
    """Judge a model on the sources' test images: official, de-duplicated, with and without a twin, under corruption.

    Args:
        sources: Each `kaggle:owner/slug[/versions/N]`, `archive:PATH.zip`, `folder:PATH` or `demo`; merged to one.
        model: `NAME@VERSION` or `NAME@ALIAS` of the registry, or the path of a `.keras` or HDF5 file.
        recipe: The recipe by which the data is read and checked: a name, or the path of a `.toml` file.
        settings: Settings in place of the recipe's own; empty fields keep the recipe's.
        kaggle_secret: The Prefect Secret block with the Kaggle key; without it the environment or `kaggle.json`.
        input_format: Of a file: the order of its classes, how pixels are scaled, its size where it doesn't say.
        robustness: Score the model on corrupted and moved images too.
    """
    if (end_state := missed_runs.superseded()) is not None:
        return end_state
    base = overrides.apply(catalog.load(recipe), settings)
    outcomes.tag(recipe=base.name)
    if is_file(model):
        foreign = adopt.identify(Path(model), _required(input_format, model))
        with tasks.registry.workspace_in_reach():
            adopted = audits.adopt(foreign)
            about = audits.about_file(foreign, adopted)
            return _audited(base, sources, kaggle_secret, Audited(about, adopted), robustness)
    with tasks.registry.store_in_reach():
        name, released = audits.fetch(model)
        about = audits.about_release(name, released.model)
        audited = Audited(about, released.model, released.calibration)
        return _audited(base, sources, kaggle_secret, audited, robustness)


class Audited(NamedTuple):
    """A model, what is said of it, and what it brings to say how sure it is."""

    about: AuditedModel
    model: ModelRef
    calibration: CalibrationRef | None = None


def is_file(model: str) -> bool:
    """Whether a model is named by its file rather than by its name in the registry."""
    return "/" in model or Path(model).suffix.lower() in foreign_file.SUFFIXES


def as_audited(recipe: Recipe, classes: tuple[str, ...]) -> Recipe:
    """The recipe for an audit: the source's own splits, whole. What its policies would put aside stays in the test
    split and counts in the official figures, but not in those of its de-duplicated version.
    """
    policies = recipe.curate.policies
    softened = {
        name: {"quarantine": "drop", "stop": "keep"}.get(policy, policy)
        for name, policy in policies.model_dump().items()
    }
    own_classes = recipe.index.classes if set(recipe.index.classes) == set(classes) else classes
    return recipe.model_copy(
        update={
            "index": recipe.index.model_copy(update={"classes": own_classes}),
            "inspect": recipe.inspect.model_copy(update={"label_errors": False}),
            "curate": recipe.curate.model_copy(update={"policies": policies.model_copy(update=softened)}),
            "split": recipe.split.model_copy(update={"leakage": "keep"}),
        }
    )


def _audited(
    base: Recipe, sources: list[str], kaggle_secret: str | None, audited: Audited, with_robustness: bool
) -> AuditResult:
    model = audited.model
    recipe = as_audited(base, model.classes)
    data = graph.phase("data", examining.examine)(recipe, sources, kaggle_secret)
    shards = tasks.shards.preprocess(data.manifest, data.split, tasks.registry.preprocessing_of(model))
    evaluation = tasks.evaluation.evaluate(model, shards, data.split, calibration=audited.calibration)
    known = (data.validation, data.inspection, data.curation)
    examination = Examination(
        robustness=tasks.evaluation.robustness(model, shards, recipe.robustness) if with_robustness else None,
        slices=tasks.evaluation.slices(evaluation, *known, recipe.slices) if recipe.slices.enabled else None,
    )
    return audits.publish(audited.about, sources, recipe, data, model, evaluation, examination)


def _required(form: InputFormat | None, model: str) -> InputFormat:
    if form is None:
        raise errors.ConfigError(
            "The order of a model's classes must be known, which its file does not say.",
            received=model,
            todo="name the classes in the order of its outputs: --classes A,B,…",
        )
    return form
