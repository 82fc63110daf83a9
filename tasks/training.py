"""Training's tasks: the weights to start from, the annotators' votes, and the model."""

import json

from fer import plain_text
from fer.curation.refs import SplitRef
from fer.models import saved_model
from fer.models.config import ModelConfig
from fer.registry import starting_weights as weights_stage
from fer.reports import pictures
from fer.shards.refs import ShardsRef
from fer.training import config as train_config
from fer.training import seeds as seeds_stage
from fer.training import soft_labels
from fer.training import train as train_stage
from fer.training.refs import ModelRef, SeedsRef, SoftLabelsRef, WeightsRef
from tasks import caching, stages
from tasks.shown import artifacts

_CURVES = "Loss and accuracy by epoch"


@caching.uncached("resolve weights", only_looks=True)
def resolve_weights(
    source: str, model: ModelConfig, declared_origin: str | None = None
) -> weights_stage.ResolvedWeights:
    """Find out which weights the source stands for now, so that the cache knows what it has."""
    return weights_stage.resolve(source, model, declared_origin)


@stages.task(weights_stage.fetch)
def fetch_weights(resolved: weights_stage.ResolvedWeights, split: SplitRef | None) -> WeightsRef:
    """Bring the weights that training starts from into the workspace; those of a release for this split."""
    return stages.run(weights_stage.fetch, resolved, split)


def starting_weights(source: str, config: train_config.TrainConfig, split: SplitRef) -> WeightsRef:
    """The weights that `source` stands for now, in the workspace, for a training by `config`."""
    resolved = resolve_weights(source, config.model, config.weights_origin)
    return fetch_weights(resolved, split if resolved.is_release else None)


@stages.task(soft_labels.collect)
def collect_votes(split: SplitRef) -> SoftLabelsRef:
    """Bring together what annotators voted about the train split."""
    return stages.run(soft_labels.collect, split)


def _pictures(history: dict[str, list[float]], best_epoch: int) -> str:
    drawn = pictures.learning(history, best_epoch)
    shown = " ".join(artifacts.picture(picture, f"{title} by epoch") for title, picture in drawn.items())
    return f"{shown}\n\n*{pictures.LEGEND}*"


def _curves(model: ModelRef) -> str:
    history = json.loads((caching.workspace().folder(model) / saved_model.HISTORY).read_bytes())
    return f"{plain_text.in_markdown(model.summary())}\n\n{_pictures(history, model.best_epoch)}"


def _show_curves(model: ModelRef) -> None:
    artifacts.markdown("learning-curves", _curves(model), _CURVES)


@stages.task(train_stage.train, on_cached=lambda model, _: _show_curves(model))
def train(
    balanced: ShardsRef,
    shards: ShardsRef,
    weights: WeightsRef | None,
    votes: SoftLabelsRef | None,
    config: train_config.TrainConfig,
) -> ModelRef:
    """Train the recipe's model in a process of its own."""
    page = artifacts.living_page("learning-curves", _CURVES)

    def draw(epoch: int, history: dict[str, list[float]]) -> None:
        best = pictures.best_epoch_of(history)
        accuracy = history["validation_accuracy"][best - 1]
        said = plain_text.in_markdown(f"{config.model.name}, epoch {epoch}: best validation accuracy {accuracy:.3f}")
        page(lambda: f"{said}\n\n{_pictures(history, best)}")

    with train_stage.watching(draw):
        model = stages.run(train_stage.train, balanced, shards, weights, votes, config)
    page(lambda: _curves(model), last=True)
    return model


def _show_seeds(chosen: SeedsRef) -> None:
    rows = [
        {"seed": seed, "validation accuracy": f"{value:.4f}", "chosen": "✓" if seed == chosen.chosen else ""}
        for seed, value in zip(chosen.seeds, chosen.accuracies, strict=True)
    ]
    artifacts.table("seeds", rows, chosen.summary())


def presumed_seed(seeds: tuple[int, ...]) -> dict[str, int]:
    """What a plan takes for granted: that the first of several seeds is chosen."""
    return {"chosen": seeds[0]}


@stages.task(
    seeds_stage.choose,
    on_cached=lambda chosen, _: _show_seeds(chosen),
    presumed=lambda parameters: presumed_seed(parameters["seeds"]),
)
def choose_seed(models: tuple[ModelRef, ...], seeds: tuple[int, ...]) -> SeedsRef:
    """Take the model that is best on validation, and say how far the seeds lie apart."""
    chosen = stages.run(seeds_stage.choose, models, seeds)
    _show_seeds(chosen)
    return chosen
