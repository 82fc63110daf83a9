import json
from pathlib import Path

import keras
import pytest
import quick_demo

from fer.models.foreign_file import InputFormat
from fer.recipes import overrides

pytestmark = pytest.mark.end_to_end


@pytest.mark.usefixtures("in_this_process")
def test_a_model_that_was_trained_elsewhere_is_audited(home, tmp_path):
    from flows.audit import audit as flow

    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((20, 20, 1)),
            keras.layers.Conv2D(4, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    path = tmp_path / "elsewhere.hdf5"
    model.save(path)
    result = flow(
        sources=["demo"],
        model=str(path),
        recipe="demo",
        settings=overrides.parse_settings(quick_demo.SETTINGS),
        input_format=InputFormat(classes=("surprise", "happy", "sad"), scale="0..1"),
    )
    found = json.loads(Path(result.reports["as JSON"]).read_text())
    assert (found["model"]["kind"], found["model"]["height"], found["data"]["split_origin"]) == ("file", 20, "drawn")
    assert found["metrics"]["n_images"] == found["twins"]["n_images"] == found["data"]["n_images"]
    assert found["robustness"]["corruptions"][0]["kind"] == "contrast"
    assert found["costs"]["latency"]["image_ms"] > 0
    assert found["costs"]["train_minutes"] is None
    page = Path(result.reports["audit"]).read_text()
    assert f"{found['metrics']['accuracy']:.4f}" in page
    assert "Under corruption" in page
    assert "the drawn train split" in page
