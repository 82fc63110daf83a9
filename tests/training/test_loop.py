import contextlib
import json
import re
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts import files
from fer import errors
from fer.engine import outputs
from fer.images import augment
from fer.models import saved_model, zoo
from fer.models.networks import sequential_cnn, vgg
from fer.progress import Reporter, silent
from fer.shards import parquet
from fer.shards.refs import ShardsRef
from fer.training import config as train_config
from fer.training import distributed, input_pipeline, loop, memory, worker
from fer.training import trainer as trainers

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("keras_draws_alone")]

CLASSES = ("dark", "light")
SIZE = 8
NO_AUGMENTATION = augment.AugmentConfig(
    rotation_deg=0, shift=0, shear_deg=0, zoom=0, horizontal_flip=False, contrast=0, brightness=0
)
SEES_TWO = sequential_cnn.Config()  # images at once at least, for the batch norm after its dense layer
TWO_PHASES = (train_config.Phase(epochs=2), train_config.Phase(epochs=3, learning_rate=1e-3, warmup_epochs=0))


def config(**changes) -> train_config.TrainConfig:
    small = {
        "model": vgg.Config(stem_filters=2, widths=(2,), convolutions=1, squeeze=0, dropout=0.3),
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "augmentation": augment.AugmentConfig(rotation_deg=5, shift=0.05, shear_deg=0, zoom=0.1),
    }
    return train_config.TrainConfig(**{**small, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shards of 48 train and 24 validation images."""
    out = tmp_path_factory.mktemp("shards")
    for split, n_images in (("train", 48), ("validation", 24)):
        rng = np.random.default_rng(n_images)
        class_indexes = (np.arange(n_images) % 2).astype(np.int32)
        pixels = (rng.integers(0, 160, (n_images, SIZE, SIZE)) + 60 * class_indexes[:, None, None]).astype(np.uint8)
        ids = [f"{split}{row:03}" for row in range(n_images)]
        parquet.write(out / parquet.name(split, 0), ids, class_indexes, pixels, CLASSES)
    return out


def fit(folder, out, settings, micro_batch=None, progress=silent):
    out.mkdir(exist_ok=True)
    (out / files.PREPROCESSING).write_text("{}")
    counts = {"train": {"dark": 24, "light": 24}, "validation": {"dark": 12, "light": 12}}
    ref = ShardsRef(classes=CLASSES, height=SIZE, width=SIZE, counts=counts, mean=110.0, std=50.0)
    job = worker.TrainingJob(
        balanced_folder=folder,
        balanced=ref,
        shards_folder=folder,
        shards=ref,
        weights=None,
        votes=None,
        out=out,
        config=settings,
        micro_batch=micro_batch or settings.micro_batch or settings.batch_size,
    )
    return worker.fit(job.model_dump(mode="json"), progress=progress)


class Stopped(Exception):
    pass


def stop_after(monkeypatch, settings: train_config.TrainConfig, n_steps: int) -> None:
    """Have the training end as by a kill before step `n_steps`, counted from 0."""
    trainer = distributed.StrategyTrainer if settings.devices == "all" else trainers.LocalTrainer
    whole, n_done = trainer.step, 0

    def counted(*arguments):
        nonlocal n_done
        if n_done == n_steps:
            raise Stopped
        n_done += 1
        return whole(*arguments)

    monkeypatch.setattr(trainer, "step", counted)


@pytest.fixture(scope="module")
def undisturbed(folder, tmp_path_factory):
    """What a training gives that is not stopped, and where it is; each settings' once."""
    results = {}

    def fitted(settings):
        key = settings.model_dump_json()
        if key not in results:
            out = tmp_path_factory.mktemp("whole")
            results[key] = fit(folder, out, settings), out
        return results[key]

    return fitted


@pytest.mark.parametrize("changes", [{"phases": TWO_PHASES, "ema": 0.9}, {"epochs": 5, "patience": 1}])
def test_stopped_before_any_step_it_goes_on_to_the_same_bits_and_history(folder, tmp_path, undisturbed, changes):
    settings = config(**changes)
    whole, place = undisturbed(settings)
    n_done = 0  # steps of finished epochs, of 6 each
    for n_steps in (0, 5, 6, 11, 12, 13, 29):  # an attempt each, which goes on after the last finished epoch
        with pytest.MonkeyPatch.context() as patch:
            stop_after(patch, settings, n_steps - n_done)
            with contextlib.suppress(Stopped):
                fit(folder, tmp_path / "resumed", settings)
                break  # it had fewer steps
        n_done = n_steps // 6 * 6
    resumed = fit(folder, tmp_path / "resumed", settings)
    assert {**resumed, "train_seconds": 0} == {**whole, "train_seconds": 0}
    histories = [json.loads((out / saved_model.HISTORY).read_bytes()) for out in (place, tmp_path / "resumed")]
    for name in ("loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate"):
        assert histories[0][name] == histories[1][name]


def test_under_a_strategy_it_goes_on_to_the_same_bits_too(folder, tmp_path):
    settings = config(devices="all", ema=0.9)
    whole = fit(folder, tmp_path / "whole", settings)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, settings, 8)
        with pytest.raises(Stopped):
            fit(folder, tmp_path / "resumed", settings)
    assert fit(folder, tmp_path / "resumed", settings)["digest"] == whole["digest"]


def test_a_history_that_a_kill_left_an_epoch_short_is_made_whole(folder, tmp_path, undisturbed):
    settings = config(epochs=2)
    whole, place = undisturbed(settings)
    shutil.copytree(place, tmp_path / "some")
    path = tmp_path / "some" / saved_model.HISTORY
    history = json.loads(path.read_bytes())
    path.unlink()
    assert fit(folder, tmp_path / "some", settings)["digest"] == whole["digest"]
    assert json.loads(path.read_bytes()) == history


def test_the_seconds_of_all_attempts_count(folder, tmp_path, undisturbed):
    settings = config(epochs=2)
    whole, place = undisturbed(settings)
    once = whole["train_seconds"]
    assert once > 0
    shutil.copytree(place, tmp_path / "some")
    assert fit(folder, tmp_path / "some", settings)["train_seconds"] == once  # nothing was left to do


@pytest.mark.parametrize("devices", ["one", "all"])
def test_a_phase_trains_what_an_earlier_one_left_as_it_was(folder, tmp_path, monkeypatch, devices):
    phases = (
        train_config.Phase(epochs=1, train_from="head", batch_norm="frozen"),
        train_config.Phase(epochs=1, train_from="start", batch_norm="trained"),
    )
    seen, settings = [], config(phases=phases, devices=devices)
    trainer = distributed.StrategyTrainer if devices == "all" else trainers.LocalTrainer
    whole = trainer.step

    def watched(self, *arguments):
        step_result = whole(self, *arguments)
        seen.append(next(layer for layer in self.model.layers if layer.weights).get_weights()[0])
        return step_result

    monkeypatch.setattr(trainer, "step", watched)
    fit(folder, tmp_path / "out", settings)
    np.testing.assert_array_equal(seen[0], seen[5])  # the first kernel, after each step
    assert not np.array_equal(seen[6], seen[11])


def test_a_phase_has_its_own_learning_rate_and_begins_at_the_best_epoch(folder, tmp_path):
    settings = config(phases=TWO_PHASES)
    result = fit(folder, tmp_path / "phases", settings)
    history = json.loads((tmp_path / "phases" / saved_model.HISTORY).read_bytes())
    assert result["epochs_run"] == 5
    assert history["learning_rate"][2] == pytest.approx(1e-3 * 0.5 * (1 + np.cos(np.pi * 5 / 18)))


def test_micro_batches_change_the_weights_as_the_whole_batch_does(folder, tmp_path, monkeypatch):
    import keras

    def build(*_, height, width, n_classes, **__):  # without batch statistics and dropout, which see a micro-batch
        layers = [
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(3, activation="tanh"),
        ]
        return keras.Sequential(
            [keras.Input((height, width, 1)), *layers, keras.layers.Dense(n_classes, activation="softmax")]
        )

    monkeypatch.setattr(zoo, "build", build)
    weights_of = {}
    for n_at_once in (8, 4, 2, 1):
        fit(folder, tmp_path / f"by{n_at_once}", config(ema=0.5), micro_batch=n_at_once)
        weights_of[n_at_once] = saved_model.load(tmp_path / f"by{n_at_once}").get_weights()
    for n_at_once in (4, 2, 1):
        for one, other in zip(weights_of[8], weights_of[n_at_once], strict=True):
            np.testing.assert_allclose(one, other, atol=2e-6)


def test_an_attempt_that_left_no_checkpoint_leaves_no_smaller_micro_batch_either(folder, tmp_path):
    (tmp_path / "some" / ".scratch").mkdir(parents=True)
    (tmp_path / "some" / ".scratch" / "micro_batch.json").write_text("2")
    fit(folder, tmp_path / "some", config(epochs=1))
    assert json.loads((tmp_path / "some" / "training.json").read_bytes())["micro_batch"] == config().batch_size


def test_a_training_goes_on_with_another_micro_batch(folder, tmp_path):
    settings = config(epochs=2)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, settings, 8)
        with pytest.raises(Stopped):
            fit(folder, tmp_path / "some", settings, micro_batch=8)
    assert fit(folder, tmp_path / "some", settings, micro_batch=2)["epochs_run"] == 2


def test_an_attempt_that_goes_on_takes_no_more_images_at_once_than_the_one_before(folder, tmp_path, monkeypatch):
    settings = config(epochs=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "fitting_micro_batch", lambda *_, **__: 2)  # little memory is free
        stop_after(patch, settings, 8)
        with pytest.raises(Stopped):
            fit(folder, tmp_path / "some", settings)
    fit(folder, tmp_path / "some", settings)
    about = json.loads((tmp_path / "some" / "training.json").read_bytes())
    assert about["micro_batch"] == 2
    assert about["peak_memory_mb"] > 0


def test_the_average_is_what_is_validated_and_kept(folder, tmp_path, monkeypatch):
    trained_weights, validated = [], []
    whole_step, whole_validation = trainers.LocalTrainer.step, loop.TrainingLoop._validate

    def stepped(trainer, *arguments):
        step_result = whole_step(trainer, *arguments)
        trained_weights.append(trainer.model.get_weights())
        return step_result

    def scored(fitted):
        validated.append(fitted.model.get_weights())
        return whole_validation(fitted)

    monkeypatch.setattr(trainers.LocalTrainer, "step", stepped)
    monkeypatch.setattr(loop.TrainingLoop, "_validate", scored)
    fit(folder, tmp_path / "one", config(ema=0.5, epochs=3, patience=9))  # 18 steps, of which the 8th and 16th count
    # The share that is kept in 8 steps, after 16: min(0.5, 17 / 26) ** 8.
    share = np.float32(0.5**8)
    at_8, at_16, at_18 = (trained_weights[at - 1] for at in (8, 16, 18))
    expected = [share * one + (1 - share) * other for one, other in zip(at_8, at_16, strict=True)]
    for actual, desired in zip(validated[2], expected, strict=True):
        np.testing.assert_allclose(actual, desired, atol=1e-6)
    assert any(np.abs(one - other).max() > 1e-4 for one, other in zip(validated[2], at_18, strict=True))


def test_validation_that_is_not_finite_stops(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(loop.TrainingLoop, "_validate", lambda _: (float("nan"), 0.5))
    result = fit(folder, tmp_path / "nan", config())
    assert "validation loss must stay finite. Received: nan after epoch 1" in result["diverged"]["message"]
    assert not (tmp_path / "nan" / files.MODEL).exists()


def test_what_was_found_to_fit_stays_when_less_memory_is_free_later(folder, tmp_path, undisturbed):
    settings = config(epochs=2)
    whole, _ = undisturbed(settings)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, settings, 8)
        with pytest.raises(Stopped):
            fit(folder, tmp_path / "some", settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "fitting_micro_batch", lambda *_, **__: 2)
        assert fit(folder, tmp_path / "some", settings)["digest"] == whole["digest"]


def test_an_epoch_whose_loss_is_far_above_guessing_stops(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(trainers.LocalTrainer, "step", lambda *_: trainers.StepResult(7.0, 0.5))
    result = fit(folder, tmp_path / "high", config())
    assert "7.0 in epoch 1, learning rate" in result["diverged"]["message"]
    assert not (tmp_path / "high" / files.MODEL).exists()


def test_the_finished_epochs_history_is_there_while_training_goes_on(folder, tmp_path):
    lengths = []

    def count(done, total, text):
        if "validation" in text:
            lengths.append(len(json.loads((tmp_path / "live" / saved_model.HISTORY).read_bytes())["loss"]))

    fit(folder, tmp_path / "live", config(), progress=Reporter(count))
    assert lengths == [1, 2, 3]


def test_the_memory_that_it_will_need_is_told_beside_what_there_is(folder, tmp_path):
    notes = []
    fit(folder, tmp_path, config(epochs=1), progress=Reporter(lambda *_: None, notes.append))
    (note,) = notes
    assert re.fullmatch(r"about \d+\.\d GB of memory .* with 8 images at once, \d+\.\d GB to be had .*", note)


def test_batch_and_micro_batch_must_go_together():
    with pytest.raises(ValueError, match="multiple of micro_batch 3"):
        config(batch_size=8, micro_batch=3)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model": SEES_TWO, "batch_size": 1}, "sequential-cnn must see 2 images at once or more, not 1"),
        ({"model": SEES_TWO, "micro_batch": 1}, "not 1"),
        ({"devices": "all", "micro_batch": 4}, "micro_batch must be empty with devices all"),
        ({"devices": "workers", "precision": "mixed-float16"}, "float32 or mixed-bfloat16 with devices workers"),
    ],
)
def test_what_can_not_go_together_is_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        config(**changes)


def test_the_learning_rate_warms_up_and_falls_to_nothing():
    (phase,) = config(epochs=10, warmup_epochs=2, learning_rate=0.1).resolved_phases
    rates = [loop.learning_rate(phase, "cosine", n_done, 20) for n_done in range(200)]
    assert rates[0] == pytest.approx(0.1 / 40)
    assert max(rates) == pytest.approx(0.1)
    assert rates.index(max(rates)) in (39, 40)
    assert rates[:40] == sorted(rates[:40])
    assert rates[40:] == sorted(rates[40:], reverse=True)
    assert rates[-1] < 1e-4


def test_a_constant_learning_rate_stays_after_the_warm_up():
    (phase,) = config(epochs=10, warmup_epochs=0, learning_rate=0.1).resolved_phases
    assert {loop.learning_rate(phase, "constant", n_done, 5) for n_done in range(50)} == {0.1}


def test_a_damaged_checkpoint_means_from_the_beginning(folder, tmp_path, undisturbed):
    settings = config(epochs=2)
    whole, _ = undisturbed(settings)
    (tmp_path / "damaged" / ".scratch").mkdir(parents=True)
    (tmp_path / "damaged" / ".scratch" / "checkpoint.npz").write_bytes(b"PK half of it")
    assert fit(folder, tmp_path / "damaged", settings)["digest"] == whole["digest"]


def test_a_split_smaller_than_a_batch_is_one_batch():
    assert trainers.batch_sizes(config(batch_size=64), 40, 64) == (40, 40)
    assert trainers.batch_sizes(config(batch_size=64), 40, 16) == (40, 10)
    assert trainers.batch_sizes(config(batch_size=64), 5, 16) == (5, 5)
    assert trainers.batch_sizes(config(batch_size=64), 400, 16) == (64, 16)
    assert trainers.batch_sizes(config(batch_size=64), 61, 32) == (60, 30)


@given(st.integers(1, 200), st.integers(1, 128), st.integers(1, 128))
def test_a_batch_goes_through_the_model_in_equal_parts_from_which_it_learns(n_images, batch_size, micro_batch):
    settings = config(model=SEES_TWO, batch_size=max(2, batch_size))
    batch, at_once = trainers.batch_sizes(settings, n_images, max(2, micro_batch))
    assert batch % at_once == 0
    most = min(max(2, micro_batch), settings.batch_size, n_images)
    assert most / 2 <= at_once <= most
    assert at_once >= min(2, n_images)
    whole = min(settings.batch_size, n_images)
    fitting_exactly = [size for size in range(max(2, (most + 1) // 2), most + 1) if whole % size == 0]
    assert (batch == whole) if fitting_exactly or most < 2 else (whole - at_once < batch < whole)


def test_a_phase_that_can_not_be_is_found_before_any_other_has_taken_its_time(folder, tmp_path, monkeypatch):
    n_steps = []
    monkeypatch.setattr(trainers.LocalTrainer, "step", lambda *_: n_steps.append(1))
    phases = (train_config.Phase(epochs=2), train_config.Phase(epochs=2, train_from="blok_1"))
    with pytest.raises(errors.ConfigError, match="'blok_1'"):
        fit(folder, tmp_path, config(phases=phases))
    assert n_steps == []


def test_what_was_found_to_fit_stays_after_a_full_disk_which_leaves_the_scratch_alone(folder, tmp_path, monkeypatch):
    settings, digests = config(epochs=2), []
    monkeypatch.setattr(memory, "fitting_micro_batch", lambda *_, **__: 4)
    for name in ("whole", "some"):
        if name == "some":
            with pytest.MonkeyPatch.context() as patch:
                stop_after(patch, settings, 8)
                with pytest.raises(Stopped):
                    fit(folder, tmp_path / name, settings)
            for path in (tmp_path / name).iterdir():
                if path.name != outputs.SCRATCH:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        digests.append(fit(folder, tmp_path / name, settings)["digest"])
    assert digests[0] == digests[1]


def test_the_estimate_is_that_of_the_phase_that_needs_most_and_of_no_more_images_than_there_are(folder, tmp_path):
    def foreseen(name, **changes):
        fit(folder, tmp_path / name, config(ema=0.5, **changes))
        return json.loads((tmp_path / name / "training.json").read_bytes())["estimated_memory_mb"]

    asked = []
    with pytest.MonkeyPatch.context() as patch:
        whole = memory.estimate
        patch.setattr(
            memory,
            "estimate",
            lambda model, at_once, **about: (
                asked.append((at_once, len(model.trainable_weights))) or whole(model, at_once, **{**about, "base": 0})
            ),
        )
        head = (train_config.Phase(epochs=1, train_from="head"),)
        of_head, of_all = foreseen("head", phases=head), foreseen("all", epochs=1)
        of_both = foreseen("both", phases=(*head, train_config.Phase(epochs=1)))
        foreseen("large", epochs=1, batch_size=512)
    assert of_head < of_all == of_both
    assert max(at_once for at_once, _ in asked) == 48


def test_an_epoch_that_diverged_is_in_no_checkpoint(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(trainers.LocalTrainer, "step", lambda *_: trainers.StepResult(7.0, 0.5))
    assert "diverged" in fit(folder, tmp_path / "high", config())
    assert not (tmp_path / "high" / ".scratch" / "checkpoint.npz").exists()


def test_the_progress_ends_whole_where_an_earlier_phase_ran_out_of_patience(folder, tmp_path):
    reported = []
    phases = (train_config.Phase(epochs=9, learning_rate=1e-9), train_config.Phase(epochs=1))
    result = fit(
        folder,
        tmp_path,
        config(phases=phases, patience=1),
        progress=Reporter(lambda done, total, _: reported.append((done, total))),
    )
    assert result["epochs_run"] < 10
    assert reported[-1] == (10, 10)


def test_where_images_are_augmented_changes_nothing_of_what_dropout_draws(folder, tmp_path):
    drawn = augment.AugmentConfig(
        rotation_deg=0, shift=0, shear_deg=0, zoom=0, horizontal_flip=False, contrast=0, brightness=1e-6
    )
    weights = []
    for place in ("host", "accelerator"):
        fit(folder, tmp_path / place, config(augmentation=drawn, augment_on=place, epochs=1))
        weights.append(saved_model.load(tmp_path / place).get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_errors_of_the_input_pipeline_are_raised(folder, tmp_path, monkeypatch):
    def broken(*_):
        raise errors.IntegrityError("Shards must be whole.")
        yield

    monkeypatch.setattr(input_pipeline.Resident, "batches", broken)
    with pytest.raises(errors.IntegrityError):
        fit(folder, tmp_path / "broken", config())
