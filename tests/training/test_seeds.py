"""Which of several seeds' models is taken, and what is said of their spread."""

import json
import statistics

import pytest

from fer.engine.local_workspace import LocalWorkspace
from fer.models import saved_model
from fer.training import config as train_config
from fer.training import seeds
from fer.training.refs import ModelRef


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def model(workspace, seed, accuracy, loss):
    """A trained model whose second epoch is the best."""
    ref = ModelRef(
        digest=f"weights {seed}",
        model="cnn",
        classes=("happy", "sad"),
        n_parameters=1,
        epochs_run=3,
        best_epoch=2,
        validation_accuracy=accuracy,
        train_seconds=1.0,
    )

    def produce(out):
        history = {"validation_loss": [9.0, loss, 9.0], "validation_accuracy": [0.0, accuracy, 0.0]}
        (out / saved_model.HISTORY).write_text(json.dumps(history))
        return ref

    return workspace.run("train", f"{seed}", ModelRef, produce, resumable=False)


def chosen(workspace, scores):
    """The choice among models by their seed: accuracy and loss."""
    models = tuple(model(workspace, seed, *score) for seed, score in scores.items())
    return seeds.choose(models, tuple(scores), workspace=workspace)


def test_the_highest_validation_accuracy_is_chosen_and_the_spread_is_recorded(workspace):
    accuracies = {3: 0.8, 4: 0.9, 5: 0.7}
    ref = chosen(workspace, {seed: (accuracy, 1.0) for seed, accuracy in accuracies.items()})
    spread = seeds.SeedSpread.model_validate_json((workspace.folder(ref) / seeds.FILE).read_bytes())
    assert (ref.chosen, spread.chosen, spread.metric) == (4, 4, "validation accuracy")
    assert (spread.minimum, spread.maximum) == (0.7, 0.9)
    assert spread.mean == pytest.approx(0.8)
    assert spread.sd == pytest.approx(statistics.stdev(accuracies.values()))
    assert {score.seed: score.validation_accuracy for score in spread.seeds} == accuracies
    assert [score.model_digest for score in spread.seeds] == ["weights 3", "weights 4", "weights 5"]
    assert "seed 4 chosen of 3 by validation accuracy: mean 0.800, sd 0.100, 0.700 to 0.900" in ref.summary()


def test_of_equal_accuracies_the_lower_loss_is_better_and_then_the_lower_seed(workspace):
    assert chosen(workspace, {0: (0.9, 0.5), 1: (0.9, 0.4), 2: (0.8, 0.1)}).chosen == 1
    assert chosen(workspace, {7: (0.9, 0.5), 8: (0.9, 0.5)}).chosen == 7


def test_one_of_several_seeds_is_the_training_that_this_seed_is_by_itself():
    several = train_config.TrainConfig(seed=4, seeds=3, threads=1)
    assert several.by_seed() == {seed: train_config.TrainConfig(seed=seed, threads=1) for seed in (4, 5, 6)}
    alone = train_config.TrainConfig(seed=4, threads=1)
    assert alone.by_seed() == {4: alone}
