"""Reports in a real store."""

import contextlib
import json
import threading
from types import SimpleNamespace

import pytest
import run_documents

from data_contracts import files
from fer import errors
from fer.evaluation.refs import Check, Examination
from fer.registry.refs import ReleaseRef
from fer.reports import publishing
from tasks import reports
from tasks.runs.results import Assessment


def parts(tmp_path, page="<p>grün"):
    for name, content in {
        "quality/quality.html": page,
        "docs/pages/a b.html": "x",
        "docs/data.json": "{}",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, "utf-8")
    (tmp_path / "docs" / "_ref.json").write_text("the workspace's own")
    return {"quality": tmp_path / "quality", "docs": tmp_path / "docs"}


def read(store, top, name="quality/quality.html"):
    return store.get(f"{top}/{name}").data.decode()


def test_pages_are_shared_as_pages_below_one_key(store, tmp_path):
    top = publishing.share(store, "data/1", parts(tmp_path))
    assert read(store, top) == "<p>grün"
    assert read(store, top, "docs/pages/a b.html") == "x"
    assert top.startswith("reports/data/1/")
    keys = [entry.key for entry in store.list("reports/data/1/")]
    assert keys == [f"{top}/{name}" for name in ("docs/data.json", "docs/pages/a b.html", "quality/quality.html")]


def test_other_pages_under_the_same_name_are_shared_beside_those_that_were(store, tmp_path):
    before = publishing.share(store, "data/1", parts(tmp_path))
    after = publishing.share(store, "data/1", parts(tmp_path, "<p>blau"))
    assert read(store, after) == "<p>blau"
    assert read(store, before) == "<p>grün"


def test_a_page_of_another_name_is_shared_as_well(store, tmp_path):
    folders = parts(tmp_path)
    publishing.share(store, "data/1", folders)
    (folders["docs"] / "pages" / "a b.html").rename(folders["docs"] / "later.html")
    assert read(store, publishing.share(store, "data/1", folders), "docs/later.html") == "x"


def test_what_is_shared_is_not_uploaded_again_and_what_was_cut_short_is(store, tmp_path, monkeypatch):
    folders = parts(tmp_path)
    monkeypatch.setattr(publishing, "_WRITERS", 1)
    upload, uploaded = store.upload_file, []

    def fail_at_second(key, *arguments):
        uploaded.append(key)
        if len(uploaded) == 2:
            raise errors.StoreUnavailable("The store must answer.")
        return upload(key, *arguments)

    monkeypatch.setattr(store, "upload_file", fail_at_second)
    with pytest.raises(errors.StoreUnavailable):
        publishing.share(store, "data/1", folders)
    stored = {entry.key for entry in store.list("reports/data/1/")}
    n_tried = len(uploaded)
    shared = publishing.share(store, "data/1", folders)
    assert len(list(store.list(f"{shared}/"))) == 3
    assert uploaded[1] in uploaded[n_tried:]
    assert stored.isdisjoint(uploaded[n_tried:])
    n_tried = len(uploaded)
    assert publishing.share(store, "data/1", folders) == shared
    assert len(uploaded) == n_tried


def test_a_page_that_was_removed_from_the_store_is_put_there_again(store, tmp_path):
    folders = parts(tmp_path)
    shared = publishing.share(store, "data/1", folders)
    store.delete(f"{shared}/quality/quality.html")
    assert read(store, publishing.share(store, "data/1", folders)) == "<p>grün"


RUN = "0c4c0b9e-3f5d-4a53-9d5e-0a8f6f0f7c11"
HOSTILE = "![x](http://127.0.0.1/x.png) <b>*bold*</b> `code` www.example.org\n# heading"


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A function that publishes a run with HOSTILE texts; returns its folder, artifacts and shared folders."""
    for name in ("manifest", "shards", "balanced", "predictions"):
        (tmp_path / name / files.DOCS).mkdir(parents=True)
        (tmp_path / name / files.DOCS / "index.html").write_text(name)
    (tmp_path / "quality").mkdir()
    (tmp_path / "quality" / "quality.html").write_text("<!doctype html>")

    def ref(name):
        return SimpleNamespace(path=name, summary=lambda: HOSTILE)

    run = SimpleNamespace(folder=tmp_path / "home" / "reports" / "demo" / "2", artifacts=[], shared=[])
    monkeypatch.setenv("FER_HOME", str(tmp_path / "home"))
    lock = threading.Lock()

    @contextlib.contextmanager
    def locked(*_):
        with lock:
            yield

    workspace = SimpleNamespace(folder=lambda ref: tmp_path / ref.path, locked=locked)
    monkeypatch.setattr(reports.caching, "workspace", lambda: workspace)
    monkeypatch.setattr(reports.artifacts, "markdown", lambda key, text, about: run.artifacts.append(text))
    monkeypatch.setattr(reports, "share", lambda name, folders, **_: run.shared.append(folders))
    report = run_documents.made(text=HOSTILE)
    monkeypatch.setattr(reports.registered, "read", lambda _: (None, ""))
    monkeypatch.setattr(reports.document, "document", lambda subject, _: report | {"links": dict(subject.links)})
    monkeypatch.setattr(reports, "RetrainResult", lambda **values: SimpleNamespace(**values))
    data = SimpleNamespace(
        quality=ref("quality"), split=ref("split"), validation=ref("manifest"), reports={"data quality": "page"}
    )
    trained = SimpleNamespace(shards=ref("shards"), balanced=ref("balanced"), model=ref("model"), seeds=None)
    checks = (Check(name="floor", passed=True, detail=HOSTILE),)
    verdict = SimpleNamespace(checks=checks, power=None, estimate_of=HOSTILE)
    assessment = Assessment(ref("predictions"), ref("split"), Examination(), None, verdict)
    release = ReleaseRef(name="demo", version=2, status="released", uri="s3://m/demo/2", champion_version=2)

    def publish():
        reports.publish_run.fn([f"folder:/data/{HOSTILE}"], "demo", data, trained, assessment, release)
        return run

    return publish


def test_the_reports_folder_of_a_release_holds_the_docs_of_now_and_none_of_before(published):
    run = published()
    docs = run.folder / files.DOCS
    (docs / "shards" / "validations").mkdir()
    (docs / "shards" / "validations" / "old.html").write_text("old")
    (docs / "gone").mkdir()
    published()
    assert sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.html")) == [
        f"{name}/index.html" for name in ("balanced", "manifest", "predictions", "shards")
    ]
    assert not (docs / "gone").exists()
    assert run.shared[-1] == {"release": run.folder}


def test_a_second_run_of_the_same_release_leaves_its_reports_alone_until_they_are_shared(published, monkeypatch):
    threads, untouched = [], []

    def share(name, folders, **_):
        if threads:
            return
        sign = folders["release"] / files.DOCS / "sign"
        sign.touch()
        threads.append(threading.Thread(target=published))
        threads[0].start()
        threads[0].join(0.5)
        untouched.append(sign.exists())

    monkeypatch.setattr(reports, "share", share)
    run = published()
    threads[0].join(10)
    assert untouched == [True]
    assert not (run.folder / files.DOCS / "sign").exists()


def test_texts_from_outside_are_no_markup_in_the_report_of_a_run(published):
    run = published()
    page = (run.folder / "report.html").read_text()
    assert "![x](http://127.0.0.1/x.png) &lt;b&gt;*bold*&lt;/b&gt; `code`" in page
    assert "<b>*bold*" not in page
    assert page.count("<img") == page.count('<img src="data:image/png;base64,')
    (artifact,) = run.artifacts
    assert "![x]" not in artifact
    assert "http://" not in artifact


def test_what_the_page_shows_and_links_lies_beside_it(published):
    run = published()
    record = json.loads((run.folder / "report.json").read_text())
    assert record["metrics"]["accuracy"]
    hrefs = set(record["links"].values())
    assert {"quality.html", "report.json", "data_docs/shards/index.html"} <= hrefs
    assert all((run.folder / href).is_file() for href in hrefs)


@pytest.mark.parametrize(
    ("made_by", "address", "link"),
    [
        (f"run a ({RUN})", "http://me:secret@127.0.0.1:4200/api", f"http://127.0.0.1:4200/runs/flow-run/{RUN}"),
        (f"run a ({RUN})", None, None),
        ("ann@host", "http://127.0.0.1:4200/api", None),
    ],
)
def test_the_run_is_linked_where_a_server_is_configured(published, monkeypatch, made_by, address, link):
    api = SimpleNamespace(url=address)
    ui_url = None if address is None else address.removesuffix("/api")
    monkeypatch.setattr(reports, "get_current_settings", lambda: SimpleNamespace(ui_url=ui_url, api=api))
    monkeypatch.setattr(reports.registered, "read", lambda _: (None, made_by))
    links_of_page = json.loads((published().folder / "report.json").read_text())["links"]
    assert links_of_page.get("this run in the Prefect UI") == link
