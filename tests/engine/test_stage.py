import importlib
import sys

import pytest
from pydantic import BaseModel

from fer import errors
from fer.engine import stage
from fer.engine.code import fingerprint, key_parts
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest.refs import DatasetRef


class Config(BaseModel):
    blur: int = 3


calls: list[int] = []


@stage.stage("double")
def double(out, dataset: DatasetRef, config: Config, *, workspace, progress) -> DatasetRef:
    """Write one file."""
    calls.append(config.blur)
    (out / "file").write_text(f"{dataset.digest} {config.blur}")
    progress(1, 1, "done")
    return dataset.model_copy(update={"digest": ""})


def dataset(digest: str = "d1", path: str = "p") -> DatasetRef:
    return DatasetRef(source="demo", n_files=1, size_bytes=1, digest=digest, path=path)


def test_the_key_follows_digests_and_config_but_not_where_an_input_lies():
    key = double.key(dataset(), Config())
    assert double.key(dataset(path="elsewhere"), Config()) == key
    assert double.key(dataset(digest="d2"), Config()) != key
    assert double.key(dataset(), Config(blur=5)) != key


class Pair(BaseModel):
    kind: str
    both: tuple[DatasetRef, ...]


@stage.stage("pair up")
def pair_up(out, pair: Pair, *, workspace, progress) -> DatasetRef:
    """Never called."""


def test_a_ref_within_a_record_counts_by_its_digest_too():
    def key(kind="same", **other):
        return pair_up.key(Pair(kind=kind, both=(dataset(), dataset(**other))))

    assert key(path="elsewhere") == key()
    assert len({key(), key(digest="d2"), key(kind="another")}) == 3


def test_a_stage_runs_once_for_the_same_inputs(tmp_path):
    calls.clear()
    workspace = LocalWorkspace(tmp_path)
    seen = []
    first = double(dataset(), Config(), workspace=workspace, progress=lambda *report: seen.append(report))
    assert double(dataset(), Config(), workspace=workspace) == first
    assert calls == [3]
    assert seen == [(1, 1, "done")]
    assert double.found(dataset(), Config(), workspace=workspace).ref == first
    assert double.found(dataset(), Config(blur=5), workspace=workspace) is None


def test_an_output_is_kept_with_the_parts_of_its_key(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    double(dataset(), Config(), workspace=workspace)
    made_from = double.found(dataset(), Config(), workspace=workspace).record.parts
    assert made_from == double.parts(dataset(), Config())
    assert made_from.refs() == {"dataset": "p"}
    assert made_from.configs == {"config": f"{__name__}.Config"}
    assert __name__ in made_from.code
    assert "python" in made_from.conditions
    (change,) = key_parts.changes(made_from, double.parts(dataset(), Config(blur=5)))
    assert change.sentence() == "config.blur: 3 → 5"


def test_an_input_that_is_no_ref_config_or_plain_value_is_refused():
    with pytest.raises(TypeError, match="Received: set"):
        double.key(dataset(), {1})


def test_a_wrong_number_of_inputs_names_those_expected():
    with pytest.raises(TypeError, match="dataset, config"):
        double.key(dataset())


EDITED_STAGE = """
from pathlib import Path
from fer.engine import stage
from fer.ingest.refs import DatasetRef
from miniature import shared

@stage.stage("edited", resumable=True)
def edited(out, name: str, *, workspace, progress) -> DatasetRef:
    (out / "shard").touch()
    if name == "edit":
        Path(shared.__file__).write_text("x = 2")
    elif name == "comment":
        Path(shared.__file__).write_text("x = 1  # one")
    elif name == "half an edit":
        Path(shared.__file__).write_text("x = (")
    elif name == "remove":
        Path(shared.__file__).unlink()
    return DatasetRef(source="demo", n_files=1, size_bytes=1)
"""


CHOSEN = """
import miniature.net
from pydantic import BaseModel


class Inner(BaseModel):
    size: int = 1


class Outer(BaseModel):
    inner: Inner
"""


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """A stage in a package of its own, which changes its package's sources while it runs."""
    package = tmp_path / "miniature"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "shared.py").write_text("x = 1")
    (package / "steps.py").write_text(EDITED_STAGE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(fingerprint, "_PROJECT", ("miniature",))
    importlib.invalidate_caches()
    fingerprint._source.cache_clear()
    yield importlib.import_module("miniature.steps").edited
    fingerprint._source.cache_clear()
    for name in [module for module in sys.modules if module.split(".")[0] == "miniature"]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["edit", "half an edit", "remove"])
def test_a_stage_whose_source_changes_while_it_runs_commits_nothing(edited, tmp_path, name):
    workspace = LocalWorkspace(tmp_path / "workspace")
    key = edited.key(name)
    with pytest.raises(errors.WorkspaceError, match=r"source of stage edited changed .* Next: run the same command"):
        edited(name, workspace=workspace)
    assert edited.key(name) == key  # it is the imported code that ran
    assert edited.found(name, workspace=workspace) is None
    assert list(workspace.root.rglob("shard")) == []


def test_a_stage_whose_source_stays_is_committed(edited, tmp_path):
    workspace = LocalWorkspace(tmp_path / "workspace")
    assert edited("leave", workspace=workspace) == edited.found("leave", workspace=workspace).ref


def test_another_source_is_another_key(edited, tmp_path):
    before = edited.key("leave")
    (tmp_path / "miniature" / "shared.py").write_text("x = 2")
    anew = stage.stage("edited", resumable=True)(edited.produce)
    assert anew.key("leave") != before


def test_a_comment_that_is_added_while_a_stage_runs_is_no_other_source(edited, tmp_path):
    workspace = LocalWorkspace(tmp_path / "workspace")
    assert edited("comment", workspace=workspace) == edited.found("comment", workspace=workspace).ref


def test_the_code_of_the_module_that_defines_a_config_is_in_the_key(edited, tmp_path):
    (tmp_path / "miniature" / "net.py").write_text("x = 1\n")
    (tmp_path / "miniature" / "chosen.py").write_text(CHOSEN)
    chosen = importlib.import_module("miniature.chosen")
    config = chosen.Outer(inner=chosen.Inner())
    stages = [stage.stage("edited")(edited.produce) for _ in range(3)]
    keys = [stages[0].key(config)]
    assert stages[0].key("leave") == edited.key("leave")
    for file, source in (("net", "x = 2\n"), ("chosen", f"{CHOSEN}x = 1\n")):
        (tmp_path / "miniature" / f"{file}.py").write_text(source)
        assert stages[0].key(config) == keys[0]  # as it was when it was read
        keys.append(stages[len(keys)].key(config))
    assert len(set(keys)) == 3
