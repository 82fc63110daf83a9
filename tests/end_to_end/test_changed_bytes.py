"""Every file that a finished run leaves, found by walking: changed in each way, no reader takes it for what it was.

First file by file against what reads it, in process; then whole runs with one file of each kind changed.
"""

import hashlib
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pydantic
import pytest
import quick_demo

from fer import errors
from fer.curation import baseline, split
from fer.engine import connect, outputs
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.refs import Ref
from fer.engine.remote_workspace import RemoteWorkspace
from fer.recipes import catalog, overrides
from fer.registry import releases, repair
from fer.registry.trust import verifying
from fer.settings import Settings
from tasks.runs import events
from tasks.runs.results import RetrainResult

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("module_in_this_process")]

# What is not verified, and why.
NOT_OUTPUTS = {
    "workspace/.locks/": "locks hold nothing",
    "workspace/.running/": "locks too",
    "workspace/.used/": "marks hold nothing; when they were touched tells what was used",
    "workspace/.code/": "notes as those of accepted data, read by the same code; what they say is a warning at most",
    "overview/": "what a page for people showed last, written anew after each run",
    "reports/": "pages for people, written anew by each run from outputs that were verified",
    "store/": "the store's own files and its log: what is read through it is verified, as the tests of objects show",
}
NOT_RELEASES = {
    "reports/": "pages for people, shared; `fer report` verifies what it fetches, as its tests show",
    ".probe/": "what tells whether the store keeps conditions",
}


class RunsCode:
    """A pickle that makes a folder when it is read."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, (str(self.marker),)


def flip(data: bytes, other: bytes | None) -> bytes:
    """One bit, somewhere that follows from the content."""
    at = int.from_bytes(hashlib.sha256(data).digest()[:4], "big") % max(len(data), 1)
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :] if data else b"\0"


# Of a file's bytes, and of those of the same file of another run if it has one -> what is there instead.
DAMAGES: dict[str, Callable[[bytes, bytes | None], bytes | None]] = {
    "flip one bit": flip,
    "cut": lambda data, _: data[: len(data) // 2],
    "empty": lambda *_: b"",
    "remove": lambda *_: None,
    "swap": lambda data, other: data[::-1] if other in (None, data) else other,
}


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What exists once planted code ran."""
    return tmp_path_factory.mktemp("marker") / "code ran"


@pytest.fixture(params=[*DAMAGES, "pickle"])
def damage(request, marker) -> Callable[[bytes, bytes | None], bytes | None]:
    """Each way to damage a file; the last puts a pickle in its place."""
    planted = pickle.dumps(RunsCode(marker))
    return DAMAGES.get(request.param, lambda *_: planted)


def retrain(*settings: str, model_name: str = "demo") -> RetrainResult:
    from flows.retrain import retrain as flow

    exported = 'export.formats=["onnx"]'
    chosen = overrides.parse_settings([*quick_demo.SETTINGS, exported, *settings])
    return flow(sources=["demo"], recipe="demo", settings=chosen, model_name=model_name)


class Finished(NamedTuple):
    """A run, its files (path below the home -> bytes) and its releases' objects (key -> bytes)."""

    result: RetrainResult
    files: dict[str, bytes]
    objects: dict[str, bytes]

    def outputs(self) -> Iterator[tuple[str, Ref, list[str]]]:
        """Each committed output: its path below the workspace, its Ref, and the names of its files."""
        for path in self.files:
            folder, name = path.removeprefix("workspace/").rsplit("/", 1)
            if name == outputs.RECORD and path.startswith("workspace/"):
                record = outputs.parse_record(self.files[path])
                yield folder, Ref(path=folder, digest=record.ref["digest"]), [name, *record.files]


def files_of(home: Path) -> dict[str, bytes]:
    paths = (path for path in sorted(home.rglob("*")) if path.is_file())
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in paths}


def objects_of(prefix: str) -> dict[str, bytes]:
    with releases.open_registry() as models:
        return {listed.key: models.store.get(listed.key).data for listed in models.store.list(prefix)}


@pytest.fixture(scope="module")
def finished(home: Path) -> Finished:
    return Finished(retrain(), files_of(home), objects_of(""))


@pytest.fixture(scope="module")
def others(finished: Finished, home: Path) -> dict[tuple[str, str], bytes]:
    """(stage, name) -> the bytes of the same file of a run on other data. A release of another name is made too."""
    from flows.ingest import ingest

    chosen = overrides.parse_settings([*quick_demo.SETTINGS, "demo.seed=1"])
    ingest(sources=["demo"], recipe="demo", settings=chosen, accept=False)
    retrain(model_name="other")
    own = {folder for folder, _, _ in finished.outputs()}
    found: dict[tuple[str, str], bytes] = {}
    for record in (home / "workspace").glob(f"*/*/{outputs.RECORD}"):
        stage, key = record.parent.relative_to(home / "workspace").parts
        if f"{stage}/{key}" not in own:
            for path in (path for path in record.parent.rglob("*") if path.is_file()):
                found[stage, path.relative_to(record.parent).as_posix()] = path.read_bytes()
    return found


@pytest.fixture(autouse=True)
def no_code_ran(marker: Path) -> Iterator[None]:
    yield
    assert not marker.exists()


def test_every_file_is_of_an_output_or_a_note_or_there_is_a_reason_why_it_is_not_verified(finished):
    verified = {f"workspace/{folder}/{name}" for folder, _, names in finished.outputs() for name in names}
    unknown = [
        path
        for path in finished.files
        if path not in verified and not path.startswith((*NOT_OUTPUTS, "workspace/.accepted/"))
    ]
    assert unknown == []
    assert len(verified) > 60


def write(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)


def test_no_output_is_read_of_which_a_file_changed(finished, others, damage, home, tmp_path):
    for folder, ref, names in finished.outputs():
        for name in names:
            target = tmp_path / folder
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(home / "workspace" / folder, target)
            whole = (target / name).read_bytes()
            damaged = damage(whole, others.get((folder.split("/")[0], name)))
            write(target / name, damaged)
            said: list[str] = []
            workspace = LocalWorkspace(tmp_path, say=said.append)
            with pytest.raises(errors.WorkspaceError):
                workspace.folder(ref)
            assert [str(target) in text and name in text for text in said] == [True], (folder, name, said)
            assert workspace.record(*folder.split("/")) is None
            aside = [path.read_bytes() for path in (tmp_path / ".damaged").rglob(Path(name).name)]
            assert damaged is None or damaged in aside


def test_the_record_of_what_was_accepted_is_restored_or_stops_the_run(finished, damage, home, tmp_path):
    recipe = overrides.apply(catalog.load("demo"), overrides.parse_settings(quick_demo.SETTINGS))
    scope = baseline.Scope("demo", ("demo",), split.settings_key(recipe.split))
    shutil.copytree(home / "workspace", tmp_path / "workspace", dirs_exist_ok=True)
    workspace = LocalWorkspace(tmp_path / "workspace", say=lambda _: None)
    expected = baseline.find(workspace, scope)
    assert expected is not None
    LocalWorkspace(tmp_path / "another").write_note("accepted", f"{scope.name}.json", {"recipe": "another"})
    names = [path for path in finished.files if path.startswith("workspace/.accepted/")]
    assert len(names) == 2
    for name in names:
        path = tmp_path / name
        whole = path.read_bytes()
        other = (tmp_path / "another" / ".accepted" / path.name).read_bytes()
        damaged = damage(whole, other)
        write(path, damaged)
        if damaged == other:
            with pytest.raises(errors.WorkspaceError, match="two that differ"):
                baseline.find(workspace, scope)
        else:
            assert baseline.find(workspace, scope) == expected
            assert path.read_bytes() == whole
        path.write_bytes(whole)


def release_as_it_is_read(folder: Path) -> list[Any]:
    """All that readers of the registry take from it: versions, log, champion, and the files of a release."""
    with releases.open_registry() as models:
        manifest = models.get("demo")
        shutil.rmtree(folder, ignore_errors=True)
        models.fetch(manifest, folder)
        log = [entry.model_dump() for entry in models.log("demo").entries]
        bill = verifying.bill(models, manifest)
        return [models.names(), models.versions("demo"), models.alias("demo"), manifest, log, bill, files_of(folder)]


def test_no_release_is_read_of_which_an_object_changed(finished, others, damage, tmp_path):
    of_other = objects_of("models/other/")
    expected = release_as_it_is_read(tmp_path / "release")
    keys = [key for key in finished.objects if not key.startswith(tuple(NOT_RELEASES))]
    assert {key.split("/")[2] for key in keys} == {"aliases", "files", "log", "versions"}
    with releases.open_registry() as models:
        for key in keys:
            whole = finished.objects[key]
            same_name = (data for other, data in of_other.items() if other.split("/")[-1] == key.split("/")[-1])
            damaged = damage(whole, next(same_name, None))
            models.store.delete(key) if damaged is None else models.store.put(key, damaged)
            is_copy = key.endswith("/.manifest.json")  # read where the manifest is gone, by its digest in the log
            try:
                assert release_as_it_is_read(tmp_path / "release") == expected, key
                assert is_copy, key
            except errors.IntegrityError:
                assert not is_copy
            models.store.put(key, whole)
    assert release_as_it_is_read(tmp_path / "release") == expected


def test_a_release_on_this_machine_is_fetched_again_where_a_file_of_it_changed(finished, others, damage, home):
    with releases.local_copy("demo@1") as (_, folder):
        whole = files_of(folder)
    assert len(whole) > 8
    for name, data in whole.items():
        write(folder / name, damage(data, whole["model.keras"]))
        with releases.local_copy("demo@1"):
            assert files_of(folder) == whole


class AnyRef(Ref):
    model_config = pydantic.ConfigDict(extra="allow")


def test_no_output_is_taken_from_the_bucket_of_which_an_object_changed(finished, others, home, tmp_path):
    damages = [*DAMAGES.values()]
    settings = Settings.load().model_copy(update={"store_prefix": "a-workspace"})
    store = connect.running_store(settings)
    shutil.copytree(home / "workspace", tmp_path / "here")
    here = RemoteWorkspace(tmp_path / "here", store)
    tried: set[str] = set()
    for folder, ref, names in finished.outputs():
        stage, key = folder.split("/")
        here.run(stage, key, AnyRef, lambda _: pytest.fail("made again"), resumable=False)
        files = outputs.read_record(here.folder(ref)).files
        for name in names:
            place = f"{folder}/{name}" if name == outputs.RECORD else f"objects/{files[name]['sha256']}"
            if place in tried:
                continue
            whole = store.get(place).data
            damaged = damages[len(tried) % len(damages)](whole, others.get((stage, name)))
            tried.add(place)
            store.delete(place) if damaged is None else store.put(place, damaged)
            there = RemoteWorkspace(tmp_path / "there", store, say=lambda _: None)
            with pytest.raises(errors.WorkspaceError):
                there.folder(ref)
            assert not (there.root / folder).exists()
            assert RemoteWorkspace(tmp_path / "elsewhere", store).record(stage, key) is None
            store.put(place, whole)
            shutil.rmtree(there.root)
    assert len(tried) > 40


def kinds(finished: Finished) -> dict[str, str]:
    """One file of each kind: by its suffix, the record of an output, and the note of what was accepted."""
    paths = sorted(f"workspace/{folder}/{name}" for folder, _, names in finished.outputs() for name in names)
    found = {Path(path).suffix or Path(path).name: path for path in paths if not path.endswith(outputs.RECORD)}
    found["record"] = next(path for path in paths if path.endswith(outputs.RECORD))
    found["note"] = next(path for path in finished.files if path.startswith("workspace/.accepted/"))
    return found


def same_bits(result: RetrainResult, finished: Finished, home: Path) -> None:
    """Hold a run's result against the undisturbed one, except for the time that it took."""
    first = finished.result
    assert result.release == first.release
    assert (result.evaluation, result.verdict) == (first.evaluation, first.verdict)
    assert result.model.digest == first.model.digest
    for folder, _, names in finished.outputs():
        for name in names:
            if name.endswith(".parquet"):
                path = f"workspace/{folder}/{name}"
                assert (home / path).read_bytes() == finished.files[path], path


def test_a_run_with_a_file_of_each_kind_changed_ends_in_the_undisturbed_result(finished, others, home):
    damages = [DAMAGES[name] for name in ("flip one bit", "cut", "empty", "remove")]
    damaged = kinds(finished)
    assert len(damaged) > 9
    for at, path in enumerate(damaged.values()):
        write(home / path, damages[at % len(damages)](finished.files[path], None))
    heard: list[str] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Noted) and event.name == "workspace":
            heard.append(event.text)

    with events.heard_by(listen):
        result = retrain()
    same_bits(result, finished, home)
    for path in damaged.values():
        if "/.accepted/" not in path:
            assert any(str((home / path).parent.parent) in text for text in heard), path


def test_a_run_refuses_a_registry_that_changed_until_it_is_repaired(finished, home):
    with releases.open_registry() as models:
        for key in ("models/demo/versions/00001.json", "models/demo/aliases/champion.json"):
            models.store.put(key, flip(finished.objects[key], None))
        with pytest.raises(errors.IntegrityError, match="fer models repair demo"):
            retrain()
        assert repair.repair(models, "demo", apply=True)
    same_bits(retrain(), finished, home)
