"""A prefix of a bucket as a source."""

import zipfile

import pytest
from indexed import png

from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest import buckets, download, sources

FILES = {"a/1.png": png(1), "a/2.png": png(2), ".hidden/x": b"x"}


@pytest.fixture
def source(store, store_settings, monkeypatch):
    """A source of the test's own store with FILES below the prefix `faces`, and one object beside it."""
    monkeypatch.setattr(buckets.settings.Settings, "load", lambda: store_settings)
    for name, data in FILES.items():
        store.put(f"faces/{name}", data)
    store.put("faces-of-others/3.png", png(3))
    return sources.parse(f"s3://{store_settings.store_bucket}/{store_settings.store_prefix}/faces/")


def test_what_is_below_the_prefix_becomes_the_archive(source, tmp_path):
    resolved = download.resolve(source)
    ref = download.download(resolved, workspace=LocalWorkspace(tmp_path))
    with zipfile.ZipFile(tmp_path / ref.path / "dataset.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            name: data for name, data in FILES.items() if not name.startswith(".")
        }
    assert ref.left_out == {"hidden or system folder (.hidden)": 1}
    assert ref.source == resolved.identity


def test_the_identity_is_of_the_content_and_changes_with_it(source, store):
    before = download.resolve(source).identity
    assert download.resolve(source).identity == before
    store.put("faces/a/2.png", png(9))
    assert download.resolve(source).identity != before


def test_what_changes_between_listing_and_reading_is_refused(source, store, tmp_path):
    expected = buckets.digest(source)
    store.put("faces/a/4.png", png(4))
    with pytest.raises(errors.SourceError, match="must not change while it is read"):
        buckets.pack(source, tmp_path / "x.zip", expected)
    assert not (tmp_path / "x.zip").exists()


def test_an_empty_prefix_is_no_source(source):
    with pytest.raises(errors.SourceError, match="must hold objects"):
        buckets.digest(sources.BucketSource(source.bucket, f"{source.prefix}/nothing"))
