"""Recipes in files: what they say, what they extend, and what is wrong with them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from typer.testing import CliRunner

from fer import errors
from fer.recipes import catalog, files
from flows.cli import app, options


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes a file in the working directory, and gives its name."""
    monkeypatch.chdir(tmp_path)

    def written(text, name="mine.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        return name

    return written


WHOLE = """
# Two feelings.
#
# Command: fer retrain --recipe two.toml
name = "two"
made_for = ["folder:faces"]
search = { "train.epochs" = "1..9" }
index.classes = ["happy", "sad"]
preprocess = { height = 24, width = 24 }
balance.strategy = "none"
gate = {}
[train]
epochs = 3
model = { name = "vgg", dropout = 0.4 }
""".lstrip()


def test_a_file_with_every_section_needs_no_other_recipe(write):
    recipe = catalog.load(write(WHOLE))
    assert (recipe.name, recipe.model_name, recipe.made_for) == ("two", "two", ("folder:faces",))
    assert recipe.index.classes == ("happy", "sad")
    assert (recipe.train.epochs, recipe.train.model.name, recipe.train.model.dropout) == (3, "vgg", 0.4)
    assert recipe.search == {"train.epochs": "1..9"}


def test_a_file_extends_a_named_recipe_field_by_field(write):
    base = catalog.load("fer2013-cnn")
    recipe = catalog.load(write('extends = "fer2013-cnn"\n[train]\nepochs = 3\nmodel.dropout = 0.1\n'))
    assert (recipe.train.epochs, recipe.train.model.dropout) == (3, 0.1)
    own = {"name": "mine", "model_name": "mine", "made_for": ()}
    model = base.train.model.model_copy(update={"dropout": 0.1})
    train = base.train.model_copy(update={"epochs": 3, "model": model})
    assert recipe == base.model_copy(update={"train": train} | own)


def test_a_file_extends_another_one_beside_it_wherever_it_is_read_from(write):
    write('extends = "demo"\nmodel_name = "faces"\nsplit.seed = 5\n', "recipes/base.toml")
    write('extends = "base.toml"\nname = "quick"\ntrain.epochs = 1\n', "recipes/quick.toml")
    recipe = catalog.load("recipes/quick.toml")
    assert (recipe.name, recipe.model_name, recipe.split.seed, recipe.train.epochs) == ("quick", "quick", 5, 1)


@pytest.mark.parametrize(
    ("file_name", "name"), [("My Faces.toml", "my-faces"), ("a_b.toml", "a-b"), ("x/y.z.toml", "y-z")]
)
def test_a_recipe_without_a_name_has_its_files(write, file_name, name):
    assert catalog.load(write('extends = "demo"\n', file_name)).name == name


def test_the_comment_that_a_file_begins_with_says_what_it_is_for(write):
    assert catalog.about(write(WHOLE)) == "Two feelings.\n\nCommand: fer retrain --recipe two.toml"
    assert catalog.about(write('extends = "demo"')) == "mine.toml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "demo"\ntrain.epoch = 3', r"mine\.toml: .*train\.epoch=3\. Next: take train\.epochs"),
        ('extends = "demo"\ntrain.epochs = "many"', r"mine\.toml: .*train\.epochs must be valid.*'many'"),
        ('extends = "demo"\ntrain.model.name = "vgg"\ntrain.model.width = 3', r"mine\.toml: .*train\.model\.width=3"),
        ('extend = "demo"', r"mine\.toml: .*Received: extend\. Next: take extends"),
        ('extends = "dmo"', r"mine\.toml: The recipe must be known.*'dmo'"),
        ("extends = 3", r"mine\.toml: extends must be the name of a recipe"),
        ('extends = "mine.toml"', r"must not extend itself"),
        ('extends = "none.toml"', r"mine\.toml: A recipe's file must be there\. Received: no file none\.toml"),
        ('extends = "demo"\nname = "demo"', "a name of its own"),
        ('extends = "demo"\nname = "Mine"', r"mine\.toml: "),
        ('extends = "demo"\nmodel_name = "a/b"', r"mine\.toml: .*model_name"),
        ('extends = "demo"\nsearch = 3', r"mine\.toml: .*search"),
        ('extends = "demo"\ntrain = 3', r"mine\.toml: .*train"),
        ("index.classes = ['happy', 'sad']", r"mine\.toml: A recipe must have the setting preprocess"),
        ("a = 1\nextends == 2", r"mine\.toml: a recipe's file must be TOML: .*line 2"),
        ('name = "a"\nname = "b"', r"mine\.toml: a recipe's file must be TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_name_and_the_field(write, text, message):
    with pytest.raises(errors.ConfigError, match=message):
        catalog.load(write(text))


def test_files_that_extend_each_other_are_refused(write):
    write('extends = "b.toml"', "a.toml")
    write('extends = "a.toml"', "b.toml")
    with pytest.raises(errors.ConfigError, match="must not extend itself"):
        catalog.load("a.toml")


def test_a_file_that_is_no_text_or_none_or_a_folder_is_a_config_error(write, tmp_path):
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "long.toml").write_bytes(b"#" * 100_001)
    for name in ("bytes.toml", "folder.toml", "long.toml", "none.toml"):
        with pytest.raises(errors.ConfigError, match=name):
            catalog.load(name)


@given(st.text(max_size=60))
def test_any_text_is_a_recipe_or_a_config_error(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("recipes") / "any.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        files.load(path, catalog.load)
    except errors.ConfigError as error:
        assert "any.toml" in str(error)  # noqa: PT017 - a recipe is as good


def test_the_command_shows_a_file_as_it_shows_a_named_recipe(write):
    shown = CliRunner().invoke(app.app, ["recipes", "show", write(WHOLE)]).output
    assert shown.startswith("Two feelings.")
    assert "\ntrain.epochs=3\n" in shown


def test_the_shell_completes_names_and_files(write):
    write(WHOLE, "mine.toml")
    write(WHOLE, "faces/other.toml")
    write("", "pyproject.toml")
    assert options.complete_recipes("mi") == ["mine.toml"]
    assert options.complete_recipes("faces/o") == ["faces/other.toml"]
    assert options.complete_recipes("fer2013-c") == ["fer2013-cnn"]
    assert options.complete_recipes("py") == []


@pytest.mark.parametrize(("choice", "valid"), [("demo", True), ("recipes/mine.toml", True), ("dmo", False)])
def test_a_deployments_parameter_is_a_name_or_a_file(choice, valid):
    try:
        TypeAdapter(catalog.Choice).validate_python(choice)
    except ValidationError:
        assert not valid
    else:
        assert valid
