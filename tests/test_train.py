import json

import numpy as np
import pytest

from data_contracts import files
from fer import augment, child, errors, feed, models, refs, shards, stage, train, trained
from fer.workspace import Workspace

# Keras 3.15 on TensorFlow 2.21 and NumPy 2.4; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")

CLASSES = ("left", "right", "top")
SIZE = 16
NO_AUGMENTATION = augment.AugmentConfig(rotation_deg=0, shift=0, shear_deg=0, zoom=0, horizontal_flip=False)
SOME_AUGMENTATION = augment.AugmentConfig(rotation_deg=5, shift=0.05, shear_deg=0, zoom=0.1, horizontal_flip=False)


@pytest.fixture(autouse=True, scope="module")
def as_in_the_child():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in child.environment().items():
            patch.setenv(name, value)
        yield


def config(**changes) -> train.TrainConfig:
    small = {
        "model": models.ModelConfig(width=4, blocks=2, stem_filters=4, dense_units=8, dropout=0.2),
        "epochs": 6,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "augmentation": SOME_AUGMENTATION,
        "seed": 3,
    }
    return train.TrainConfig(**{**small, **changes})


def draw(n_images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with one brighter half: class indexes (N,) and pixels (N, 16, 16) uint8."""
    rng = np.random.default_rng(seed)
    class_indexes = (np.arange(n_images) % len(CLASSES)).astype(np.int32)
    pixels = rng.integers(0, 140, (n_images, SIZE, SIZE))
    bright = [np.s_[:, : SIZE // 2], np.s_[:, SIZE // 2 :], np.s_[: SIZE // 2, :]]
    for row, index in enumerate(class_indexes):
        pixels[row][bright[index]] += 60
    return class_indexes, pixels.astype(np.uint8)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def made(workspace) -> refs.ShardsRef:
    """Shards of 100 train and 40 validation images."""

    def produce(out):
        counts = {}
        for split, n_images in (("train", 100), ("validation", 40)):
            class_indexes, pixels = draw(n_images, seed=n_images)
            ids = [f"{split}{row}" for row in range(n_images)]
            shards.write(out / shards.name(split, 0), ids, class_indexes, pixels, CLASSES)
            counts[split] = dict(zip(CLASSES, np.bincount(class_indexes).tolist(), strict=True))
        (out / files.PREPROCESSING).write_text(json.dumps({"classes": CLASSES}))
        return refs.ShardsRef(classes=CLASSES, height=SIZE, width=SIZE, counts=counts, mean=85.0, std=50.0)

    return workspace.run("preprocess", "made", refs.ShardsRef, produce, resumable=False)


def fit_here(workspace, made, out, settings=None, progress=lambda *_: None):
    """Train in this process."""
    out.mkdir()
    folder = workspace.folder(made)
    (out / files.PREPROCESSING).write_bytes((folder / files.PREPROCESSING).read_bytes())
    settings = settings or config()
    return train.fit(
        str(folder), str(folder), str(out), made.mean, made.std, settings.model_dump(mode="json"), progress=progress
    )


@pytest.fixture(scope="module")
def model(workspace, made):
    """A model from a true child process, and what was told on the way."""
    told = []
    ref = train.train(made, made, config(), workspace=workspace, progress=lambda *what: told.append(what))
    return ref, told


def test_training_in_a_child_leaves_a_model_that_learned_something(workspace, model):
    ref, told = model
    folder = workspace.folder(ref)
    names = {path.name for path in folder.iterdir()}
    assert names >= {"model.keras", "preprocessing.json", "history.json"}
    assert ref.classes == CLASSES
    assert ref.validation_accuracy > 0.5
    history = json.loads((folder / "history.json").read_bytes())
    assert [len(values) for values in history.values()] == [6] * 6
    assert history["validation_accuracy"][ref.best_epoch - 1] == ref.validation_accuracy
    assert [what[:2] for what in told if "validation" in what[2]] == [(epoch, 6) for epoch in range(1, 7)]
    assert "images/s" in told[-1][2]


def test_the_same_inputs_give_the_same_bits_in_another_process(workspace, made, model, tmp_path):
    ref, _ = model
    again = fit_here(workspace, made, tmp_path / "again")
    assert again["digest"] == ref.digest
    loaded = trained.load(tmp_path / "again")
    assert trained.digest(loaded, (tmp_path / "again" / files.PREPROCESSING).read_bytes()) == ref.digest


def test_the_best_epoch_is_kept_and_patience_ends_training(workspace, made, tmp_path, monkeypatch):
    # Validation gets worse from the second epoch on.
    answers = iter([0.6, 0.9, 0.7, 0.5, 0.4])
    truth = draw(40, seed=40)[0]
    weights = []

    def scripted(model, pixels, batch_size):
        weights.append(model.get_weights())
        n_right = round(next(answers) * len(truth))
        said = np.where(np.arange(len(truth)) < n_right, truth, (truth + 1) % 3)
        return np.eye(3, dtype=np.float32)[said]

    import keras

    step_accuracies = []
    train_on_batch = keras.Model.train_on_batch

    def recorded(*arguments, **named):
        logs = train_on_batch(*arguments, **named)
        step_accuracies.append(logs["accuracy"])
        return logs

    monkeypatch.setattr(trained, "probabilities", scripted)
    monkeypatch.setattr(keras.Model, "train_on_batch", recorded)
    found = fit_here(workspace, made, tmp_path / "early", config(epochs=9, patience=2))
    assert (found["epochs_run"], found["best_epoch"], found["validation_accuracy"]) == (4, 2, 0.9)
    for kept, best in zip(trained.load(tmp_path / "early").get_weights(), weights[1], strict=True):
        np.testing.assert_array_equal(kept, best)
    history = json.loads((tmp_path / "early" / "history.json").read_bytes())
    np.testing.assert_allclose(history["accuracy"], np.reshape(step_accuracies, (4, 12)).mean(axis=1))


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_a_loss_that_is_not_finite_stops_with_step_and_rate(workspace, made, tmp_path):
    blank = made.model_copy(update={"std": 1e-42})  # over which no float32 can be divided
    with pytest.raises(errors.TrainingError, match=r"nan at step 1 of epoch 1, learning rate 0.00083"):
        fit_here(workspace, blank, tmp_path / "diverged")
    assert not (tmp_path / "diverged" / trained.MODEL).exists()


def test_no_validation_images_are_refused_before_a_child_is_started(workspace, made, tmp_path):
    empty = made.model_copy(update={"counts": {"train": made.counts["train"]}, "digest": "without"})
    with pytest.raises(errors.ConfigError, match="0 validation"):
        train.train(made, empty, config(), workspace=workspace)
    assert not (workspace.root / "train" / train.train.key(made, empty, config())).exists()


def test_the_key_follows_the_settings(made):
    assert isinstance(train.train, stage.Stage)
    assert train.train.key(made, made, config()) != train.train.key(made, made, config(epochs=4))


def test_a_longer_time_limit_does_not_train_anew(made):
    assert train.train.key(made, made, config()) == train.train.key(made, made, config(timeout_s=9))


def test_the_learning_rate_warms_up_and_falls_to_nothing():
    settings = config(epochs=10, warmup_epochs=2, learning_rate=0.1)
    rates = [train.learning_rate(settings, step, 20) for step in range(200)]
    assert rates[0] == pytest.approx(0.1 / 40)
    assert max(rates) == pytest.approx(0.1)
    assert rates.index(max(rates)) in (39, 40)
    assert rates[:40] == sorted(rates[:40])
    assert rates[40:] == sorted(rates[40:], reverse=True)
    assert rates[-1] < 1e-4


def test_a_constant_learning_rate_stays_after_the_warm_up():
    settings = config(epochs=10, schedule="constant", warmup_epochs=0, learning_rate=0.1)
    assert {train.learning_rate(settings, step, 5) for step in range(50)} == {0.1}


@pytest.fixture(scope="module")
def images() -> shards.Images:
    class_indexes, pixels = draw(50, seed=0)
    return shards.Images([f"id{row}" for row in range(50)], class_indexes, pixels[..., np.newaxis], CLASSES)


def epoch_of(images, epoch, augmentation, seed=0):
    found = list(feed.batches(images, 16, seed, epoch, augmentation))
    return np.concatenate([pixels for pixels, _ in found]), np.concatenate([labels for _, labels in found])


def test_an_epoch_shows_each_image_at_most_once_with_its_label(images):
    pixels, labels = epoch_of(images, 1, NO_AUGMENTATION)
    assert pixels.shape == (48, SIZE, SIZE, 1)  # 50 images make three batches of 16
    known = {image.tobytes(): label for image, label in zip(images.pixels, images.class_indexes, strict=True)}
    seen = [each.tobytes() for each in pixels]
    assert len(set(seen)) == 48
    assert [known[each] for each in seen] == labels.tolist()


def test_order_and_augmentation_are_those_of_the_seed_and_the_epoch(images):
    first, _ = epoch_of(images, 1, SOME_AUGMENTATION)
    np.testing.assert_array_equal(first, epoch_of(images, 1, SOME_AUGMENTATION)[0])
    assert (first != epoch_of(images, 2, SOME_AUGMENTATION)[0]).any()
    assert (first != epoch_of(images, 1, SOME_AUGMENTATION, seed=1)[0]).any()


def test_augmentation_changes_the_batch_and_not_the_data(images):
    before = images.pixels.copy()
    augmented, _ = epoch_of(images, 1, SOME_AUGMENTATION)
    plain, _ = epoch_of(images, 1, NO_AUGMENTATION)
    assert (augmented != plain).any(axis=(1, 2, 3)).mean() > 0.9
    np.testing.assert_array_equal(images.pixels, before)
