import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fer import baseline, errors, refs
from fer.workspace import Workspace

NAME = "demo-archive"


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


def validated(workspace, data):
    def produce(out):
        (out / "accepted.parquet").write_text(data)
        return refs.ValidationRef(classes=(), n_found=1, n_accepted=1, quarantined={}, failures=(), warnings=())

    return workspace.run("validate", data, refs.ValidationRef, produce, resumable=False)


def divided(workspace, data):
    def produce(out):
        (out / "split.parquet").write_text(data)
        return refs.SplitRef(classes=(), counts={}, origin="drawn")

    return workspace.run("split", data, refs.SplitRef, produce, resumable=False)


def accept(workspace, data):
    """What a run on `data` does when all is well; what it was given to compare with."""
    validation = validated(workspace, data)
    before = baseline.before(workspace, NAME, validation)
    baseline.accept(workspace, NAME, before, validation, divided(workspace, data))
    return before


def pointer(workspace):
    (path,) = (workspace.root / ".accepted").iterdir()
    return path


def test_the_first_data_has_nothing_to_be_compared_with(workspace):
    assert baseline.find(workspace, NAME) is None
    assert accept(workspace, "monday") == refs.Before()


def test_new_data_is_compared_with_the_last_accepted(workspace):
    accept(workspace, "monday")
    before = accept(workspace, "tuesday")
    assert before == refs.Before(validation=validated(workspace, "monday"), split=divided(workspace, "monday"))
    assert accept(workspace, "wednesday").split == divided(workspace, "tuesday")
    found = baseline.find(workspace, NAME)
    assert (found.validation.path, found.split.path) == ("validate/wednesday", "split/wednesday")


def test_the_same_data_again_is_given_what_it_was_given_the_first_time_however_often(workspace):
    accept(workspace, "monday")
    first = accept(workspace, "tuesday")
    assert [accept(workspace, "tuesday") for _ in range(3)] == [first] * 3
    assert accept(workspace, "wednesday").validation == validated(workspace, "tuesday")


def test_data_that_is_only_looked_at_is_not_remembered(workspace):
    accept(workspace, "monday")
    baseline.before(workspace, NAME, validated(workspace, "tuesday"))
    assert baseline.before(workspace, NAME, validated(workspace, "wednesday")).split == divided(workspace, "monday")


@pytest.mark.parametrize("gone", ["validate/monday", "split/monday", "split/monday/split.parquet"])
def test_output_that_is_gone_from_the_workspace_is_no_baseline(workspace, gone):
    accept(workspace, "monday")
    path = workspace.root / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert baseline.find(workspace, NAME) is None
    assert baseline.before(workspace, NAME, validated(workspace, "tuesday")) == refs.Before()


def test_of_what_the_same_data_was_given_only_what_is_still_there_is_given_again(workspace):
    accept(workspace, "monday")
    accept(workspace, "tuesday")
    shutil.rmtree(workspace.root / "validate/monday")
    assert accept(workspace, "tuesday") == refs.Before(split=divided(workspace, "monday"))


@pytest.mark.parametrize("content", [b"", b"{", b'{"validation": {}}', b"\xff\x00", b"[]"])
def test_a_damaged_record_is_an_error_that_says_which_file_to_remove(workspace, content):
    accept(workspace, "monday")
    pointer(workspace).write_bytes(content)
    with pytest.raises(errors.WorkspaceError, match=rf"{NAME}\.json.*remove the file"):
        baseline.find(workspace, NAME)
    pointer(workspace).unlink()
    assert accept(workspace, "tuesday") == refs.Before()


def test_a_writer_killed_before_the_rename_leaves_the_old_record(workspace):
    accept(workspace, "monday")
    code = (
        f"import os, pathlib, signal, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_baseline; from fer.workspace import Workspace\n"
        "pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "workspace = Workspace(sys.argv[1])\n"
        "monday = test_baseline.baseline.find(workspace, test_baseline.NAME)\n"
        "other = monday.split.model_copy(update={'n_leaked': 9})\n"
        "test_baseline.baseline.accept(workspace, test_baseline.NAME, monday.before, monday.validation, other)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(workspace.root)], check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert baseline.find(workspace, NAME).split == divided(workspace, "monday")
    assert accept(workspace, "tuesday").split == divided(workspace, "monday")


def test_a_workspace_that_refuses_the_record_is_an_error_with_the_next_step(workspace):
    validation, division = validated(workspace, "monday"), divided(workspace, "monday")
    (workspace.root / ".accepted").write_text("a file in the way")
    with pytest.raises(errors.WorkspaceError, match="must be remembered"):
        baseline.accept(workspace, NAME, refs.Before(), validation, division)


def test_names_are_fit_for_files_alike_for_versions_and_different_for_recipes_and_sources():
    kaggle = "kaggle:msambare/fer2013/versions/{}"
    name = baseline.name("fer2013-cnn", kaggle.format(1))
    assert name == baseline.name("fer2013-cnn", kaggle.format(2))
    others = {
        baseline.name("demo", kaggle.format(1)),
        baseline.name("fer2013-cnn", "kaggle:other/fer2013"),
        baseline.name("fer2013-cnn", f"{kaggle.format(1)} + archive:abc"),
        baseline.name("fer2013-cnn", "kaggle:msambare-fer2013"),
        baseline.name("fer2013-cnn", "kaggle:" + "x" * 300),
    }
    assert len(others - {name}) == 5
    assert all(set(each) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and len(each) < 80 for each in others)
