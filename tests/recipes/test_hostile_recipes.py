"""Every recipe file of hostile_recipes ends in an error that says what is wrong, quickly."""

import hostile_recipes
import pytest

from fer import errors
from fer.recipes import catalog, files


@pytest.mark.parametrize("recipe", [pytest.param(recipe, id=recipe.name) for recipe in hostile_recipes.RECIPES])
def test_a_hostile_recipe_ends_in_a_clear_error(tmp_path, recipe):
    path = tmp_path / "recipe.toml"
    path.write_bytes(recipe.make())
    with pytest.raises((errors.ConfigError, errors.LabelError), match=recipe.message) as refusal:
        files.load(path, catalog.load)
    assert len(str(refusal.value)) < 1_500
