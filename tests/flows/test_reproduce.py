"""What a manifest says of the sources and the recipe that made a release."""

import hashlib

import pytest
from versions import release

from fer import errors
from fer.recipes import catalog
from flows import reproduce


def manifest(folder, **changed):
    return release(folder / "1", 1, 20, **changed).manifest


@pytest.mark.parametrize(
    ("recorded", "given", "sources"),
    [
        ("demo", [], ["demo"]),
        ("kaggle:a/b/versions/3", [], ["kaggle:a/b/versions/3"]),
        ("archive:sha256:12", ["archive:x.zip"], ["archive:x.zip"]),
        (
            "archive:sha256:12 + kaggle:a/b/versions/3 + folder:sha256:34",
            ["folder:x", "archive:y.zip"],
            ["kaggle:a/b/versions/3", "folder:x", "archive:y.zip"],
        ),
    ],
)
def test_sources_are_those_of_the_manifest_at_their_versions(tmp_path, recorded, given, sources):
    assert reproduce.sources_of(manifest(tmp_path, inputs={"source": recorded}), given) == sources


@pytest.mark.parametrize(
    ("recorded", "given", "todo"),
    [
        ("archive:sha256:12", [], "--source archive:PATH.zip"),
        ("demo", ["folder:x"], "leave out --source"),
        ("demo + folder:sha256:12", ["folder:x", "folder:y"], "--source archive:PATH.zip"),
    ],
)
def test_archives_and_folders_must_be_named_and_nothing_else(tmp_path, recorded, given, todo):
    with pytest.raises(errors.ConfigError, match=todo):
        reproduce.sources_of(manifest(tmp_path, inputs={"source": recorded}), given)


def test_the_recipe_is_that_of_the_manifest_with_the_version_whose_weights_it_started_from(tmp_path):
    own = catalog.load("demo")
    own = own.model_copy(update={"train": own.train.model_copy(update={"weights": "registry:other@champion"})})
    recipe = own.model_dump(mode="json")
    made = manifest(tmp_path, recipe=recipe, inputs={"source": "demo", "weights": "registry:other@4:abc"})
    found = reproduce.recipe_of(made)
    assert found.train.weights == "registry:other@4"
    assert found.model_copy(update={"train": own.train}) == own


def test_a_recipe_that_this_code_does_not_know_is_an_error(tmp_path):
    recipe = catalog.load("demo").model_dump(mode="json")
    with pytest.raises(errors.ConfigError, match="nonsense"):
        reproduce.recipe_of(manifest(tmp_path, recipe=recipe | {"nonsense": 1}))


@pytest.fixture
def from_file(tmp_path):
    """A manifest of a release whose training started from the file `w.h5`."""
    (tmp_path / "w.h5").write_bytes(b"weights")
    own = catalog.load("demo")
    weights = {"weights": str(tmp_path / "w.h5"), "weights_origin": "ImageNet"}
    recipe = own.model_copy(update={"train": own.train.model_copy(update=weights)}).model_dump(mode="json")
    identity = f"sha256:{hashlib.sha256(b'weights').hexdigest()}"
    return manifest(tmp_path, recipe=recipe, inputs={"source": "demo", "weights": identity})


def test_weights_from_a_file_are_taken_from_where_it_is_now(tmp_path, from_file):
    there = str(tmp_path / "w.h5")
    assert reproduce.recipe_of(from_file).train.weights == there
    moved = str((tmp_path / "w.h5").rename(tmp_path / "moved.h5"))
    with pytest.raises(errors.SourceError, match=r"no file at .*w\.h5.*--weights"):
        reproduce.recipe_of(from_file)
    assert reproduce.recipe_of(from_file, moved).train.weights == moved
    (tmp_path / "other.h5").write_bytes(b"other")
    with pytest.raises(errors.SourceError, match="as they were: sha256:"):
        reproduce.recipe_of(from_file, str(tmp_path / "other.h5"))


def test_a_file_of_weights_is_named_for_a_release_that_started_from_one(tmp_path):
    recipe = catalog.load("demo").model_dump(mode="json")
    with pytest.raises(errors.ConfigError, match="leave out --weights"):
        reproduce.recipe_of(manifest(tmp_path, recipe=recipe, inputs={"source": "demo"}), "w.h5")
