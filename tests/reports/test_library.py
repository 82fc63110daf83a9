"""Reports that are found by their release or their run, here or in a real store."""

import datetime
import shutil

import pytest

from fer import errors
from fer.reports import library, publishing
from fer.reports.library import RunPages

RUN = "0c4c0b9e-3f5d-4a53-9d5e-0a8f6f0f7c11"


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def write(folder, text="page"):
    (folder / "data_docs").mkdir(parents=True, exist_ok=True)
    (folder / library.PAGE).write_text(text)
    (folder / library.RECORD).write_text("{}")
    (folder / "data_docs" / "index.html").write_text("docs")
    return folder


def shared(store, home, text="page"):
    folder = write(library.folder_of(home, "demo", 2), text)
    return publishing.share(store, "models/demo/2", {library.RELEASE: folder})


def pages(**differing):
    return RunPages(**{"run": "a run", "run_id": RUN, "top": "reports/data/1/0", "page": "quality/q.html"} | differing)


def test_a_report_that_is_here_is_not_fetched(store, home):
    folder = write(library.folder_of(home, "demo", 2))
    assert library.of_release(store, home, "demo", 2) == (folder / library.PAGE, False)


def test_a_report_that_is_gone_is_fetched_whole_and_only_once(store, home):
    shared(store, home)
    shutil.rmtree(home)
    place = library.of_release(store, home, "demo", 2)
    assert (place.was_fetched, place.page.read_text()) == (True, "page")
    assert (place.page.parent / "data_docs" / "index.html").read_text() == "docs"
    assert not library.of_release(store, home, "demo", 2).was_fetched
    assert [path.name for path in place.page.parent.parent.iterdir()] == ["2"]


def a_day_later(monkeypatch, store, prefix):
    """What lies below the prefix is listed as written a day later: the store's times are whole seconds."""
    listed, day = store.list, datetime.timedelta(days=1)
    monkeypatch.setattr(
        store,
        "list",
        lambda key: (each._replace(modified=each.modified + day * each.key.startswith(prefix)) for each in listed(key)),
    )


@pytest.mark.parametrize("last", ["zzz", "page"])
def test_of_several_the_one_that_was_shared_last_is_fetched(store, home, monkeypatch, last):
    tops = {text: shared(store, home, text) for text in ("zzz", "page")}
    a_day_later(monkeypatch, store, tops[last])
    store.put("reports/models/demo/20/x/release/report.html", b"of another version")
    shutil.rmtree(home)
    assert library.of_release(store, home, "demo", 2).page.read_text() == last


def test_a_report_that_was_changed_in_the_store_is_refused_and_leaves_nothing(store, home):
    top = shared(store, home)
    shutil.rmtree(home)
    store.put(f"{top}/release/report.html", b"other")
    with pytest.raises(errors.IntegrityError, match="must be as it was shared"):
        library.of_release(store, home, "demo", 2)
    assert not library.folder_of(home, "demo", 2).exists()


def test_no_report_anywhere_is_said_with_what_to_do(store, home):
    with pytest.raises(errors.ConfigError, match="none of demo@7") as raised:
        library.of_release(store, home, "demo", 7)
    assert "fer retrain" in str(raised.value)


def test_a_run_is_found_by_its_id_and_by_its_name_the_newest_first(store, monkeypatch):
    assert library.of_run(store, RUN) is None
    other = RUN.replace("0c", "1d")
    library.note(store, pages())
    library.note(store, pages(run_id=other, name="demo", version=2))
    store.put("reports/runs/damaged.json", b"{")
    a_day_later(monkeypatch, store, f"reports/runs/{other}")
    assert library.of_run(store, RUN) == pages()
    assert library.of_run(store, "a run").run_id == other
    assert library.of_run(store, "another run") is None


def test_the_report_of_a_run_without_a_release_is_that_of_its_data(store, home, tmp_path):
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "q.html").write_text("quality")
    top = publishing.share(store, "data/1", {"quality": tmp_path / "q"})
    place = library.of_data(store, home, pages(top=top))
    assert (place.was_fetched, place.page.read_text()) == (True, "quality")
    assert not library.of_data(store, home, pages(top=top)).was_fetched
    with pytest.raises(errors.IntegrityError):
        library.of_data(store, home, pages(top=top, page="../../../../etc/passwd"))
