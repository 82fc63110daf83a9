from pathlib import Path

import pytest
from two_files import run, write_two_files

from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.read_only import ReadOnlyWorkspace


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def looked_at(tmp_path: Path) -> ReadOnlyWorkspace:
    return ReadOnlyWorkspace(LocalWorkspace(tmp_path / "there", read_only=True), tmp_path / "aside")


def test_what_is_there_is_found_and_what_is_made_lies_aside(tmp_path):
    there = LocalWorkspace(tmp_path / "there")
    ref = run(there)
    before = everything(there.root)
    workspace = looked_at(tmp_path)
    assert run(workspace, lambda out: pytest.fail("made twice")) == ref
    assert workspace.folder(ref) == there.folder(ref)
    other = run(workspace, key="k2")
    assert workspace.folder(other) == tmp_path / "aside" / "stage" / "k2"
    assert workspace.record("stage", "k2").path == "stage/k2"
    assert everything(there.root) == before


@pytest.mark.parametrize("harm", ["changed", "gone", "another file", "no record"])
def test_what_is_damaged_is_not_there_and_stays_where_it_is(tmp_path, harm):
    there = LocalWorkspace(tmp_path / "there")
    ref = run(there)
    folder = there.folder(ref)
    match harm:
        case "changed":
            (folder / "a.txt").write_text("b")
        case "gone":
            (folder / "a.txt").unlink()
        case "another file":
            (folder / "c.txt").touch()
        case "no record":
            (folder / "_ref.json").unlink()
    before = everything(there.root)
    workspace = looked_at(tmp_path)
    assert workspace.record("stage", "k1") is None
    with pytest.raises(errors.WorkspaceError):
        workspace.folder(ref)
    assert everything(there.root) == before


def test_a_note_is_read_from_its_copy_and_not_restored(tmp_path):
    there = LocalWorkspace(tmp_path / "there")
    place = Path(there.write_note("accepted", "a.json", {"x": 1}))
    place.write_text("{")
    before = everything(there.root)
    (note,) = looked_at(tmp_path).notes("accepted")
    assert note.document == {"x": 1}
    assert everything(there.root) == before
    with pytest.raises(ValueError, match="must not be written"):
        looked_at(tmp_path).write_note("accepted", "a.json", {"x": 2})


def test_nothing_is_made_again(tmp_path):
    with pytest.raises(ValueError, match="must not be written"):
        looked_at(tmp_path).remake("stage", "k1", type(run(LocalWorkspace(tmp_path))), write_two_files, None)
