import zipfile

import pytest
from indexed import png

from fer.engine.local_workspace import LocalWorkspace
from fer.ingest import archives, download, leftovers, sources

FILES = {
    "happy/1.png": png(1),
    "happy/.ipynb_checkpoints/1-checkpoint.png": png(2),
    "happy/.ipynb_checkpoints/2-checkpoint.png": png(3),
    "angry/@eaDir/1.png/SYNOFILE_THUMB_M.jpg": b"x",
    "angry/2.png": png(4),
    "angry/THUMBS.DB": b"x",
    ".git/objects/00/1.png": b"x",
    "$RECYCLE.BIN/1.png": png(5),
    ".hidden.png": png(6),
}
LEFT_OUT = {
    "hidden or system folder (.ipynb_checkpoints)": 1,
    "hidden or system folder (@eaDir)": 1,
    "hidden or system folder (.git)": 1,
    "hidden or system folder ($RECYCLE.BIN)": 1,
    "system file (THUMBS.DB)": 1,
    "hidden file": 1,
}


def source_of(tmp_path, kind):
    if kind == "archive":
        with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
            for name, data in FILES.items():
                archive.writestr(name, data)
        return sources.ArchiveSource(tmp_path / "faces.zip")
    for name, data in FILES.items():
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return sources.FolderSource(tmp_path / "faces")


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_hidden_and_system_files_are_left_out_of_a_source_and_counted(tmp_path, kind):
    workspace = LocalWorkspace(tmp_path / "workspace")
    dataset = download.download(download.resolve(source_of(tmp_path, kind)), workspace=workspace)
    members = archives.members(workspace.folder(dataset) / archives.DATASET)
    assert [member.name for member in members] == ["angry/2.png", "happy/1.png"]
    assert dataset.left_out == LEFT_OUT


def test_a_folder_of_hidden_files_alone_says_so(tmp_path):
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "1.png").write_bytes(png(1))
    with pytest.raises(Exception, match=r"none in .* but hidden ones, e\.g\. '\.cache/'"):
        download.resolve(sources.FolderSource(tmp_path))


@pytest.mark.parametrize("path", ["happy/1.png", "a.b/c.png", "x@eaDir/1.png", "thumbs.db.png"])
def test_other_names_are_none(path):
    assert leftovers.within(path) is None
