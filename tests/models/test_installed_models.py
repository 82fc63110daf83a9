"""Models of packages that are installed beside the project, by the entry points `fer.models`."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

NET = '''
"""One convolution, of a package that is no part of this project."""

from typing import Literal

from pydantic import Field

from fer.models.config import ModelConfig

from . import parts


class Config(ModelConfig):
    """One convolution."""

    name: Literal["acme-tiny"] = "acme-tiny"
    filters: int = Field(default=4, ge=1, description="filters of the convolution")


def build(config, *, height, width, n_classes, mean, std):
    import keras

    from fer.models import layers

    pixels, x = layers.normalised(height, width, mean, std)
    x = keras.layers.Conv2D(config.filters, parts.KERNEL, activation="relu", name="convolution")(x)
    return layers.pooled(pixels, x, "acme_tiny", n_classes, 0.0)
'''
ENTRY_POINTS = "[fer.models]\nacme-tiny = acme_nets.tiny\n"


@pytest.fixture
def site(tmp_path) -> Path:
    """A folder with an installed package that has one model."""
    folder = tmp_path / "site"
    write(folder / "acme_nets" / "__init__.py", "")
    write(folder / "acme_nets" / "parts.py", "KERNEL = 3\n")
    write(folder / "acme_nets" / "unused.py", "KERNEL = 5\n")
    write(folder / "acme_nets" / "tiny.py", NET)
    install(folder, ENTRY_POINTS)
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def install(folder: Path, entry_points: str, version: str = "1.0") -> None:
    for old_info in folder.glob("*.dist-info"):
        for path in old_info.iterdir():
            path.unlink()
        old_info.rmdir()
    info = folder / f"acme_nets-{version}.dist-info"
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: acme-nets\nVersion: {version}\n")
    write(info / "entry_points.txt", entry_points)
    write(info / "RECORD", "acme_nets/__init__.py,,\nacme_nets/tiny.py,,\n")


def run(site: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own, beside which the package is installed."""
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)


def json_of(site: Path, code: str, *arguments: str) -> dict:
    done = run(site, code, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


RECIPE = """
    import json, sys
    from fer import errors
    from fer.models import zoo
    from fer.recipes import catalog, overrides
    demo = catalog.load("demo")
    settings = overrides.parse_settings(["train.model.name=acme-tiny", "train.model.filters=8"])
    recipe = overrides.apply(demo, settings)
    again = type(recipe).model_validate_json(recipe.model_dump_json())
    refused = []
    for settings in (["train.model.name=nix"], ["train.model.name=acme-tiny", "train.model.filters=0"]):
        try:
            overrides.apply(demo, overrides.parse_settings(settings))
        except errors.ConfigError as error:
            refused.append(str(error))
    print(json.dumps({
        "kinds": list(zoo.KINDS), "model": recipe.train.model.model_dump(),
        "same": again.train.model == recipe.train.model,
        "refused": refused, "keras": "keras" in sys.modules,
    }))
"""


def test_a_recipe_names_an_installed_model_as_one_of_the_projects_own(site):
    answer = json_of(site, RECIPE)
    assert answer["kinds"][-1] == "acme-tiny"
    assert "vgg" in answer["kinds"]
    assert answer["model"] == {"name": "acme-tiny", "filters": 8}
    assert answer["same"]
    assert "'vgg'" in answer["refused"][0]
    assert "'acme-tiny'" in answer["refused"][0]
    assert "train.model.filters" in answer["refused"][1]
    assert not answer["keras"]


KEY = """
    import json
    from fer.models import zoo
    from fer.recipes import catalog
    from fer.training import train
    config = catalog.load("demo").train
    chosen = config.model_copy(update={"model": zoo.config("acme-tiny")})
    print(json.dumps({"chosen": train.train.code(chosen), "other": train.train.code(config)}))
"""


@pytest.mark.slow
def test_the_code_and_the_version_of_an_installed_model_are_in_the_key_of_its_training(site):
    before = json_of(site, KEY)
    assert before["chosen"] != before["other"]
    (site / "acme_nets" / "unused.py").write_text("KERNEL = 7\n")
    (site / "acme_nets" / "parts.py").write_text("# how large\nKERNEL = 3\n")
    assert json_of(site, KEY) == before
    for change in (
        lambda: (site / "acme_nets" / "parts.py").write_text("KERNEL = 5\n"),
        lambda: install(site, ENTRY_POINTS, version="1.1"),
        lambda: (site / "acme_nets" / "tiny.py").write_text(NET.replace("relu", "gelu")),
    ):
        change()
        after = json_of(site, KEY)
        assert after["chosen"] != before["chosen"]
        assert after["other"] == before["other"]
        before = after


@pytest.mark.parametrize(
    ("entry_points", "why"),
    [
        ("[fer.models]\nbroken = acme_nets.missing\n", "ModuleNotFoundError"),
        ("[fer.models]\nbroken = acme_nets.parts\n", "must have a Config"),
        ("[fer.models]\nbroken = acme_nets.tiny\n", "must have the name 'broken'"),
        ("[fer.models]\nvgg = acme_nets.tiny\n", "taken by fer.models.networks.vgg"),
    ],
)
def test_an_installed_model_that_can_not_be_used_is_left_out_with_a_warning(site, entry_points, why):
    install(site, entry_points)
    done = run(site, "from fer.models import zoo; print(zoo.KINDS['vgg'].__module__, 'broken' in zoo.KINDS)")
    assert done.stdout.split() == ["fer.models.networks.vgg", "False"]
    assert "acme-nets 1.0 can't be used" in done.stderr
    assert why in done.stderr


TRAINING = """
    import json, sys
    import numpy as np
    from data_contracts import files
    from fer.engine.local_workspace import LocalWorkspace
    from fer.images.augment import AugmentConfig
    from fer.models import saved_model, zoo
    from fer.shards import parquet
    from fer.shards.refs import ShardsRef
    from fer.training import train
    from fer.training.config import TrainConfig

    workspace = LocalWorkspace(sys.argv[1])
    classes = ("left", "right")

    def write(out):
        counts = {}
        for split in ("train", "validation"):
            pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16)).astype(np.uint8)
            labels = (np.arange(8) % 2).astype(np.int32)
            parquet.write(out / parquet.name(split, 0), [f"{split}{n}" for n in range(8)], labels, pixels, classes)
            counts[split] = dict.fromkeys(classes, 4)
        (out / files.PREPROCESSING).write_text(json.dumps({"classes": classes}))
        return ShardsRef(classes=classes, height=16, width=16, counts=counts, mean=128.0, std=60.0)

    shards = workspace.run("preprocess", "x", ShardsRef, write, resumable=False)
    config = TrainConfig(
        model=zoo.config("acme-tiny"), epochs=1, batch_size=4, threads=1,
        augmentation=AugmentConfig(rotation_deg=0, shift=0, shear_deg=0, zoom=0, horizontal_flip=False),
    )
    ref = train.train(shards, shards, None, None, config, workspace=workspace)
    model = saved_model.load(workspace.folder(ref))
    print(json.dumps({"model": ref.model, "layers": [layer.name for layer in model.layers]}))
"""


@pytest.mark.slow
def test_an_installed_model_is_trained_in_a_worker_process_and_loads_in_safe_mode(site, tmp_path):
    answer = json_of(site, TRAINING, str(tmp_path / "workspace"))
    assert answer["model"] == "acme-tiny"
    assert answer["layers"] == ["pixels", "normalise", "convolution", "pool", "dropout", "probabilities"]
