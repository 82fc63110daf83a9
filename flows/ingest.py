"""Bring data in, check it, and accept it if it is sound: what a schedule does every day, without training."""

from typing import Annotated

from prefect import flow
from pydantic import Field

import tasks.champions
import tasks.curation
import tasks.registry
from fer.recipes import catalog, overrides, schema
from fer.recipes.overrides import RecipeSettings
from flows import examining, missed_runs, naming, run_options
from tasks import block_names
from tasks.runs import outcomes
from tasks.runs.results import IngestResult
from tasks.shown import graph


@flow(name="ingest", flow_run_name=naming.run_name, **run_options.OPTIONS)
@outcomes.as_final_state
def ingest(
    sources: list[str],
    recipe: catalog.Choice = "fer2013-cnn",
    settings: RecipeSettings | None = None,
    kaggle_secret: block_names.Name | None = None,
    accept: bool = True,
    enough_new: Annotated[float, Field(gt=0)] = 0.1,
    show_faces: bool = False,
) -> IngestResult:
    """Bring the sources' data in, check and curate it, write the quality report, and accept it if it is sound.

    Args:
        sources: Each `kaggle:owner/slug[/versions/N]`, `archive:PATH.zip`, `folder:PATH` or `demo`; merged to one.
        recipe: The recipe whose classes, contracts, policies and split hold: a name, or the path of a `.toml` file.
        settings: Settings in place of the recipe's own; empty fields keep the recipe's.
        kaggle_secret: The Prefect Secret block with the Kaggle key; without it the environment or `kaggle.json`.
        accept: Remember the data as accepted, and share its report in the store; else only look.
        enough_new: New images, for each that the champion learned, from which on an event asks for a retraining.
        show_faces: Write a second report, which shows faces, on this machine.
    """
    if (end_state := missed_runs.superseded()) is not None:
        return end_state
    full_recipe = overrides.apply(catalog.load(recipe), settings)
    outcomes.tag(recipe=full_recipe.name)
    look = graph.phase("data", examining.examine)
    if not accept:
        with tasks.registry.workspace_in_reach():
            return look(full_recipe, sources, kaggle_secret, show_faces=show_faces)
    with tasks.registry.store_in_reach():
        data = look(full_recipe, sources, kaggle_secret, show_faces=show_faces, share=True)
        tasks.curation.accept(full_recipe.name, sources, data, full_recipe.split)
        model_name = schema.model_name(full_recipe, sources)
        tasks.champions.tell_of_growth(model_name, full_recipe.name, sources, data.split, enough_new)
        return data
