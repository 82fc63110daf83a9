import datetime
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fer import errors
from fer.engine import remote_workspace
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.read_only import ReadOnlyWorkspace
from fer.engine.remote_workspace import RemoteWorkspace
from fer.engine.workspace import Workspace
from fer.ingest.refs import DatasetRef, ManifestRef

BIG = "b" * 3_000


def dataset(**changes) -> DatasetRef:
    return DatasetRef(**({"source": "demo", "n_files": 1, "size_bytes": 2} | changes))


def write_two_files(out: Path) -> DatasetRef:
    (out / "a.txt").write_text("a")
    (out / "deeper").mkdir(exist_ok=True)
    (out / "deeper" / "b.txt").write_text(BIG)
    return dataset()


def explode(out: Path) -> DatasetRef:
    raise AssertionError("made twice")


def run(workspace: Workspace, produce=write_two_files, key: str = "k1", resumable: bool = False) -> DatasetRef:
    return workspace.run("stage", key, DatasetRef, produce, resumable=resumable)


@pytest.fixture
def one(store, tmp_path) -> RemoteWorkspace:
    return RemoteWorkspace(tmp_path / "one", store)


@pytest.fixture
def two(store, tmp_path) -> RemoteWorkspace:
    """The same workspace on another machine."""
    return RemoteWorkspace(tmp_path / "two", store)


def anew(workspace: RemoteWorkspace) -> RemoteWorkspace:
    """The workspace in another process of its machine."""
    return RemoteWorkspace(workspace.root, workspace.store)


def contents(folder: Path) -> dict[str, bytes]:
    """Name -> bytes of all files except the record, which holds the time of the commit."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "_ref.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def objects(workspace: RemoteWorkspace) -> dict[bytes, str]:
    """Content -> key of all files in the store."""
    return {workspace.store.get(listed.key).data: listed.key for listed in workspace.store.list("objects/")}


def committed(workspace: Workspace, key: str = "k1") -> DatasetRef | None:
    return workspace.committed("stage", key, DatasetRef)


def test_what_one_machine_made_another_finds_and_has_the_same_bytes(one, two, tmp_path):
    ref = run(one)
    assert committed(two) == ref
    assert run(two, explode) == ref
    assert not (two.root / "stage").exists()  # nothing is fetched before it is needed
    assert contents(two.folder(ref)) == contents(one.folder(ref))
    assert [record.path for record in two.records("stage")] == [ref.path]
    local = LocalWorkspace(tmp_path / "local")
    assert contents(local.folder(run(local))) == contents(two.folder(ref))
    assert list((two.root / ".partial" / "stage").iterdir()) == []


def test_what_is_here_is_not_asked_for(one, two, monkeypatch):
    ref = run(one)
    two.folder(ref)
    monkeypatch.setattr(two, "store", None)
    monkeypatch.setattr(one, "store", None)
    assert contents(two.folder(ref)) == contents(one.folder(ref))


def test_equal_files_are_in_the_store_once_and_neither_sent_nor_fetched_again(one, two, monkeypatch):
    first = run(one)
    two.folder(first)

    def one_new_file(out: Path) -> DatasetRef:
        write_two_files(out)
        (out / "new.txt").write_text("new")
        return dataset()

    sent, fetched = [], []
    upload, download = one.store.upload_file, one.store.download_file
    monkeypatch.setattr(one.store, "upload_file", lambda key, path: sent.append(path.name) or upload(key, path))
    monkeypatch.setattr(one.store, "download_file", lambda *args: fetched.append(args[1].name) or download(*args))
    second = run(one, one_new_file, key="k2")
    assert sent == ["new.txt"]
    assert contents(two.folder(second)) == contents(one.folder(second))
    assert fetched == ["new.txt"]
    assert set(objects(one)) == {b"a", BIG.encode(), b"new"}


def test_of_two_that_make_one_output_at_once_the_first_ones_holds_for_both(one, two):
    both_at_work = threading.Barrier(2)

    def make(workspace: RemoteWorkspace) -> DatasetRef:
        def produce(out: Path) -> DatasetRef:
            both_at_work.wait(60)
            (out / "a.txt").write_text(workspace.root.name)
            return dataset(source=workspace.root.name)

        return run(workspace, produce)

    with ThreadPoolExecutor(2) as machines:
        refs = list(machines.map(make, [one, two]))
    assert refs[0] == refs[1] == committed(one) == committed(two)
    for workspace in (one, two):
        assert (workspace.folder(refs[0]) / "a.txt").read_text() == refs[0].source


@pytest.mark.parametrize("harm", ["gone", "other bytes"])
def test_an_object_that_is_gone_or_damaged_is_made_anew(one, two, harm):
    ref = run(one)
    shutil.rmtree(one.root)
    key = objects(one)[b"a"]
    one.store.delete(key) if harm == "gone" else one.store.put(key, b"A")
    if harm == "gone":
        assert committed(two) is None
    with pytest.raises(errors.WorkspaceError, match="run the same command again"):
        two.folder(ref)
    assert committed(anew(one)) is None
    assert anew(one).is_damaged("stage", "k1")
    assert [one.store.get(listed.key).data for listed in one.store.list("damaged/")] == (
        [] if harm == "gone" else [b"A"]
    )
    assert not (two.root / "stage").exists()
    assert run(anew(two)) == ref
    assert contents(anew(one).folder(ref)) == contents(two.folder(ref))


def test_a_damaged_output_that_comes_out_otherwise_takes_the_old_ones_place(one, two):
    ref = run(one)
    shutil.rmtree(one.root)
    one.store.delete(objects(one)[b"a"])

    def other(out: Path) -> DatasetRef:
        (out / "a.txt").write_text("other")
        return dataset(source="other")

    replaced = run(two, other)
    assert replaced.digest != ref.digest
    assert committed(anew(one)) == replaced
    assert contents(anew(one).folder(replaced)) == contents(two.folder(replaced))
    with pytest.raises(errors.WorkspaceError, match="must be in the workspace"):
        anew(one).folder(ref)


def test_what_was_lost_in_the_store_is_sent_again_by_a_machine_that_has_it(one, two):
    ref = run(one)
    for listed in list(one.store.list("")):
        one.store.delete(listed.key)
    assert committed(anew(two)) is None
    assert run(anew(one), explode) == ref
    assert contents(two.folder(ref)) == contents(one.folder(ref))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"ref": {}, "files": {"../a": {"size_bytes": 1, "sha256": "0"}}}']
)
def test_a_record_that_can_not_be_followed_is_replaced(one, two, content):
    ref = run(one)
    one.store.put("stage/k1/_ref.json", content)
    assert committed(two) is None
    assert run(two) == ref
    assert committed(anew(one)) == ref


def test_an_upload_that_breaks_off_commits_nothing_and_goes_on_without_making_it_again(one, two, monkeypatch):
    upload = one.store.upload_file

    def break_off(key: str, path: Path):
        if path.name == "b.txt":
            raise errors.StoreUnavailable("The store must answer.")
        return upload(key, path)

    monkeypatch.setattr(one.store, "upload_file", break_off)
    with pytest.raises(errors.StoreUnavailable):
        run(one)
    assert committed(two) is None
    assert one.outputs("stage", DatasetRef) == []
    monkeypatch.undo()
    ref = run(anew(one), explode)
    assert contents(two.folder(ref)) == contents(one.folder(ref))


def test_a_fetch_that_breaks_off_leaves_no_output_and_goes_on(one, two, monkeypatch):
    ref = run(one)
    download = two.store.download_file
    fetched = []

    def break_off(key: str, path: Path, sha256: str):
        fetched.append(path.name)
        if path.name == "b.txt":
            raise errors.StoreUnavailable("The store must answer.")
        return download(key, path, sha256)

    monkeypatch.setattr(remote_workspace, "_TRANSFERS", 1)
    monkeypatch.setattr(two.store, "download_file", break_off)
    with pytest.raises(errors.StoreUnavailable):
        two.folder(ref)
    assert not (two.root / "stage").exists()
    assert fetched == ["a.txt", "b.txt"]
    monkeypatch.setattr(two.store, "download_file", lambda *args: fetched.append(args[1].name) or download(*args))
    assert contents(two.folder(ref)) == contents(one.folder(ref))
    assert fetched[2:] == ["b.txt"]


@pytest.mark.parametrize("name", ["deeper/b.txt", "_ref.json"])
@pytest.mark.parametrize("content", ["cut", BIG.replace("b", "c"), ""])
def test_a_file_that_changed_here_is_set_aside_and_fetched_again(one, two, name, content):
    ref = run(one)
    folder = two.folder(ref)
    (folder / name).write_text(content)
    assert contents(two.folder(ref)) == contents(one.folder(ref))
    (aside,) = (two.root / ".damaged" / "stage" / "k1").iterdir()
    assert (aside / name).read_text() == content
    assert contents(two.folder(ref)) == contents(one.folder(ref))


def test_what_this_machine_can_not_vouch_for_is_not_sent(one, two, monkeypatch):
    monkeypatch.setattr(one.store, "upload_file", lambda *_: (_ for _ in ()).throw(errors.StoreUnavailable("No.")))
    with pytest.raises(errors.StoreUnavailable):
        run(one)
    monkeypatch.undo()
    (one.root / "stage" / "k1" / "a.txt").write_text("A")
    with pytest.raises(AssertionError, match="made twice"):
        run(anew(one), explode)
    assert committed(two) is None
    assert contents(two.folder(run(anew(one)))) == contents(one.folder(run(two, explode)))


def test_outputs_are_those_of_all_machines_newest_first_but_no_damaged_ones(one, two):
    def write(text: str):
        def produce(out: Path) -> DatasetRef:
            (out / "a.txt").write_text(text)
            return dataset(source=text)

        return produce

    refs = []
    for at, (workspace, key) in enumerate([(one, "k2"), (two, "k3"), (one, "k1")]):
        refs.append(run(workspace, write(key), key=key))
        if at < 2:
            wait_a_second()
    assert two.outputs("stage", DatasetRef) == refs[::-1]
    assert two.outputs("stage", ManifestRef) == []
    assert two.outputs("other stage", DatasetRef) == []
    there = objects(one)
    one.store.delete(there[b"k3"])
    assert anew(one).outputs("stage", DatasetRef) == [refs[2], refs[0]]
    one.store.put(there[b"k1"], b"k")  # cut short
    assert anew(one).outputs("stage", DatasetRef) == [refs[0]]


def wait_a_second() -> None:
    """The store's listings tell times to the second."""
    begun = datetime.datetime.now().second
    while datetime.datetime.now().second == begun:
        threading.Event().wait(0.02)


def test_notes_are_those_of_all_machines(one, two):
    assert two.notes("accepted") == []
    one.write_note("accepted", "b.json", {"of": 1})
    two.write_note("accepted", "a.json", {"of": 2})
    one.write_note("accepted", "b.json", {"of": 3})
    assert [note.document for note in two.notes("accepted")] == [{"of": 2}, {"of": 3}]
    assert one.notes("accepted")[1].location.endswith(".accepted/b.json*")


def test_a_note_that_is_damaged_in_the_store_is_restored_from_its_copy(one, two):
    one.write_note("accepted", "a.json", {"of": 1})
    one.store.put(".accepted/a.json", b"{")
    assert [note.document for note in two.notes("accepted")] == [{"of": 1}]
    assert one.store.get(".accepted/a.json").data == one.store.get(".accepted/a.json.copy").data
    assert [one.store.get(listed.key).data for listed in one.store.list("damaged/")] == [b"{"]


def test_records_of_finished_files_go_with_the_commit(one):
    path = one.root / "file"
    path.parent.mkdir(parents=True)
    path.write_text("a")
    for out in (".partial/stage/k1", ".partial/stage/k2"):
        one.objects.share_finished(out, "a.txt", path)
    file = one.objects.finished(".partial/stage/k1", "a.txt")
    assert file["size_bytes"] == 1
    assert one.objects.finished(".partial/stage/k1", "other") is None
    one.objects.download(file, one.root / "again")
    assert (one.root / "again").read_text() == "a"
    run(one)
    assert one.objects.finished(".partial/stage/k1", "a.txt") is None
    assert one.objects.finished(".partial/stage/k2", "a.txt") == file


def test_a_secret_is_in_no_object(one, store_home):
    run(one)
    secret = json.loads((store_home / "store" / "credentials.json").read_text())["secret_access_key"]
    assert all(secret.encode() not in one.store.get(listed.key).data for listed in one.store.list(""))


def test_an_output_in_the_store_is_made_again_beside_it_and_compared(one, two):
    ref = run(one)
    assert two.remake("stage", "k1", DatasetRef, write_two_files, None) == (ref, (), None)

    def write_other(out: Path) -> DatasetRef:
        write_two_files(out)
        (out / "a.txt").write_text("b")
        return dataset()

    remade = two.remake("stage", "k1", DatasetRef, write_other, None)
    assert [difference.name for difference in remade.differences] == ["a.txt"]
    assert (two.folder(ref) / "a.txt").read_text() == "a"


def test_a_workspace_in_the_store_is_looked_at_without_a_trace(one, store, tmp_path):
    ref = run(one)
    keys = {listed.key for listed in store.list("")}
    here = tmp_path / "here"
    looked_at = ReadOnlyWorkspace(RemoteWorkspace(here, store, read_only=True), tmp_path / "aside")
    assert committed(looked_at) == ref
    assert (looked_at.folder(ref) / "a.txt").read_text() == "a"
    run(looked_at, key="k2")
    assert not here.exists()
    assert {listed.key for listed in store.list("")} == keys
