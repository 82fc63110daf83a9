"""A project folder: made once, and never over what is there."""

import pytest
import yaml

from fer import errors, settings
from flows.operating import project


def test_what_is_missing_is_made_and_what_is_there_stays(tmp_path):
    folder = tmp_path / "retraining"
    assert {file.how for file in project.write(folder)} == {"made"}
    assert {file.how for file in project.write(folder)} == {"same"}
    (folder / "prefect.yaml").write_text("name: ours\n")
    (folder / "README.md").unlink()
    assert {file.path.name: file.how for file in project.write(folder) if file.how != "same"} == {
        "prefect.yaml": "other",
        "README.md": "made",
    }
    assert (folder / "prefect.yaml").read_text() == "name: ours\n"


def test_its_deployments_are_for_the_pool_of_the_installation(tmp_path):
    project.write(tmp_path, "faces: 2")
    declared = yaml.safe_load((tmp_path / "prefect.yaml").read_text())
    assert {one["work_pool"]["name"] for one in declared["deployments"]} == {"faces: 2"}
    assert declared["name"] == "fer-retraining"


def test_the_folder_holds_the_deployments_and_every_setting_with_its_description(tmp_path):
    project.write(tmp_path)
    declared = yaml.safe_load((tmp_path / "prefect.yaml").read_text())
    assert all(one["entrypoint"].startswith("flows.") for one in declared["deployments"])
    lines = (tmp_path / "fer.env").read_text().splitlines()
    for described in settings.Settings().described():
        assert f"# {described.description}" in lines
        assert any(line.startswith(f"#{described.variable}=") for line in lines)
    assert all(line.startswith("#") or not line for line in lines)  # nothing is set
    assert "#FER_WORKSPACE=.fer/workspace" in lines
    assert (tmp_path / "fer.env").stat().st_mode & 0o077 == 0  # it may come to hold keys


def test_a_folder_that_can_not_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.WorkspaceError, match="fer init FOLDER"):
        project.write(tmp_path / "file" / "below")
