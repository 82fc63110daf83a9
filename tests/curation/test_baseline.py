import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import curation as curation_contract
from data_contracts import files
from data_contracts import split as split_contract
from fer import errors
from fer.curation import baseline, split
from fer.curation.refs import CurationRef, DriftRef, InspectionRef, PreviousData, SplitRef, ValidationRef
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


def scope(families=KAGGLE, recipe=RECIPE, settings_key=""):
    return baseline.Scope(recipe, families, settings_key)


def find(workspace, **scoped):
    return baseline.find(workspace, scope(**scoped))


def previous(workspace, data, inputs="", **scoped):
    accepted = find(workspace, **scoped)
    return baseline.previous_data(accepted, workspace, validated(workspace, data), scope(**scoped), inputs)


def accept(workspace, data, inputs="", is_anchored=True, **scoped):
    """What a run on `data`, split by the settings in `inputs`, does when all is well; what it was compared with."""
    previous_data = previous(workspace, data, inputs, **scoped)
    refs = validated(workspace, data), split_of(workspace, data + inputs), drifted(is_anchored)
    baseline.accept(workspace, scope(**scoped), previous_data, *refs, inputs)
    return previous_data


def pointer(workspace):
    (path,) = (workspace.root / ".accepted").glob("*.json")
    return path


def test_the_first_data_has_nothing_to_be_compared_with(workspace):
    assert find(workspace) is None
    assert accept(workspace, "monday") == PreviousData()


def test_new_data_is_compared_with_the_last_accepted(workspace):
    accept(workspace, "monday")
    previous_data = accept(workspace, "tuesday")
    monday = validated(workspace, "monday")
    assert previous_data == PreviousData(validation=monday, anchor=monday, split=split_of(workspace, "monday"))
    assert accept(workspace, "wednesday").split == split_of(workspace, "tuesday")
    accepted = find(workspace)
    assert (accepted.validation.path, accepted.split.path) == ("validate/wednesday", "split/wednesday")


def test_the_same_data_again_is_given_what_it_was_given_the_first_time_however_often(workspace):
    accept(workspace, "monday")
    first = accept(workspace, "tuesday")
    assert [accept(workspace, "tuesday") for _ in range(3)] == [first] * 3
    assert accept(workspace, "wednesday").validation == validated(workspace, "tuesday")


def test_data_that_is_only_looked_at_is_not_remembered(workspace):
    accept(workspace, "monday")
    previous(workspace, "tuesday")
    assert previous(workspace, "wednesday").split == split_of(workspace, "monday")


def test_the_same_data_by_other_settings_keeps_the_splits_that_were_accepted_for_it(workspace):
    accept(workspace, "monday")
    accept(workspace, "tuesday")
    previous_data = accept(workspace, "tuesday", inputs="another threshold")
    assert previous_data.split == split_of(workspace, "tuesday")
    assert previous_data.validation == validated(workspace, "monday")  # never compared with itself
    assert accept(workspace, "tuesday", inputs="another threshold") == previous_data


def test_a_source_that_is_added_or_left_out_loses_no_history(workspace):
    folder = "folder:/faces"
    accept(workspace, "monday")
    assert accept(workspace, "tuesday", families=(folder, *KAGGLE)).split == split_of(workspace, "monday")
    assert previous(workspace, "wednesday", families=(folder,)).split == split_of(workspace, "tuesday")
    assert previous(workspace, "wednesday", families=(folder, *KAGGLE)).split == split_of(workspace, "tuesday")
    assert previous(workspace, "wednesday").split == split_of(workspace, "monday")
    assert previous(workspace, "wednesday", families=("folder:/others",)) == PreviousData()
    assert find(workspace, recipe="another recipe") is None


def test_other_split_settings_have_splits_of_their_own_and_the_first_finds_its_own_again(workspace):
    first = accept(workspace, "monday")
    other = accept(workspace, "monday", inputs="another seed", settings_key="another seed")
    assert other.split is None
    assert accept(workspace, "tuesday", settings_key="another seed").split == split_of(workspace, "mondayanother seed")
    assert accept(workspace, "monday") == first
    assert previous(workspace, "wednesday").split == split_of(workspace, "monday")


def test_the_anchor_stays_until_enough_new_images_were_tested(workspace):
    accept(workspace, "monday")
    for day in ("tuesday", "wednesday"):
        assert accept(workspace, day, is_anchored=False).anchor == validated(workspace, "monday")
    assert accept(workspace, "thursday").anchor == validated(workspace, "monday")
    assert previous(workspace, "friday").anchor == validated(workspace, "thursday")


@pytest.mark.parametrize("name", ["validate/monday/accepted.parquet", "split/monday/split.parquet"])
@pytest.mark.parametrize("harm", ["remove", "empty", "flip"])
def test_damaged_output_of_the_data_accepted_last_stops_the_run_on_other_data_alone(workspace, name, harm):
    accept(workspace, "monday")
    path = workspace.root / name
    path.unlink() if harm == "remove" else path.write_text("" if harm == "empty" else "mondax")
    for _ in range(2):
        with pytest.raises(errors.WorkspaceError, match=r"could move to other splits.*(validate|split)/monday"):
            previous(workspace, "tuesday")
    assert accept(workspace, "monday") == PreviousData()
    assert previous(workspace, "tuesday").split == split_of(workspace, "monday")


@pytest.mark.parametrize("gone", ["validate/monday", "split/monday"])
def test_output_that_is_gone_from_the_workspace_is_no_baseline(workspace, gone):
    accept(workspace, "monday")
    path = workspace.root / gone
    shutil.rmtree(path)
    assert find(workspace) is None
    assert previous(workspace, "tuesday") == PreviousData()


def test_of_what_the_same_data_was_given_only_what_is_still_there_is_given_again(workspace):
    accept(workspace, "monday")
    accept(workspace, "tuesday")
    shutil.rmtree(workspace.root / "validate/monday")
    assert accept(workspace, "tuesday") == PreviousData(split=split_of(workspace, "monday"))


@pytest.mark.parametrize("content", [b"", b"{", b'{"validation": {}}', b"\xff\x00", b"[]"])
def test_a_damaged_record_is_an_error_that_says_which_file_to_remove(workspace, content):
    accept(workspace, "monday")
    copy = pointer(workspace).with_suffix(".json.copy")
    for path in (pointer(workspace), copy):
        path.write_bytes(content)
    with pytest.raises(errors.WorkspaceError, match=r"demo-kaggle-a-b-\w+\.json.*remove the file and its copy"):
        find(workspace)
    pointer(workspace).unlink()
    copy.unlink()
    assert accept(workspace, "tuesday") == PreviousData()


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
    process = subprocess.run([sys.executable, "-c", code, str(workspace.root)], check=False, env=os.environ)
    assert process.returncode == -signal.SIGKILL
    assert find(workspace).split == split_of(workspace, "monday")
    assert accept(workspace, "tuesday").split == split_of(workspace, "monday")


def test_a_workspace_that_refuses_the_record_is_an_error_with_the_next_step(workspace):
    (workspace.root / ".accepted").write_text("a file in the way")
    with pytest.raises(errors.WorkspaceError, match="must be remembered"):
        accept(workspace, "monday")


def test_names_are_fit_for_files_and_different_for_recipes_and_sources():
    names = {
        baseline.Scope("fer2013-cnn", ("kaggle:msambare/fer2013",)).name,
        baseline.Scope("demo", ("kaggle:msambare/fer2013",)).name,
        baseline.Scope("fer2013-cnn", ("kaggle:other/fer2013",)).name,
        baseline.Scope("fer2013-cnn", ("folder:/a", "kaggle:msambare/fer2013")).name,
        baseline.Scope("fer2013-cnn", ("kaggle:msambare-fer2013",)).name,
        baseline.Scope("fer2013-cnn", ("folder:/" + "x" * 300,)).name,
    }
    assert len(names) == 6
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and len(name) < 80 for name in names)


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
    assert previous(two, "tuesday").split == split_of(one, "monday")
    previous_data = accept(two, "tuesday")
    assert previous_data.validation == validated(one, "monday")
    assert find(one).split == split_of(one, "tuesday")
    for record in list(store.list(".accepted/")):
        store.put(record.key, b"{")
    with pytest.raises(errors.WorkspaceError, match=r"s3://.*/\.accepted/demo-kaggle-a-b-\w+\.json.*remove the file"):
        find(one)


def commit_by_hand(workspace, path, ref, contents):
    """A committed output as an earlier version wrote it: its Ref as JSON, and file name -> what it has."""
    folder = workspace.root / path
    folder.mkdir(parents=True)
    for name, content in contents.items():
        if isinstance(content, pa.Table):
            pq.write_table(content, folder / name)
        else:
            (folder / name).write_text(json.dumps(content))
    written = {name: (folder / name).read_bytes() for name in contents}
    record = {
        "ref": {"path": path, "digest": hashlib.sha256(path.encode()).hexdigest()} | ref,
        "files": {
            name: {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in written.items()
        },
    }
    (folder / "_ref.json").write_text(json.dumps(record))
    return record["ref"]


def test_data_accepted_by_the_version_before_is_read_and_its_images_stay_in_their_splits(workspace):
    """In the words of that version: `drawing`, `divided_from`, `before`, `n_kept_sides`, `twins`, `sides.parquet`."""
    n = 60
    names = [f"{number:032x}" for number in range(n)]
    splits = [("test", "train", "validation", "train")[number % 4] for number in range(n)]  # not as they would be drawn
    older = pa.schema(list(split_contract.ASSIGNMENTS)[:3])  # without rotations
    assignments = pa.table([names, [f"pixels {name}" for name in names], splits], schema=older)
    config = split.SplitConfig()
    old_config = {"use_official": True, "test_share": 0.1, "validation_share": 0.1, "seed": 0}
    counts = {name: {"happy": splits.count(name)} for name in files.SPLITS}
    split_ref = commit_by_hand(
        workspace,
        "label errors/0123",
        {
            "classes": ["happy"],
            "counts": counts,
            "origin": "drawn",
            "n_clean": {name: splits.count(name) for name in files.SPLITS},
            "excluded": {"near-twin of an image in test": 1},
            "leaks": [{"split": "test", "twins": 1, "identical": 1, "near": 0, "shifted": 0, "mirrored": 0}],
            "n_leaked": 0,
            "n_leaked_subjects": 0,
            "n_kept_sides": 12,
            "n_label_errors": 0,
            "n_label_errors_held_out": 0,
            "failures": [],
            "warnings": [],
        },
        {
            "sides.parquet": assignments,
            "split.json": {"config": old_config | {"leakage": "drop", "official": config.official}},
        },
    )
    validation = commit_by_hand(
        workspace,
        "validate/0123",
        {
            "classes": ["happy"],
            "n_found": n,
            "n_accepted": n,
            "quarantined": {},
            "failures": [],
            "warnings": [],
        },
        {"validation.json": {}},
    )
    record = {
        "recipe": RECIPE,
        "families": list(KAGGLE),
        "drawing": json.dumps(old_config),
        "accepted_utc": "2026-11-29T02:21:23.082204Z",
        "validation": validation,
        "split": split_ref,
        "anchor": validation,
        "divided_from": "[]",
        "before": {"validation": validation, "anchor": None, "split": split_ref},
    }
    (workspace.root / ".accepted").mkdir()
    (workspace.root / ".accepted" / "demo-kaggle-a-b-00000000.json").write_text(json.dumps(record))

    previous_data = previous(workspace, "today", settings_key=split.settings_key(config))
    assert (previous_data.split.n_kept, previous_data.split.leaks[0].duplicates) == (12, 1)
    assert previous_data.validation.path == previous_data.anchor.path == "validate/0123"
    rows = [
        {
            "image_id": f"{number:032x}",
            "pixel_sha256": f"pixels {number:032x}",
            "label": "happy",
            "class_index": 0,
            "duplicate_group": f"{number:032x}",
            "issues": [],
            "action": "keep",
            "part": 0,
            "row": number,
        }
        for number in range(n + 20)
    ]

    def curation(out):
        pq.write_table(pa.Table.from_pylist(rows, schema=curation_contract.CURATION), out / files.CURATION)
        (out / "curation.json").write_text("{}")
        return CurationRef(classes=("happy",), issues={}, dropped={}, quarantined={}, failures=())

    def inspection(out):
        pq.write_table(curation_contract.PAIRS.empty_table(), out / files.PAIRS)
        return InspectionRef(n_images=len(rows), n_pairs=0, n_groups=0)

    ref = split.split(
        workspace.run("curate", "today", CurationRef, curation, resumable=False),
        workspace.run("inspect", "today", InspectionRef, inspection, resumable=False),
        previous_data.split,
        config,
        workspace=workspace,
    )
    assert ref.n_kept == n
    table = pq.read_table(workspace.folder(ref) / files.SPLIT)
    new_splits = dict(zip(table["image_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    assert {name: new_splits[name] for name in names} == dict(zip(names, splits, strict=True))
