"""From a split to a model: which stages run, and which of several models is taken."""

import pytest

from fer.curation.refs import SplitRef
from fer.ingest.refs import ManifestRef
from fer.recipes import catalog, overrides
from fer.shards.refs import ShardsRef
from fer.training.refs import ModelRef, SeedsRef
from tasks import pipeline

CLASSES = ("happy", "sad")
MANIFEST = ManifestRef(source="x", layouts=("x",), classes=CLASSES, n_found=1, n_quarantined=0)
SPLIT = SplitRef(classes=CLASSES, counts={}, origin="drawn")
SHARDS = ShardsRef(classes=CLASSES, height=8, width=8, counts={}, mean=0.0, std=1.0)
ACCURACIES = {3: 0.8, 4: 0.9, 5: 0.7}


def model(seed):
    return ModelRef(
        digest=f"{seed}",
        model="cnn",
        classes=CLASSES,
        n_parameters=1,
        epochs_run=1,
        best_epoch=1,
        validation_accuracy=ACCURACIES[seed],
        train_seconds=1.0,
    )


@pytest.fixture
def trained():
    """The configs that were trained."""
    return []


@pytest.fixture
def steps(trained):
    def train(balanced, shards, weights, votes, config):
        trained.append(config)
        return model(config.seed)

    def choose_seed(models, seeds):
        accuracies = tuple(one.validation_accuracy for one in models)
        best = seeds[accuracies.index(max(accuracies))]
        spread = {"minimum": 0.0, "mean": 0.0, "sd": 0.0, "maximum": 0.0}
        return SeedsRef(path="seeds/1", seeds=seeds, accuracies=accuracies, chosen=best, **spread)

    return pipeline.Steps(
        preprocess=lambda *_: SHARDS,
        balance=lambda *_: SHARDS,
        fetch_weights=lambda *_: None,
        collect_votes=lambda *_: None,
        train=train,
        choose_seed=choose_seed,
    )


def recipe(*settings):
    return overrides.apply(catalog.load("demo"), overrides.parse_settings(["train.seed=3", *settings]))


def test_each_seed_is_a_training_of_its_own_and_the_chosen_one_s_model_is_the_run_s(steps, trained):
    result = pipeline.train(recipe("train.seeds=3"), MANIFEST, SPLIT, steps)
    assert [(config.seed, config.seeds) for config in trained] == [(3, 1), (4, 1), (5, 1)]
    assert (result.model, result.seeds.chosen) == (model(4), 4)
    assert result.inputs()[-2:] == (result.model, result.seeds)


def test_with_one_seed_there_is_no_choice(steps, trained):
    result = pipeline.train(recipe(), MANIFEST, SPLIT, steps)
    assert trained == [recipe().train]
    assert (result.model, result.seeds) == (model(3), None)
