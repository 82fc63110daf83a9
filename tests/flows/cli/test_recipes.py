"""`fer recipes`: what can be chosen and set."""

import json

from shell import fer


def test_recipes_are_listed_and_shown(tmp_path):
    listed = fer("recipes", "list", home=tmp_path)
    assert all(name in listed.stdout for name in ("demo", "fer2013-cnn", "report-2024"))
    shown = fer("recipes", "show", "report-2024", home=tmp_path)
    assert "preprocess.height=224" in shown.stdout.splitlines()
    assert "train.timeout_s=7200.0" in shown.stdout.splitlines()
    assert "one of cross-entropy, focal, logit-adjusted" in " ".join(shown.stdout.split())
    assert "Expected:" in shown.stdout
    assert "registered as report-2024 (--name for another)" in shown.stdout
    demo = " ".join(fer("recipes", "show", "demo", home=tmp_path).stdout.split())
    assert "registered as demo from demo, as SOURCE-demo from other sources (--name for another)" in demo
    assert "fer sweep tries train.learning_rate=5e-4..5e-3 log" in shown.stdout.splitlines()
    assert "train.micro_batch (empty)" in shown.stdout.splitlines()
    other = fer("recipes", "show", "report-2024", "--set", "train.model.name=vgg", home=tmp_path)
    assert "train.model.widths=[64, 128, 256]" in other.stdout.splitlines()
    as_json = json.loads(fer("recipes", "show", "report-2024", "--json", home=tmp_path).stdout)
    assert as_json["preprocess"]["height"] == 224
