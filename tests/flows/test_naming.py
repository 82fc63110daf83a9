"""The names of runs, by which they can be told apart in a list."""

from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterName,
)
from prefect.client.schemas.objects import FlowRun

from fer.recipes import overrides
from flows import naming

pytestmark = pytest.mark.usefixtures("prefect_server")


def run_of(name: str) -> FlowRun:
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))
    return run


def named(**parameters: Any) -> str:
    """What a run with these parameters is called."""
    seen = []

    @flow(name="names", flow_run_name=naming.run_name)
    def run(
        sources: list[str],
        recipe: str = "demo",
        settings: overrides.RecipeSettings | None = None,
        model_name: str | None = None,
        model: str | None = None,
    ) -> None:
        from prefect import runtime

        seen.append(runtime.flow_run.name)

    run(**parameters)
    return seen[0]


def test_a_run_is_called_by_its_recipe_sources_model_and_settings():
    assert named(sources=["demo"]) == "demo from demo"
    settings = {"train": {"seed": 3, "epochs": 5}, "gate": {"margin": 0.02}}
    expected = "fer2013-cnn from kaggle:a/b, folder:/c as mine with train.seed=3 train.epochs=5 gate.margin=0.02"
    several = {"sources": ["kaggle:a/b", "folder:/c"], "recipe": "fer2013-cnn", "model_name": "mine"}
    assert named(**several, settings=settings) == expected
    assert named(**several, settings=overrides.RecipeSettings.model_validate(settings)) == expected


def test_runs_with_many_settings_have_names_that_differ_and_stay_short():
    many = ["train.epochs=3", "train.patience=2", "train.seed=1", "gate.margin=0.1", "gate.min_accuracy=0.1"]
    names = {
        named(sources=["demo"], settings=overrides.parse_settings([*many, f"preprocess.blur_kernel={size}"]))
        for size in (5, 7)
    }
    assert len(names) == 2
    assert all(name.startswith("demo from demo with train.seed=1 ") and " and 2 more (" in name for name in names)


def test_the_settings_that_a_name_leaves_out_are_in_the_parameters_of_the_run():
    many = ["train.epochs=3", "train.patience=2", "train.seed=9", "gate.margin=0.1", "gate.min_accuracy=0.1"]
    run = run_of(named(sources=["demo"], settings=overrides.parse_settings(many)))
    recorded = run.parameters["settings"]
    assert (recorded["train"]["epochs"], recorded["train"]["patience"], recorded["train"]["seed"]) == (3, 2, 9)
    assert (recorded["gate"]["margin"], recorded["gate"]["min_accuracy"]) == (0.1, 0.1)


def test_a_name_of_settings_that_will_be_refused_does_not_stop_the_run():
    assert named(sources=["demo"], settings=overrides.parse_settings(["train.epochs=-1"])) == "demo from demo"
    assert named(sources=["\x1b[31mfolder"], recipe="cake") == "cake from \\u001b[31mfolder"


def test_the_version_of_a_source_is_in_the_name_once_it_is_known():
    from fer.ingest.download import ResolvedSource
    from fer.ingest.sources import parse

    digest = "0123456789abcdef" * 4
    resolved = {
        "kaggle:a/b": ResolvedSource(identity="kaggle:a/b/versions/7", source=parse("kaggle:a/b")),
        "folder:c": ResolvedSource(identity=f"folder:sha256:{digest}", source=parse("demo")),
        "demo": ResolvedSource(identity='demo:{"seed": 1}', source=parse("demo")),
    }

    @flow(name="versions", flow_run_name=naming.run_name)
    def run(sources: list[str], recipe: str = "demo") -> None:
        naming.add_versions(resolved)

    run(list(resolved))
    run_of("demo from kaggle:a/b/versions/7, folder:c@01234567, demo")


def test_an_audit_is_called_by_the_model_too():
    assert named(sources=["demo"], model="/data/cnn.hdf5") == "demo from demo on cnn.hdf5"
