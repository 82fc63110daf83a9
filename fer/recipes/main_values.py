"""The named recipes side by side: what tells them apart, before one overrides any of it."""

from fer.recipes import catalog


def rows() -> list[dict[str, str | int | float]]:
    """A row for each named recipe, with the main values of its sections."""
    return [_row(name) for name in catalog.NAMES]


def _row(name: str) -> dict[str, str | int | float]:
    recipe = catalog.load(name)
    preprocess, train, strategy = recipe.preprocess, recipe.train, recipe.balance.strategy
    return {
        "recipe": name,
        "images": f"{preprocess.height}×{preprocess.width}",
        "balance": strategy if isinstance(strategy, str) else " + ".join(strategy),
        "model": train.model.name if train.weights is None else f"{train.model.name} ({train.weights})",
        "epochs": train.n_epochs,
        "batch": train.batch_size,
        "learning rate": f"{train.learning_rate:g}",
        "min. accuracy": f"{recipe.gate.min_accuracy:g}",
    }
