import hashlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import indexed
import kaggle_server
import pytest
from kaggle_server import Fault, KaggleServer
from pydantic import SecretStr

from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.workspace import Workspace
from fer.ingest import archives, download, index, kaggle, sources
from fer.ingest.demo import archive as demo_archive
from fer.ingest.demo import faces as demo_faces
from fer.ingest.refs import DatasetRef

FILES = {"train/happy/1.png": b"one", "train/sad/2.png": b"two", ".DS_Store": b"junk"}
KAGGLE = sources.KaggleSource("owner", "faces")


def files_in(workspace: Workspace) -> list[Path]:
    """All but locks and marks of use, which hold nothing."""
    paths = [path.relative_to(workspace.root) for path in workspace.root.rglob("*") if path.is_file()]
    return [path for path in paths if path.parts[0] not in (".locks", ".used")]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KaggleServer]:
    with kaggle_server.serving() as server:
        kaggle_server.point_here(monkeypatch, server.url, str(tmp_path_factory.mktemp("home")))
        server.datasets["owner/faces"] = [kaggle_server.zip_of(FILES)]
        yield server


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return LocalWorkspace(tmp_path / "workspace")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "faces.zip"
    path.write_bytes(kaggle_server.zip_of(FILES))
    return path


def delivered(workspace: Workspace, ref: DatasetRef) -> Path:
    folder = workspace.folder(ref)
    assert sorted(path.name for path in folder.iterdir()) == ["_ref.json", "dataset.zip", "source.txt"]
    return folder / "dataset.zip"


def test_an_archive_is_repacked_and_known_by_its_content(archive: Path, workspace: Workspace) -> None:
    ref = download.download(download.resolve(sources.ArchiveSource(archive)), workspace=workspace)
    with zipfile.ZipFile(delivered(workspace, ref)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == dict(sorted(FILES.items())[1:])
    assert re.fullmatch("archive:sha256:[0-9a-f]{64}", ref.source)
    assert (ref.n_files, ref.size_bytes) == (2, delivered(workspace, ref).stat().st_size)


def test_the_same_files_packed_otherwise_are_the_same_dataset_and_manifest(tmp_path: Path) -> None:
    files = {f"{label}/{n}.png": indexed.png(n) for n in range(3) for label in ("angry", "happy")}
    results = []
    for place, names, method in (
        ("one", sorted(files), zipfile.ZIP_STORED),
        ("two", sorted(files, reverse=True), zipfile.ZIP_DEFLATED),
    ):
        path = tmp_path / f"{place}.zip"
        with zipfile.ZipFile(path, "w", method) as packed:
            for name in names:
                packed.writestr(name, files[name])
        workspace = LocalWorkspace(tmp_path / place)
        dataset = download.download(download.resolve(sources.parse(f"archive:{path}")), workspace=workspace)
        manifest = index.index((dataset,), indexed.CONFIG, indexed.OFFICIAL, None, workspace=workspace)
        results.append((dataset, manifest.digest))
    assert (tmp_path / "one.zip").read_bytes() != (tmp_path / "two.zip").read_bytes()
    assert results[0] == results[1]


def test_the_same_bytes_at_another_path_have_the_same_key(archive: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.zip"
    moved.write_bytes(archive.read_bytes())
    other = tmp_path / "other.zip"
    other.write_bytes(kaggle_server.zip_of({"x/1.png": b"x"}))
    keys = [download.download.key(download.resolve(sources.ArchiveSource(path))) for path in (archive, moved, other)]
    assert keys[0] == keys[1] != keys[2]


def test_an_archive_that_changes_after_it_was_resolved_is_refused(archive: Path, workspace: Workspace) -> None:
    resolved = download.resolve(sources.ArchiveSource(archive))
    archive.write_bytes(kaggle_server.zip_of({"x/1.png": b"x"}))
    with pytest.raises(errors.SourceError, match="must not change"):
        download.download(resolved, workspace=workspace)
    assert files_in(workspace) == []


def test_a_folder_is_packed_and_known_by_its_content(tmp_path: Path, workspace: Workspace) -> None:
    for place in ("here", "there"):
        for name, data in FILES.items():
            path = tmp_path / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    here, there = (download.resolve(sources.FolderSource(tmp_path / place)) for place in ("here", "there"))
    assert download.download.key(here) == download.download.key(there)
    ref = download.download(here, workspace=workspace)
    assert ref.source == here.identity
    assert re.fullmatch("folder:sha256:[0-9a-f]{64}", ref.source)
    assert str(tmp_path) not in here.model_dump_json() + ref.model_dump_json()
    with zipfile.ZipFile(delivered(workspace, ref)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == dict(sorted(FILES.items())[1:])


def test_a_folder_that_changes_after_it_was_resolved_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "1.png").write_bytes(b"one")
    resolved = download.resolve(sources.FolderSource(tmp_path / "faces"))
    (tmp_path / "faces" / "1.png").write_bytes(b"eno")
    with pytest.raises(errors.SourceError, match="must not change"):
        download.download(resolved, workspace=workspace)
    assert files_in(workspace) == []


def test_the_same_bytes_under_another_name_have_another_digest(server: KaggleServer, workspace: Workspace) -> None:
    server.datasets["owner/faces"].append(kaggle_server.zip_of(FILES))
    one, two = (
        download.download(download.resolve(sources.KaggleSource("owner", "faces", n)), workspace=workspace)
        for n in (1, 2)
    )
    assert delivered(workspace, one).read_bytes() == delivered(workspace, two).read_bytes()
    assert one.digest != two.digest


def test_an_empty_archive_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "empty.zip"
    path.write_bytes(kaggle_server.zip_of({}))
    with pytest.raises(errors.SourceError, match="must hold files"):
        download.resolve(sources.ArchiveSource(path))


def test_a_kaggle_dataset_is_known_by_its_current_version(server: KaggleServer, workspace: Workspace) -> None:
    first = download.resolve(KAGGLE)
    ref = download.download(first, workspace=workspace)
    assert ref.source == "kaggle:owner/faces/versions/1"
    assert [member.name for member in archives.members(delivered(workspace, ref))] == sorted(FILES)[1:]
    server.datasets["owner/faces"].append(kaggle_server.zip_of({"new/1.png": b"new"}))
    second = download.resolve(KAGGLE)
    assert second.identity == "kaggle:owner/faces/versions/2"
    assert download.download.key(second) != download.download.key(first)


def test_a_version_that_is_there_is_not_downloaded_again(server: KaggleServer, workspace: Workspace) -> None:
    first = download.download(download.resolve(KAGGLE), workspace=workspace)
    again = download.download(download.resolve(KAGGLE), workspace=workspace)
    assert first == again
    assert server.kinds() == ["get", "download", "blob", "get"]


def test_the_next_attempt_resumes_an_interrupted_download(server: KaggleServer, workspace: Workspace) -> None:
    files = {f"a/{n}.png": hashlib.shake_256(bytes([n])).digest(400_000) for n in range(5)}
    server.datasets["owner/faces"] = [kaggle_server.zip_of(files)]
    server.faults = [Fault("download", status=503), Fault("blob", cut_bytes=1_500_000)]
    resolved = download.resolve(KAGGLE)
    for _ in range(2):
        with pytest.raises(errors.KaggleUnavailable):
            download.download(resolved, workspace=workspace)
    ref = download.download(resolved, workspace=workspace)
    assert server.requests[-1].range == "bytes=1048576-"
    with zipfile.ZipFile(delivered(workspace, ref)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_a_refused_download_leaves_no_file_in_the_workspace(server: KaggleServer, workspace: Workspace) -> None:
    server.private.add("owner/faces")
    with pytest.raises(errors.KaggleRefused):
        download.download(download.resolve(sources.KaggleSource("owner", "faces", 1)), workspace=workspace)
    assert files_in(workspace) == []


def test_credentials_reach_kaggle_and_neither_key_nor_ref_nor_json(server: KaggleServer, workspace: Workspace) -> None:
    server.private.add("owner/faces")
    resolved = download.resolve(KAGGLE, credentials=kaggle.Credentials(token=SecretStr("t0ken")))
    ref = download.download(resolved, workspace=workspace)
    assert {request.authorization for request in server.requests if request.kind != "blob"} == {"Bearer t0ken"}
    assert "t0ken" not in f"{resolved!r}{resolved.model_dump_json()}{ref.model_dump_json()}"
    anonymous = download.ResolvedSource(identity=resolved.identity, source=resolved.source)
    assert download.download.key(resolved) == download.download.key(anonymous)


def test_the_path_of_an_archive_is_not_in_json(archive: Path) -> None:
    assert str(archive) not in download.resolve(sources.ArchiveSource(archive)).model_dump_json()


def test_the_demo_is_drawn_and_known_by_its_settings(workspace: Workspace) -> None:
    few = demo_archive.DemoConfig(images_per_class=dict.fromkeys(demo_faces.CLASSES, 2))
    resolved = download.resolve(sources.DemoSource(), demo=few)
    ref = download.download(resolved, workspace=workspace)
    assert ref.source == "demo"
    assert ref.n_files == len(archives.members(delivered(workspace, ref))) >= 14
    default = download.resolve(sources.DemoSource())
    assert download.download.key(default) != download.download.key(resolved)
    assert default == download.resolve(sources.DemoSource(), demo=demo_archive.DemoConfig())


def test_the_versions_that_need_no_request_are_those_that_the_workspace_holds(
    server: KaggleServer, workspace: Workspace
) -> None:
    server.datasets["owner/faces"] *= 11
    server.datasets["owner/faces-2"] = server.datasets["owner/faces"]
    assert download.versions_here(KAGGLE, workspace) == []
    for name, version in (("faces", 2), ("faces", 10), ("faces-2", 3)):
        download.download(download.resolve(sources.KaggleSource("owner", name, version)), workspace=workspace)
    here = download.versions_here(KAGGLE, workspace)
    assert list(map(str, here)) == ["kaggle:owner/faces/versions/10", "kaggle:owner/faces/versions/2"]
    for path in workspace.root.glob("download/*/dataset.zip"):
        path.unlink()
    assert download.versions_here(KAGGLE, workspace) == []
