"""The registry's tasks: whom a candidate must beat, and its release."""

import contextlib
from collections.abc import Iterator
from typing import Any

from prefect import task

from fer import embedded_store, preprocess, recipe, refs, settings
from fer import releases as release_stage
from tasks import artifacts, caching


@contextlib.contextmanager
def store_in_reach() -> Iterator[None]:
    """Hold the store for the length of a run, and find out at its begin, not after the training, if it is down."""
    with embedded_store.connect(settings.Settings.load()) as store:
        store.ping()
        yield


@task(name="find champion", **caching.UNCACHED, **caching.retried(3))
def find_champion(name: str, model: refs.ModelRef) -> refs.Contest:
    """Find the model that the candidate is compared with, and bring it here."""
    return release_stage.contest(name, model, caching.workspace())


def preprocessing_of(model: refs.ModelRef) -> preprocess.PreprocessConfig:
    """How the images that a model was trained on were preprocessed."""
    return release_stage.preprocessing_of(model, caching.workspace())


def _registration(parameters: dict[str, Any]) -> tuple[str, bool]:
    plan = parameters["plan"]
    key = release_stage.registration_key(plan, parameters["model"], parameters["evaluation"], parameters["verdict"])
    return key, release_stage.registered(plan.model_name, key) is not None


@task(**caching.keyed("register", _registration), **caching.retried(3))
def register(
    plan: recipe.Recipe,
    lineage: dict[str, str],
    model: refs.ModelRef,
    evaluation: refs.EvaluationRef,
    verdict: refs.VerdictRef,
    against: refs.Contest,
) -> refs.ReleaseRef:
    """Register the model as a version; move the champion alias to it if it passed its gates."""
    progress = artifacts.progress_bar("register")
    workspace = caching.workspace()
    return release_stage.register(
        plan, lineage, model, evaluation, verdict, against, workspace=workspace, progress=progress
    )
