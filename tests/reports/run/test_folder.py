from types import SimpleNamespace

import pytest
import run_documents

from fer.reports import library, publishing
from fer.reports.cards import data_card, model_card
from fer.reports.run import folder, page


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes the folder `release`, of a document with this text; returns how many pages it drew."""
    (tmp_path / "quality.html").write_text("<!doctype html>")
    (tmp_path / "docs" / "manifest").mkdir(parents=True)
    (tmp_path / "docs" / "manifest" / "index.html").write_text("docs")
    drawn, render = [], page.render
    monkeypatch.setattr(page, "render", lambda report: drawn.append(report) or render(report))

    def write(text="plain"):
        n_before = len(drawn)
        docs = {"manifest": tmp_path / "docs" / "manifest"}
        folder.write(tmp_path / "release", run_documents.made(text=text), tmp_path / "quality.html", docs)
        return len(drawn) - n_before

    return write


def contents(release):
    """Each file but the note -> its bytes."""
    files = (path for path in release.rglob("*") if path.is_file() and path.name != "_written.json")
    return {path: path.read_bytes() for path in files}


def test_pages_that_are_there_as_they_would_be_written_are_not_drawn_again(write, tmp_path):
    assert write() == 1
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "release").rglob("*") if path.is_file()}
    assert write() == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "release").rglob("*") if path.is_file()} == before
    assert write("another text") == 1
    assert "another text" in (tmp_path / "release" / library.RECORD).read_text()


@pytest.mark.parametrize("spoil", ["changed", "removed", "added", "note", "source", "docs", "code"])
def test_pages_are_drawn_again_where_a_file_a_source_or_the_code_is_another(write, tmp_path, monkeypatch, spoil):
    write()
    release = tmp_path / "release"
    whole = contents(release)
    match spoil:
        case "changed":
            (release / library.PAGE).write_text("by hand")
        case "removed":
            (release / model_card.FILE).unlink()
        case "added":
            (release / "data_docs" / "manifest" / "old.html").write_text("old")
        case "note":
            (release / "_written.json").write_text("{")
        case "source":
            (tmp_path / "quality.html").write_text("<p>another")
        case "docs":
            (tmp_path / "docs" / "manifest" / "index.html").write_text("other docs")
        case "code":
            monkeypatch.setattr(folder, "_CODE", (page.__name__,))
    assert write() == 1
    written = contents(release)
    assert written.keys() == whole.keys()
    if spoil not in ("source", "docs"):
        assert written == whole
    assert write() == 0


def test_a_write_that_was_cut_off_is_done_again(write, monkeypatch):
    render = model_card.render
    write()
    monkeypatch.setattr(model_card, "render", lambda _: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write("another text")
    monkeypatch.setattr(model_card, "render", render)
    assert write() == 1


def test_the_note_of_what_was_written_is_not_shared(write, tmp_path):
    write()
    uploaded = []
    store = SimpleNamespace(list=lambda _: [], upload_file=lambda key, path, kind: uploaded.append(path))
    publishing.share(store, "models/demo/1", {library.RELEASE: tmp_path / "release"})
    assert {path.relative_to(tmp_path / "release").as_posix() for path in uploaded} == {
        library.PAGE,
        library.RECORD,
        model_card.FILE,
        data_card.FILE,
        "quality.html",
        "data_docs/manifest/index.html",
    }
