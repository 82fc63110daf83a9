import json
import math

import living
import numpy as np
import pytest
from pydantic import ValidationError

from data_contracts import files
from fer import errors
from fer.engine import stage
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.processes import child_process
from fer.images import augment
from fer.models import saved_model, validation
from fer.models.networks import sequential_cnn
from fer.progress import Reporter, silent
from fer.shards import parquet
from fer.shards.refs import ShardsRef
from fer.training import config as train_config
from fer.training import input_pipeline, train, worker

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("keras_draws_alone")]

CLASSES = ("left", "right", "top")
SIZE = 16
SOME_AUGMENTATION = augment.AugmentConfig(rotation_deg=5, shift=0.05, shear_deg=0, zoom=0.1, horizontal_flip=False)


def config(**changes) -> train_config.TrainConfig:
    small = {
        "model": sequential_cnn.Config(width=4, blocks=2, stem_filters=4, dense_units=8, dropout=0.2),
        "epochs": 6,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "augmentation": SOME_AUGMENTATION,
        "seed": 3,
    }
    return train_config.TrainConfig(**{**small, **changes})


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
    return LocalWorkspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def shards(workspace) -> ShardsRef:
    """Shards of 100 train and 40 validation images."""

    def produce(out):
        counts = {}
        for split, n_images in (("train", 100), ("validation", 40)):
            class_indexes, pixels = draw(n_images, seed=n_images)
            ids = [f"{split}{row:03}" for row in range(n_images)]
            parquet.write(out / parquet.name(split, 0), ids, class_indexes, pixels, CLASSES)
            counts[split] = dict(zip(CLASSES, np.bincount(class_indexes).tolist(), strict=True))
        (out / files.PREPROCESSING).write_text(json.dumps({"classes": CLASSES}))
        return ShardsRef(classes=CLASSES, height=SIZE, width=SIZE, counts=counts, mean=85.0, std=50.0)

    return workspace.run("preprocess", "made", ShardsRef, produce, resumable=False)


def fit_here(workspace, shards, out, settings=None, progress=silent):
    """Train in this process."""
    out.mkdir(exist_ok=True)
    folder = workspace.folder(shards)
    (out / files.PREPROCESSING).write_bytes((folder / files.PREPROCESSING).read_bytes())
    settings = settings or config()
    return worker.fit(job(out, settings, folder, shards).model_dump(mode="json"), progress=progress)


def job(out, settings, folder=None, shards=None) -> worker.TrainingJob:
    """A training on shards that are balanced already."""
    shards = shards or ShardsRef(classes=CLASSES, height=SIZE, width=SIZE, counts={}, mean=85.0, std=50.0)
    return worker.TrainingJob(
        balanced_folder=folder or out,
        balanced=shards,
        shards_folder=folder or out,
        shards=shards,
        weights=None,
        votes=None,
        out=out,
        config=settings,
        micro_batch=settings.micro_batch or settings.batch_size,
    )


@pytest.fixture(scope="module")
def model(workspace, shards):
    """A model from a true child process, and what was told on the way."""
    reports = []
    progress = Reporter(lambda *report: reports.append(report))
    ref = train.train(shards, shards, None, None, config(), workspace=workspace, progress=progress)
    return ref, reports


def test_training_in_a_worker_leaves_a_model_that_learned_something(workspace, model, shards):
    ref, reports = model
    folder = workspace.folder(ref)
    names = {path.name for path in folder.iterdir()}
    assert names >= {"model.keras", "preprocessing.json", "history.json", "validation.parquet"}
    outputs = validation.read(folder, len(CLASSES))
    right = outputs.probabilities.argmax(axis=1) == outputs.class_indexes
    assert right.mean() == ref.validation_accuracy
    assert len(set(outputs.image_ids)) == sum(shards.counts["validation"].values())
    assert ref.classes == CLASSES
    assert ref.validation_accuracy > 0.5
    history = json.loads((folder / "history.json").read_bytes())
    assert {len(values) for values in history.values()} == {6}
    assert history["validation_accuracy"][ref.best_epoch - 1] == ref.validation_accuracy
    assert [report[:2] for report in reports if "validation" in report[2]] == [(epoch, 6) for epoch in range(1, 7)]
    assert "images/s" in reports[-1][2]
    about = json.loads((folder / "training.json").read_bytes())
    assert about["micro_batch"] == config().batch_size
    assert 0.5 < about["estimated_memory_mb"] / about["peak_memory_mb"] < 2


def test_the_same_inputs_give_the_same_bits_in_another_process(workspace, shards, model, tmp_path):
    ref, _ = model
    again = fit_here(workspace, shards, tmp_path / "again")
    assert again["digest"] == ref.digest
    loaded = saved_model.load(tmp_path / "again")
    assert saved_model.digest(loaded, (tmp_path / "again" / files.PREPROCESSING).read_bytes()) == ref.digest


def test_streamed_and_augmented_on_the_accelerator_it_ends_in_the_same_bits_too(workspace, shards, tmp_path):
    settings = config(epochs=2, resident_mb=0, augment_on="accelerator")
    digests = {fit_here(workspace, shards, tmp_path / name, settings)["digest"] for name in ("one", "other")}
    assert len(digests) == 1
    names = [layer.name for layer in saved_model.load(tmp_path / "one").layers]
    assert (names[0], names[-1]) == ("normalise", "probabilities")  # the layer that augments is not saved


def test_a_streamed_validation_split_is_scored_as_one_in_memory(workspace, shards, tmp_path, monkeypatch):
    open_split = input_pipeline.open_split
    results = []
    for resident_mb in (1, 0):
        monkeypatch.setattr(
            input_pipeline,
            "open_split",
            lambda *arguments, mb=resident_mb: open_split(*arguments[:3], mb if arguments[1] == "validation" else 1),
        )
        results.append(
            {**fit_here(workspace, shards, tmp_path / str(resident_mb), config(epochs=1)), "train_seconds": 0}
        )
    assert results[0] == results[1]


def test_a_class_counts_as_much_as_its_weight(workspace, shards, tmp_path, monkeypatch):
    import keras

    weights_of = {label: set() for label in CLASSES}
    train_on_batch = keras.Model.train_on_batch

    def recorded(self, pixels, truth, sample_weight, **named):
        for name, row in zip(CLASSES, truth.T, strict=True):
            weights_of[name] |= set(sample_weight[row > 0].tolist())
        return train_on_batch(self, pixels, truth, sample_weight, **named)

    monkeypatch.setattr(keras.Model, "train_on_batch", recorded)
    weighed = shards.model_copy(update={"class_weights": {"right": 0.5, "left": 2.0}})
    fit_here(workspace, weighed, tmp_path / "weighed", config(epochs=1))
    assert weights_of == {"left": {2.0}, "right": {0.5}, "top": {1.0}}


def test_the_best_epoch_is_kept_and_patience_ends_training(workspace, shards, tmp_path, monkeypatch):
    # Validation gets worse from the second epoch on.
    answers = iter([0.6, 0.9, 0.7, 0.5, 0.4])
    truth = draw(40, seed=40)[0]
    weights = []

    def scripted(model, pixels, *_):
        weights.append(model.get_weights())
        n_right = round(next(answers, 0) * len(truth))  # beyond the epochs: of the trained model
        predicted = np.where(np.arange(len(truth)) < n_right, truth, (truth + 1) % 3)
        return np.eye(3, dtype=np.float32)[predicted]

    import keras

    step_accuracies = []
    train_on_batch = keras.Model.train_on_batch

    def recorded(*arguments, **named):
        logs = train_on_batch(*arguments, **named)
        step_accuracies.append(logs["accuracy"])
        return logs

    monkeypatch.setattr(saved_model, "outputs", scripted)
    monkeypatch.setattr(keras.Model, "train_on_batch", recorded)
    result = fit_here(workspace, shards, tmp_path / "early", config(epochs=9, patience=2))
    assert (result["epochs_run"], result["best_epoch"], result["validation_accuracy"]) == (4, 2, 0.9)
    for loaded, best in zip(saved_model.load(tmp_path / "early").get_weights(), weights[1], strict=True):
        np.testing.assert_array_equal(loaded, best)
    history = json.loads((tmp_path / "early" / "history.json").read_bytes())
    np.testing.assert_allclose(history["accuracy"], np.reshape(step_accuracies, (4, 12)).mean(axis=1))


def killer(after: int):
    """A progress that ends the training's process, as `kill -9` does, once it was told of `after` finished epochs."""

    def tell(done, total, text):
        if done == after and "validation" in text:
            children = living.children()  # of other tests too: Prefect's server, a store
            (server,) = [child for child in children if any("fork_server" in text for text in child.cmdline())]
            (running,) = server.children()
            running.kill()

    return Reporter(tell)


def test_killed_at_any_moment_it_goes_on_and_ends_in_the_same_bits(workspace, shards, tmp_path):
    settings = config(epochs=9, ema=0.9, mixup=0.2, cutmix=1.0, batch_size=8, micro_batch=4)
    whole = fit_here(workspace, shards, tmp_path / "whole", settings)
    after = int(np.random.default_rng().integers(1, 5))  # another moment in each run of the tests
    with pytest.raises(errors.Interrupted, match="killed"):
        train.train(shards, shards, None, None, settings, workspace=workspace, progress=killer(after))
    reports, notes = [], []
    resumed = train.train(
        shards,
        shards,
        None,
        None,
        settings,
        workspace=workspace,
        progress=Reporter(lambda *report: reports.append(report), notes.append),
    )
    n_done = reports[0][0]  # the bar begins there, not at 0
    assert after <= n_done <= min(done for done, _, _ in reports)
    assert notes[0] == f"goes on after epoch {n_done} of 9"
    assert resumed.digest == whole["digest"]
    assert min(done for done, _, note in reports if "validation" in note) > after  # what was finished is not done again
    assert list(workspace.folder(resumed).rglob("checkpoint.npz")) == []


def test_a_training_without_time_keeps_its_finished_epochs(workspace, shards):
    settings = config(epochs=4, seed=8)
    with pytest.raises(errors.OutOfTime, match="goes on after the last finished epoch"):
        train.train(shards, shards, None, None, settings.model_copy(update={"timeout_s": 0.5}), workspace=workspace)
    assert (workspace.root / ".partial" / "train" / train.train.key(shards, shards, None, None, settings)).is_dir()


def test_a_watcher_sees_each_epoch_and_can_stop_the_training(workspace, shards):
    seen = []

    def watch(epoch, history):
        seen.append((epoch, len(history["validation_accuracy"])))
        if epoch == 2:
            raise KeyError("enough")

    with train.watching(watch), pytest.raises(KeyError, match="enough"):
        train.train(shards, shards, None, None, config(epochs=50, seed=9), workspace=workspace)
    assert [epoch for epoch, _ in seen] == [1, 2]
    assert all(length >= epoch for epoch, length in seen)


def test_at_early_stopping_a_watcher_is_told_of_the_epochs_that_there_were(workspace, shards):
    seen = []
    with train.watching(lambda epoch, history: seen.append((epoch, len(history["loss"])))):
        ref = train.train(shards, shards, None, None, config(epochs=60, patience=1, seed=10), workspace=workspace)
    assert ref.epochs_run < 60
    assert len({epoch for epoch, _ in seen}) == len(seen)
    assert all(epoch == length for epoch, length in seen)
    assert seen[-1][0] == ref.epochs_run


@pytest.fixture
def tried(monkeypatch):
    """The micro-batches that children were given, whose memory is enough for 8 images."""
    micro_batches = []

    def run(function, arguments, job, *, progress):
        micro_batches.append(arguments["job"]["micro_batch"])
        if micro_batches[-1] > 8:
            raise errors.OutOfMemory("Training must have the memory it needs.")
        return {"micro_batch": micro_batches[-1]}

    monkeypatch.setattr(child_process, "run", run)
    return micro_batches


def in_worker(out, **changes):
    return train._in_worker(job(out, config(**changes)), silent)


def test_out_of_memory_half_as_many_images_go_at_once_until_it_fits(tried, tmp_path):
    assert in_worker(tmp_path, batch_size=64) == {"micro_batch": 8}
    assert tried == [64, 32, 16, 8]
    tried.clear()
    with pytest.raises(errors.OutOfMemory):
        in_worker(tmp_path, batch_size=36)
    assert tried == [36, 18, 9]


def test_half_of_what_went_at_once_and_not_of_the_batch(tried, tmp_path):
    (tmp_path / ".scratch").mkdir()
    (tmp_path / ".scratch" / "micro_batch.json").write_text("16")  # by the estimate
    assert in_worker(tmp_path, batch_size=64) == {"micro_batch": 8}
    assert tried == [64, 8]


def test_replicas_have_no_micro_batches_to_halve(tried, tmp_path):
    with pytest.raises(errors.OutOfMemory):
        in_worker(tmp_path, batch_size=64, devices="all")
    assert tried == [64]


def test_it_is_not_halved_to_one_image_where_a_batch_norm_sees_images_alone(tmp_path, monkeypatch):
    micro_batches = []

    def run(function, arguments, job, *, progress):
        micro_batches.append(arguments["job"]["micro_batch"])
        raise errors.OutOfMemory("Training must have the memory it needs.")

    monkeypatch.setattr(child_process, "run", run)
    with pytest.raises(errors.OutOfMemory):
        in_worker(tmp_path, batch_size=8)
    assert micro_batches == [8, 4, 2]


def test_what_diverges_names_step_rate_and_images_and_leaves_no_model(workspace, shards):
    endless, settings = shards.model_copy(update={"class_weights": {"left": 1e300}}), config(seed=99)  # no float32
    with pytest.raises(errors.Diverged, match=r"nan at step 1 of epoch 1, learning rate 0.00083.*8 images: ") as raised:
        train.train(endless, shards, None, None, settings, workspace=workspace)
    (note,) = [stored.document for stored in workspace.notes("diverged")]
    assert len(note["images"]) == 8
    assert set(note["images"]) <= {f"train{row:03}" for row in range(100)}
    assert note["images"][0] in str(raised.value)
    key = train.train.key(endless, shards, None, None, settings)
    assert not (workspace.root / "train" / key).exists()
    assert not (workspace.root / ".partial" / "train" / key).exists()


def test_votes_that_the_config_asks_for_must_be_given(workspace, shards):
    with pytest.raises(ValueError, match="votes=None"):
        train.train(shards, shards, None, None, config(soft_labels=True), workspace=workspace)


def test_a_precision_that_was_left_to_the_machine_must_be_resolved_before_it_is_keyed(workspace, shards):
    with pytest.raises(ValueError, match="precision"):
        train.train(shards, shards, None, None, config(precision="auto"), workspace=workspace)


def test_no_validation_images_are_refused_before_a_child_is_started(workspace, shards, tmp_path):
    empty = shards.model_copy(update={"counts": {"train": shards.counts["train"]}, "digest": "without"})
    with pytest.raises(errors.ConfigError, match="0 validation"):
        train.train(shards, empty, None, None, config(), workspace=workspace)
    assert not (workspace.root / "train" / train.train.key(shards, empty, None, None, config())).exists()


@pytest.mark.parametrize("endless", [math.inf, 1e300])
def test_a_warm_up_without_end_is_refused(endless):
    with pytest.raises(ValidationError, match="warmup_epochs"):
        config(warmup_epochs=endless)


def test_the_key_follows_the_settings(shards):
    assert isinstance(train.train, stage.Stage)
    assert train.train.key(shards, shards, None, None, config()) != train.train.key(
        shards, shards, None, None, config(epochs=4)
    )


def test_a_longer_time_limit_does_not_train_anew(shards):
    assert train.train.key(shards, shards, None, None, config()) == train.train.key(
        shards, shards, None, None, config(timeout_s=9)
    )
