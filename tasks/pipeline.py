"""From a split to a model – preprocess, balance, train – written once for every flow that trains."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from fer.curation.refs import SplitRef
from fer.engine import runners
from fer.engine.refs import Ref
from fer.engine.stage import Stage
from fer.ingest.refs import ManifestRef
from fer.recipes.schema import Recipe
from fer.registry import starting_weights as weights_stage
from fer.shards import balance as balance_stage
from fer.shards import preprocess as preprocess_stage
from fer.shards.balance import BalanceConfig
from fer.shards.preprocessing import PreprocessConfig
from fer.shards.refs import ShardsRef
from fer.training import seeds, soft_labels
from fer.training import train as train_stage
from fer.training.config import TrainConfig
from fer.training.refs import ModelRef, SeedsRef, SoftLabelsRef, WeightsRef
from tasks import shards, training
from tasks.runs.results import TrainedModel

RefT = TypeVar("RefT", bound=Ref)


class Steps(NamedTuple):
    """What runs each stage: tasks of a flow, or the stages themselves within one task."""

    preprocess: Callable[[ManifestRef, SplitRef, PreprocessConfig], ShardsRef]
    balance: Callable[[ShardsRef, BalanceConfig], ShardsRef]
    fetch_weights: Callable[[str, TrainConfig, SplitRef], WeightsRef]
    collect_votes: Callable[[SplitRef], SoftLabelsRef]
    train: Callable[[ShardsRef, ShardsRef, WeightsRef | None, SoftLabelsRef | None, TrainConfig], ModelRef]
    choose_seed: Callable[[tuple[ModelRef, ...], tuple[int, ...]], SeedsRef]


def as_tasks(runner: runners.Runner | None = None) -> Steps:
    """Each stage as a task of the flow that runs; `runner` preprocesses and balances, by default this machine."""
    runner = runner or runners.Processes()
    return Steps(
        preprocess=lambda manifest, split, config: shards.preprocess(manifest, split, config, runner),
        balance=lambda source, config: shards.balance(source, config, runner),
        fetch_weights=training.starting_weights,
        collect_votes=training.collect_votes,
        train=training.train,
        choose_seed=training.choose_seed,
    )


class Run(Protocol):
    """What runs a stage, or finds its output."""

    def __call__(self, stage: Stage[RefT], *inputs: Any) -> RefT: ...


def as_stages(run: Run, weights: Mapping[str, WeightsRef] | None = None) -> Steps:
    """Each stage itself, by `run`, within one task; `weights` by their source, where they are there already."""

    def fetch_weights(source: str, config: TrainConfig, split: SplitRef) -> WeightsRef:
        if weights is not None and source in weights:
            return weights[source]
        resolved = weights_stage.resolve(source, config.model, config.weights_origin)
        return run(weights_stage.fetch, resolved, split if resolved.is_release else None)

    return Steps(
        preprocess=functools.partial(run, preprocess_stage.preprocess),
        balance=functools.partial(run, balance_stage.balance),
        fetch_weights=fetch_weights,
        collect_votes=functools.partial(run, soft_labels.collect),
        train=functools.partial(run, train_stage.train),
        choose_seed=functools.partial(run, seeds.choose),
    )


@dataclass(frozen=True)
class Prepared:
    """A model's input: all splits, and train as it is balanced."""

    shards: ShardsRef
    balanced: ShardsRef


def prepare(recipe: Recipe, manifest: ManifestRef, split: SplitRef, steps: Steps) -> Prepared:
    """The split's images as the recipe's model takes them."""
    prepared = steps.preprocess(manifest, split, recipe.preprocess)
    return Prepared(prepared, steps.balance(prepared, recipe.balance))


def fit(recipe: Recipe, prepared: Prepared, split: SplitRef, steps: Steps) -> TrainedModel:
    """The recipe's model, trained from the weights and with the votes that the recipe asks for.

    Of several seeds the one that is best on validation; they are trained one after the other, as each may need all of
    the memory.
    """
    config, shards, balanced = recipe.train, prepared.shards, prepared.balanced
    weights = steps.fetch_weights(config.weights, config, split) if config.weights is not None else None
    votes = steps.collect_votes(split) if config.soft_labels else None
    models = {seed: steps.train(balanced, shards, weights, votes, one) for seed, one in config.by_seed().items()}
    spread = steps.choose_seed(tuple(models.values()), tuple(models)) if len(models) > 1 else None
    model = models[config.seed if spread is None else spread.chosen]
    return TrainedModel(shards=shards, balanced=balanced, weights=weights, votes=votes, model=model, seeds=spread)


def train(recipe: Recipe, manifest: ManifestRef, split: SplitRef, steps: Steps) -> TrainedModel:
    """The recipe's model, trained on the split's images. Outputs that an earlier run made are not made again."""
    return fit(recipe, prepare(recipe, manifest, split, steps), split, steps)
