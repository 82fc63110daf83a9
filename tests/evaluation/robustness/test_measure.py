import numpy as np
import pytest

from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.evaluation.robustness import answers, figures, measure
from fer.evaluation.robustness.config import RobustnessConfig
from fer.images import corruptions
from fer.models import model_file, saved_model
from fer.progress import Reporter
from fer.shards import parquet
from fer.shards.refs import ShardsRef
from tests.support.untrained import CLASSES, SIZE, model_of

CONFIG = RobustnessConfig(corruptions=("gaussian_noise", "occlusion"), severities=(2, 4))


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def shards_of(workspace, per_shard: int = 30, classes=CLASSES, size=SIZE) -> ShardsRef:
    def produce(out):
        rng = np.random.default_rng(0)
        class_indexes = (np.arange(30) % 3).astype(np.int32)
        pixels = rng.integers(0, 256, (30, size, size), dtype=np.uint8)
        ids = [f"id{row:02}" for row in range(30)]
        for number, start in enumerate(range(0, 30, per_shard)):
            rows = slice(start, start + per_shard)
            parquet.write(out / parquet.name("test", number), ids[rows], class_indexes[rows], pixels[rows], classes)
        counts = {"test": dict.fromkeys(classes, 10)}
        return ShardsRef(classes=classes, height=size, width=size, counts=counts, mean=128.0, std=70.0)

    return workspace.run("preprocess", f"{per_shard}-{size}-{classes[0]}", ShardsRef, produce, resumable=False)


@pytest.mark.slow
def test_a_model_is_scored_under_each_condition(workspace, in_this_process):
    counts = []
    model, shards = model_of(workspace), shards_of(workspace)
    ref = measure.robustness(
        model, shards, "test", CONFIG, workspace=workspace, progress=Reporter(lambda *count: counts.append(count))
    )
    folder = workspace.folder(ref)
    found = answers.read(folder / answers.FILE)
    assert found.image_ids == [f"id{row:02}" for row in range(30)]
    assert counts[-1][:2] == (30 * 12, 30 * 12)
    loaded = saved_model.load(workspace.folder(model))
    pixels = parquet.load_split(workspace.folder(shards), "test").pixels
    noisy = corruptions.corrupt(pixels[..., 0], found.image_ids, "gaussian_noise", 4)[..., np.newaxis]
    for name, changed in {"clean": pixels, "mirror": pixels[:, :, ::-1], "gaussian_noise-4": noisy}.items():
        expected = saved_model.probabilities(loaded, changed, 30).argmax(axis=1)
        np.testing.assert_array_equal(found.predicted[name], expected)
    scores = figures.Robustness.model_validate_json((folder / measure.FILE).read_bytes())
    assert scores == figures.robustness(found, CONFIG, "test", 30)
    assert (ref.n_images, ref.accuracy, ref.mean_accuracy) == (30, scores.accuracy, scores.mean_accuracy)


@pytest.mark.slow
def test_neither_the_shards_nor_the_batches_change_the_answers(workspace, in_this_process, monkeypatch):
    model = model_of(workspace)
    digests = {
        measure.robustness(model, shards_of(workspace, n), "test", CONFIG, workspace=workspace).digest for n in (30, 7)
    }
    monkeypatch.setattr(model_file, "images_at_once", lambda height, width: 4)
    digests.add(measure.robustness(model, shards_of(workspace, 11), "test", CONFIG, workspace=workspace).digest)
    assert len(digests) == 1


@pytest.mark.slow
def test_a_model_with_its_classes_in_another_order_answers_by_their_names(workspace, in_this_process):
    shards = shards_of(workspace)
    straight, reversed_model = (
        answers.read(
            workspace.folder(
                measure.robustness(model_of(workspace, classes), shards, "test", CONFIG, workspace=workspace)
            )
            / answers.FILE
        )
        for classes in (CLASSES, CLASSES[::-1])
    )
    for name, predicted in straight.predicted.items():
        np.testing.assert_array_equal(reversed_model.predicted[name], 2 - predicted)


@pytest.mark.slow
def test_a_part_of_the_images_is_the_same_part_for_each_model(workspace, in_this_process):
    config = CONFIG.model_copy(update={"max_images": 9})
    found = [
        answers.read(
            workspace.folder(
                measure.robustness(model_of(workspace, classes), shards_of(workspace, n), "test", config,
                                   workspace=workspace)
            )
            / answers.FILE
        )
        for classes, n in ((CLASSES, 30), (CLASSES[::-1], 4))
    ]  # fmt: skip
    assert found[0].image_ids == found[1].image_ids
    assert len(found[0].image_ids) == 9


@pytest.mark.slow
def test_other_classes_and_another_size_are_refused(workspace, in_this_process):
    model = model_of(workspace)
    of_others, larger = shards_of(workspace, classes=("fear", "happy", "sad")), shards_of(workspace, size=20)
    with pytest.raises(errors.ConfigError, match=r"own classes.*fear"):
        measure.robustness(model, of_others, "test", CONFIG, workspace=workspace)
    with pytest.raises(errors.ConfigError, match="own size"):
        measure.robustness(model, larger, "test", CONFIG, workspace=workspace)
