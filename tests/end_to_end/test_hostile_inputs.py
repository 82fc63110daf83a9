"""One hostile input of each kind through the commands: a declared error with its exit code, and little memory."""

import hostile_corpus as corpus
import hostile_label_files as label_files
import hostile_models
import hostile_recipes
import psutil
import pytest
from typer.testing import CliRunner

from data_contracts import files
from data_contracts import files as names
from fer import errors
from fer.serving import local_releases
from fer.shards import preprocessing
from flows.cli import app as cli

pytestmark = pytest.mark.end_to_end

_CASES = {case.name: case for case in (*corpus.ALL, *label_files.LABEL_FILES)}
_MODELS = {model.name: model for model in hostile_models.MODELS}


@pytest.mark.parametrize(
    "name",
    ["zip-bomb", "zip-slip", "zip-of-broken-images", "csv-label-of-controls", "long-cells.parquet", "long-cell.json"],
)
def test_a_source_ends_in_a_declared_error(home, tmp_path, name):
    path = tmp_path / "source.zip"
    path.write_bytes(_CASES[name].data)
    before = psutil.Process().memory_info().rss
    run = CliRunner().invoke(cli.app, ["data", "check", f"archive:{path}"])
    assert isinstance(run.exception, errors.SourceError | errors.LabelError), run.output
    assert run.exception.exit_code == 3
    assert psutil.Process().memory_info().rss - before < 500 * 2**20


def test_a_recipe_ends_in_a_declared_error(tmp_path):
    recipe = next(recipe for recipe in hostile_recipes.RECIPES if recipe.name == "recipe-long-number")
    path = tmp_path / "recipe.toml"
    path.write_bytes(recipe.make())
    run = CliRunner().invoke(cli.app, ["recipes", "show", str(path)])
    assert isinstance(run.exception, errors.ConfigError), run.output


@pytest.fixture
def predicted(monkeypatch, tmp_path):
    """`fer predict` of one image by a released model of this file, as a child process loads it."""

    def run(data, image=None):
        config = preprocessing.PreprocessConfig(height=8, width=8)
        record = preprocessing.Preprocessing(
            config=config, classes=hostile_models.CLASSES, height=8, width=8, mean=1, std=1,
            probe=preprocessing.probe(config),
        )  # fmt: skip
        (tmp_path / names.PREPROCESSING).write_text(record.model_dump_json())
        (tmp_path / files.MODEL).write_bytes(data)
        (tmp_path / "face.png").write_bytes(corpus.encode(corpus.grey(), "PNG") if image is None else image)
        monkeypatch.setattr(local_releases, "local", lambda spec: local_releases.LocalRelease("demo@1", tmp_path))
        monkeypatch.setenv("FER_HOME", str(tmp_path))
        return CliRunner().invoke(cli.app, ["predict", "--whole", str(tmp_path / "face.png")])

    return run


def test_weights_of_nan_predict_nothing(predicted):
    run = predicted(hostile_models.with_value(float("nan")))
    assert isinstance(run.exception, errors.IntegrityError), run.output
    assert "finite numbers" in str(run.exception)
    assert "angry" not in run.output


def test_a_layer_of_millions_of_units_is_never_built(predicted):
    run = predicted(_MODELS["model-units-of-millions"].make())
    assert isinstance(run.exception, errors.IntegrityError), run.output
    assert "195 numbers for layers that need 195,000,000" in str(run.exception)


def test_an_image_that_claims_too_much_is_told(predicted):
    run = predicted(hostile_models.keras_file(), corpus.png(corpus.grey(), 0, size=(20_000, 20_000)))
    assert run.exit_code == 3
    assert "too large to be decoded" in " ".join(run.output.split())
