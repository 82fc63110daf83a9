import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fer import errors
from fer.curation import baseline
from fer.curation.refs import Before, DriftRef, SplitRef, ValidationRef
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.remote_workspace import RemoteWorkspace

RECIPE = "demo"
KAGGLE = ("kaggle:a/b",)


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def validated(workspace, data):
    def produce(out):
        (out / "accepted.parquet").write_text(data)
        return ValidationRef(classes=(), n_found=1, n_accepted=1, quarantined={}, failures=(), warnings=())

    return workspace.run("validate", data, ValidationRef, produce, resumable=False)


def split_of(workspace, data):
    def produce(out):
        (out / "split.parquet").write_text(data)
        return SplitRef(classes=(), counts={}, origin="drawn")

    return workspace.run("split", data, SplitRef, produce, resumable=False)


def drifted(is_anchored=True):
    return DriftRef(
        n_baseline=None, n_new=0, n_gone=0, n_relabelled=0, is_anchored=is_anchored, failures=(), warnings=()
    )


def find(workspace, families=KAGGLE, recipe=RECIPE, drawing=""):
    return baseline.find(workspace, recipe, families, drawing)


def before(workspace, data, divided="", families=KAGGLE, drawing=""):
    found = find(workspace, families, drawing=drawing)
    return baseline.before(found, workspace, validated(workspace, data), drawing, divided)


def accept(workspace, data, divided="", families=KAGGLE, is_anchored=True, drawing=""):
    """What a run on `data`, `divided` by some settings, does when all is well; what it was given to compare with."""
    given = before(workspace, data, divided, families, drawing)
    made = validated(workspace, data), split_of(workspace, data + divided), drifted(is_anchored)
    baseline.accept(workspace, RECIPE, families, given, *made, drawing, divided)
    return given


def pointer(workspace):
    (path,) = (workspace.root / ".accepted").iterdir()
    return path


def test_the_first_data_has_nothing_to_be_compared_with(workspace):
    assert find(workspace) is None
    assert accept(workspace, "monday") == Before()


def test_new_data_is_compared_with_the_last_accepted(workspace):
    accept(workspace, "monday")
    given = accept(workspace, "tuesday")
    monday = validated(workspace, "monday")
    assert given == Before(validation=monday, anchor=monday, split=split_of(workspace, "monday"))
    assert accept(workspace, "wednesday").split == split_of(workspace, "tuesday")
    found = find(workspace)
    assert (found.validation.path, found.split.path) == ("validate/wednesday", "split/wednesday")


def test_the_same_data_again_is_given_what_it_was_given_the_first_time_however_often(workspace):
    accept(workspace, "monday")
    first = accept(workspace, "tuesday")
    assert [accept(workspace, "tuesday") for _ in range(3)] == [first] * 3
    assert accept(workspace, "wednesday").validation == validated(workspace, "tuesday")


def test_data_that_is_only_looked_at_is_not_remembered(workspace):
    accept(workspace, "monday")
    before(workspace, "tuesday")
    assert before(workspace, "wednesday").split == split_of(workspace, "monday")


def test_the_same_data_by_other_settings_keeps_the_sides_that_were_accepted_for_it(workspace):
    accept(workspace, "monday")
    accept(workspace, "tuesday")
    given = accept(workspace, "tuesday", divided="another threshold")
    assert given.split == split_of(workspace, "tuesday")
    assert given.validation == validated(workspace, "monday")  # never compared with itself
    assert accept(workspace, "tuesday", divided="another threshold") == given


def test_a_source_that_is_added_or_left_out_loses_no_history(workspace):
    folder = "folder:/faces"
    accept(workspace, "monday")
    assert accept(workspace, "tuesday", families=(folder, *KAGGLE)).split == split_of(workspace, "monday")
    assert before(workspace, "wednesday", families=(folder,)).split == split_of(workspace, "tuesday")
    assert before(workspace, "wednesday", families=(folder, *KAGGLE)).split == split_of(workspace, "tuesday")
    assert before(workspace, "wednesday").split == split_of(workspace, "monday")
    assert before(workspace, "wednesday", families=("folder:/others",)) == Before()
    assert find(workspace, recipe="another recipe") is None


def test_another_drawing_has_sides_of_its_own_and_the_first_finds_its_own_again(workspace):
    first = accept(workspace, "monday")
    other = accept(workspace, "monday", divided="another seed", drawing="another seed")
    assert other.split is None
    assert accept(workspace, "tuesday", drawing="another seed").split == split_of(workspace, "mondayanother seed")
    assert accept(workspace, "monday") == first
    assert before(workspace, "wednesday").split == split_of(workspace, "monday")


def test_the_anchor_stays_until_enough_new_images_were_tested(workspace):
    accept(workspace, "monday")
    for day in ("tuesday", "wednesday"):
        assert accept(workspace, day, is_anchored=False).anchor == validated(workspace, "monday")
    assert accept(workspace, "thursday").anchor == validated(workspace, "monday")
    assert before(workspace, "friday").anchor == validated(workspace, "thursday")


@pytest.mark.parametrize("gone", ["validate/monday", "split/monday", "split/monday/split.parquet"])
def test_output_that_is_gone_from_the_workspace_is_no_baseline(workspace, gone):
    accept(workspace, "monday")
    path = workspace.root / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert find(workspace) is None
    assert before(workspace, "tuesday") == Before()


def test_of_what_the_same_data_was_given_only_what_is_still_there_is_given_again(workspace):
    accept(workspace, "monday")
    accept(workspace, "tuesday")
    shutil.rmtree(workspace.root / "validate/monday")
    assert accept(workspace, "tuesday") == Before(split=split_of(workspace, "monday"))


@pytest.mark.parametrize("content", [b"", b"{", b'{"validation": {}}', b"\xff\x00", b"[]"])
def test_a_damaged_record_is_an_error_that_says_which_file_to_remove(workspace, content):
    accept(workspace, "monday")
    pointer(workspace).write_bytes(content)
    with pytest.raises(errors.WorkspaceError, match=r"demo-kaggle-a-b-\w+\.json.*remove the file"):
        find(workspace)
    pointer(workspace).unlink()
    assert accept(workspace, "tuesday") == Before()


def test_a_writer_killed_before_the_rename_leaves_the_old_record(workspace):
    accept(workspace, "monday")
    code = (
        f"import os, pathlib, signal, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_baseline; from fer.engine.local_workspace import LocalWorkspace\n"
        "workspace = LocalWorkspace(sys.argv[1])\n"
        "test_baseline.validated(workspace, 'tuesday'), test_baseline.split_of(workspace, 'tuesday')\n"
        "pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "test_baseline.accept(workspace, 'tuesday')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(workspace.root)], check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert find(workspace).split == split_of(workspace, "monday")
    assert accept(workspace, "tuesday").split == split_of(workspace, "monday")


def test_a_workspace_that_refuses_the_record_is_an_error_with_the_next_step(workspace):
    (workspace.root / ".accepted").write_text("a file in the way")
    with pytest.raises(errors.WorkspaceError, match="must be remembered"):
        accept(workspace, "monday")


def test_names_are_fit_for_files_and_different_for_recipes_and_sources():
    names = {
        baseline.name("fer2013-cnn", ("kaggle:msambare/fer2013",)),
        baseline.name("demo", ("kaggle:msambare/fer2013",)),
        baseline.name("fer2013-cnn", ("kaggle:other/fer2013",)),
        baseline.name("fer2013-cnn", ("folder:/a", "kaggle:msambare/fer2013")),
        baseline.name("fer2013-cnn", ("kaggle:msambare-fer2013",)),
        baseline.name("fer2013-cnn", ("folder:/" + "x" * 300,)),
    }
    assert len(names) == 6
    assert all(set(each) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and len(each) < 80 for each in names)


def test_sources_stand_for_the_same_whatever_their_version_and_order(tmp_path, monkeypatch):
    (tmp_path / "faces").mkdir()
    monkeypatch.chdir(tmp_path)
    folder = f"folder:{tmp_path / 'faces'}"
    assert baseline.families(["kaggle:a/b/versions/3", "folder:faces", "demo"]) == ("demo", folder, "kaggle:a/b")
    assert baseline.families([folder, "kaggle:a/b"]) == (folder, "kaggle:a/b")
    assert baseline.families(["folder:faces/../faces"]) == (folder,)


def test_a_link_to_a_folder_keeps_its_own_name_wherever_it_leads(tmp_path):
    (tmp_path / "faces").mkdir()
    (tmp_path / "current").symlink_to("faces")
    assert baseline.families([f"folder:{tmp_path / 'current'}"]) == (f"folder:{tmp_path / 'current'}",)


def test_what_was_accepted_on_one_machine_is_kept_to_on_another(store, tmp_path):
    one, two = (RemoteWorkspace(tmp_path / name, store) for name in ("one", "two"))
    accept(one, "monday")
    assert before(two, "tuesday").split == split_of(one, "monday")
    given = accept(two, "tuesday")
    assert given.validation == validated(one, "monday")
    assert find(one).split == split_of(one, "tuesday")
    [record] = store.list(".accepted/")
    store.put(record.key, b"{")
    with pytest.raises(errors.WorkspaceError, match=r"s3://.*/\.accepted/demo-kaggle-a-b-\w+\.json.*remove the file"):
        find(one)
