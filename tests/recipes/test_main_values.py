"""The table of recipes says what they say."""

from fer.recipes import catalog, main_values


def test_each_named_recipe_has_a_row_with_its_own_values():
    rows = {row["recipe"]: row for row in main_values.rows()}
    assert list(rows) == list(catalog.NAMES)
    for name, row in rows.items():
        recipe = catalog.load(name)
        assert row["images"] == f"{recipe.preprocess.height}×{recipe.preprocess.width}"
        assert row["model"].startswith(recipe.train.model.name)
        assert (row["epochs"], row["batch"]) == (recipe.train.n_epochs, recipe.train.batch_size)
        assert float(row["learning rate"]) == recipe.train.learning_rate
        assert float(row["min. accuracy"]) == recipe.gate.min_accuracy
    assert rows["report-2024-mobilenet"]["model"] == "mobilenet-v2 (imagenet)"
