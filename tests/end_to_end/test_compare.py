import json
from pathlib import Path

import pytest
import quick_demo

from fer.models.networks import mini_xception
from fer.recipes import catalog, overrides
from fer.training import hardware


@pytest.mark.end_to_end
@pytest.mark.usefixtures("in_this_process")
def test_two_models_are_trained_and_compared_on_the_same_images(home):
    from flows.compare import compare as flow

    result = flow(
        sources=["demo"],
        recipe="demo",
        settings=overrides.parse_settings([*quick_demo.SETTINGS, "train.epochs=1", "train.precision=auto"]),
        candidates={"cnn": [], "xception": ["train.model.name=mini-xception", "train.model.widths=[4,8]"]},
    )
    assert [row["model"] for row in result.rows] == ["sequential-cnn", "mini-xception"]
    record = json.loads(Path(result.reports["as JSON"]).read_text())
    assert record["rows"][0]["differences"] is None
    assert record["rows"][1]["differences"]["accuracy"]["interval"] is not None
    assert record["rows"][1]["costs"]["latency"]["image_ms"] > 0
    assert Path(result.reports["report"]).read_text().count("<svg") == 2
    recipes = {
        name: overrides.apply(catalog.load("demo"), overrides.parse_settings(assignments))
        for name, assignments in record["settings"].items()
    }
    assert (recipes["cnn"].train.epochs, recipes["xception"].train.epochs) == (1, 1)
    assert recipes["cnn"].train.precision == hardware.fastest_precision()
    assert recipes["xception"].train.model == mini_xception.Config(widths=(4, 8))
    text = Path(result.reports["as Markdown"]).read_text()
    assert "## xception\n\n* " in text
    assert r"* train.model.widths=\[4, 8\]" in text
    assert "| macro average |" in text
