import json

import pytest

from fer.evaluation.comparing import costs
from fer.models import zoo
from fer.training.refs import ModelRef

MODEL = ModelRef(
    model="cnn", classes=("happy", "sad"), n_parameters=9, epochs_run=2, best_epoch=1, validation_accuracy=0.5,
    train_seconds=90.0,
)  # fmt: skip


def test_what_was_not_measured_is_not_made_up(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"12345")
    bare = costs.of(MODEL.model_copy(update={"epochs_run": 0}), tmp_path)
    assert bare.model_dump(exclude_none=True) == {"size_bytes": 5, "n_parameters": 9}
    (tmp_path / "training.json").write_text(json.dumps({"peak_memory_mb": 812.5, "energy_kwh": 0.25}))
    measured = costs.of(MODEL, tmp_path)
    assert (measured.train_minutes, measured.peak_memory_mb, measured.energy_kwh) == (1.5, 812.5, 0.25)


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_models_take_turns_and_each_is_timed(tmp_path):
    for number, width in enumerate((4, 8)):
        config = zoo.config("sequential-cnn", width=width, stem_filters=4, blocks=1, dense_units=8)
        model = zoo.build(config, height=16, width=16, n_classes=2, mean=128, std=64)
        (tmp_path / str(number)).mkdir()
        model.save(tmp_path / str(number) / "model.keras")
    first, second = costs.latencies([tmp_path / "0", tmp_path / "1"])
    for latency in (first, second):
        assert 0 < latency.image_ms_interval[0] <= latency.image_ms <= latency.image_ms_interval[1]
        assert latency.images_per_s > 0
