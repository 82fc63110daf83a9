import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fer import errors
from fer.models.networks import vgg
from fer.recipes import candidates as candidate_recipes
from fer.recipes import catalog
from flows.cli import app as cli


def test_candidates_are_recipes_of_the_same_data_with_settings_of_their_own():
    recipe = catalog.load("demo")
    candidates = candidate_recipes.recipes(recipe, {"as it is": [], "vgg": ["train.model.name=vgg"]})
    assert candidates["as it is"] == recipe
    assert candidates["vgg"].train.model == vgg.Config()


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ({}, "must have candidates"),
        ({"a": [], "": []}, "must have a name"),
        ({"a": [], "a ": []}, "must have a name"),
        ({"a": [], "b": ["split.seed=7"]}, r"same data.*another split for b"),
        ({"a": ["train.epochs=many"]}, r"train\.epochs"),
    ],
)
def test_candidates_that_cannot_be_compared_are_refused(candidates, message):
    with pytest.raises(errors.ConfigError, match=message):
        candidate_recipes.recipes(catalog.load("demo"), candidates)


def test_a_candidate_is_read_as_a_name_and_its_settings():
    candidates = candidate_recipes.parse(["cnn:", " a b : train.epochs=5  train.model.widths=[8, 16] ", "c: x=a:b"])
    assert candidates == {"cnn": [], "a b": ["train.epochs=5", "train.model.widths=[8, 16]"], "c": ["x=a:b"]}


def test_a_candidates_values_are_json_as_those_of_set_are():
    phases = '[{"epochs": 1, "train_from": "head"}, {"epochs": 4, "learning_rate": 5e-4}]'
    weights = ["train.weights=my file.h5", "train.weights_origin=other faces"]
    candidates = candidate_recipes.parse([f"a: {' '.join(weights)} train.phases={phases} train.seed=2"])
    assert candidates == {"a": [*weights, f"train.phases={phases}", "train.seed=2"]}
    recipe = candidate_recipes.recipes(catalog.load("demo"), candidates)["a"]
    assert [phase.epochs for phase in recipe.train.phases] == [1, 4]


@pytest.mark.parametrize("texts", [["vgg"], ["a:", "a : train.epochs=5"]])
def test_a_candidate_without_a_colon_or_a_name_of_its_own_is_refused(texts):
    with pytest.raises(errors.ConfigError, match="NAME: SETTING=VALUE"):
        candidate_recipes.parse(texts)


@given(st.lists(st.text(max_size=12), max_size=3))
def test_any_texts_are_candidates_or_a_config_error(texts):
    with contextlib.suppress(errors.ConfigError):
        candidate_recipes.recipes(catalog.load("demo"), candidate_recipes.parse(texts))


@pytest.mark.parametrize("text", [":", "vgg", "a: split.seed=7"])
def test_the_command_and_the_flow_refuse_the_same_candidates(text):
    with pytest.raises(errors.ConfigError):
        CliRunner().invoke(cli.app, ["compare", "--candidate", text], catch_exceptions=False)
