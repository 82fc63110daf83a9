"""`fer recipes`: what can be chosen and set."""

import json

from shell import fer_here


def test_recipes_are_listed_and_shown(tmp_path, capsys):
    def recipes(*arguments: str) -> str:
        return fer_here("recipes", *arguments, home=tmp_path, capsys=capsys).stdout

    listed = recipes("list")
    assert all(name in listed for name in ("demo", "fer2013-cnn", "report-2024"))
    shown = recipes("show", "report-2024")
    assert "preprocess.height=224" in shown.splitlines()
    assert "train.timeout_s=7200.0" in shown.splitlines()
    assert "one of cross-entropy, focal, logit-adjusted" in " ".join(shown.split())
    assert "Expected:" in shown
    assert "registered as report-2024 (--name for another)" in shown
    demo = " ".join(recipes("show", "demo").split())
    assert "registered as demo from demo, as SOURCE-demo from other sources (--name for another)" in demo
    assert "fer sweep tries train.learning_rate=5e-4..5e-3 log" in shown.splitlines()
    assert "train.micro_batch (empty)" in shown.splitlines()
    other = recipes("show", "report-2024", "--set", "train.model.name=vgg")
    assert "train.model.widths=[64, 128, 256]" in other.splitlines()
    as_json = json.loads(recipes("show", "report-2024", "--json"))
    assert as_json["preprocess"]["height"] == 224
