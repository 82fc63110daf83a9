from pathlib import Path

import pytest

from fer.recipes import catalog, overrides, schema


@pytest.mark.parametrize(
    ("name", "sources", "expected"),
    [
        ("demo", ["demo"], "demo"),
        ("fer2013-cnn", ["kaggle:msambare/fer2013"], "fer2013-cnn"),
        ("fer2013-cnn", ["kaggle:msambare/fer2013/versions/1"], "fer2013-cnn"),
        ("fer2013-cnn", ["demo"], "demo-fer2013-cnn"),
        ("demo", ["kaggle:Some.One/My_Faces"], "some-one-my-faces-demo"),
        ("demo", ["folder:My Gesichter (für alle)"], "my-gesichter-fur-alle-demo"),
        ("demo", ["folder:顔"], "folder-demo"),
        ("demo", ["folder:demo"], "demo-demo"),
        ("demo", ["demo", "folder:demo"], "demo-demo"),
        ("demo", ["folder:b", "folder:a"], "a-b-demo"),
        ("report-2024", ["folder:a"], "report-2024"),
    ],
)
def test_a_recipes_own_name_is_for_the_source_that_it_is_made_for(name, sources, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for source in sources:
        if source.startswith("folder:"):
            Path(source.removeprefix("folder:")).mkdir()
    assert schema.model_name(catalog.load(name), sources) == expected
    assert schema.model_name(catalog.load(name), sources, "mine") == "mine"


def test_a_name_from_sources_is_one_that_the_registry_takes_and_its_own_however_long(tmp_path):
    recipe = catalog.load("fer2013-se-resnet")
    folders = [tmp_path / ("a" * 90), tmp_path / ("a" * 91), tmp_path / "_-_"]
    for folder in folders:
        folder.mkdir()
    names = [schema.model_name(recipe, [f"folder:{folder}"]) for folder in folders]
    assert len(set(names)) == 3
    assert [overrides.apply(recipe, None, name).model_name for name in names] == names
    assert all(name.endswith("-fer2013-se-resnet") for name in names)
