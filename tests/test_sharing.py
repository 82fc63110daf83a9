"""Reports in a real store."""

import urllib.error
import urllib.request

import pytest

from fer import errors, sharing


def parts(tmp_path):
    for name, content in {
        "quality/quality.html": "<p>grün",
        "docs/pages/a b.html": "x",
        "docs/data.json": "{}",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, "utf-8")
    (tmp_path / "docs" / "_ref.json").write_text("the workspace's own")
    return {"quality": tmp_path / "quality", "docs": tmp_path / "docs"}


def test_pages_are_read_by_their_signed_links_as_pages(store, tmp_path):
    pages = sharing.share(store, "data/1", parts(tmp_path))
    assert [(page.part, page.name) for page in pages] == [("quality", "quality.html"), ("docs", "pages/a b.html")]
    with urllib.request.urlopen(pages[0].link) as answer:  # noqa: S310 - loopback
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.read().decode() == "<p>grün"
    keys = [each.key for each in store.list("reports/data/1/")]
    assert [key.removeprefix("reports/data/1/") for key in keys] == [
        *("docs/data.json", "docs/pages/a b.html", "quality/quality.html", "shared")
    ]


def test_a_link_is_good_for_its_own_page_only(store, tmp_path):
    link = sharing.share(store, "data/1", parts(tmp_path))[0].link
    for changed in (link.replace("quality.html", "data.json"), link.partition("?")[0]):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(changed)  # noqa: S310 - loopback


def test_what_is_shared_is_not_uploaded_again_and_what_was_cut_short_is(store, tmp_path, monkeypatch):
    folders = parts(tmp_path)
    monkeypatch.setattr(sharing, "_WRITERS", 1)
    upload, uploaded = store.upload_file, []

    def fail_at_second(key, *arguments):
        uploaded.append(key)
        if len(uploaded) == 2:
            raise errors.StoreUnavailable("The store must answer.")
        return upload(key, *arguments)

    monkeypatch.setattr(store, "upload_file", fail_at_second)
    with pytest.raises(errors.StoreUnavailable):
        sharing.share(store, "data/1", folders)
    first = len(uploaded)
    sharing.share(store, "data/1", folders)
    assert len(uploaded) == first + 3
    sharing.share(store, "data/1", folders)
    assert len(uploaded) == first + 3
