from pathlib import Path

import kaggle_server
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer import errors
from fer.ingest import sources

KAGGLES_OWN = ("c", "competitions", "datasets")  # they begin the addresses of pages, and are no owners


def test_demo_is_a_source() -> None:
    assert sources.parse(" demo ") == sources.DemoSource()


def test_a_kaggle_handle_gives_owner_slug_and_pinned_version() -> None:
    assert sources.parse("kaggle:msambare/fer2013\n") == sources.KaggleSource("msambare", "fer2013", None)
    assert sources.parse("kaggle:a_b/c-d.e/versions/12") == sources.KaggleSource("a_b", "c-d.e", 12)


def test_an_archive_is_found_relative_to_here_and_to_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faces.zip").write_bytes(kaggle_server.zip_of({"a/1.png": b"x"}))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    expected = sources.ArchiveSource(tmp_path / "faces.zip")
    assert sources.parse("archive:faces.zip") == expected
    assert sources.parse("archive:~/faces.zip") == expected


def test_a_folder_is_found_relative_to_here_and_to_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faces").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    expected = sources.FolderSource(tmp_path / "faces")
    assert sources.parse("folder:faces") == sources.parse("folder:~/faces/") == expected
    assert sources.parse(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "folder:",
        "demo:",
        "demo:1",
        "archive:",
        "kaggle:",
        "kaggle:fer2013",
        "kaggle:a/b/c",
        "kaggle:a/b/versions/0",
        "kaggle:a/b/versions/x",
        "kaggle:../b",
        "kaggle:a/b?x",
        "s3:bucket",
        "faces.zip",
    ],
)
def test_any_other_form_is_refused_with_the_forms_that_there_are(text: str) -> None:
    with pytest.raises(errors.ConfigError, match=r"kaggle:OWNER/SLUG.*Received.*Next"):
        sources.parse(text)


def test_what_looks_like_a_handle_is_answered_with_the_form_to_write() -> None:
    with pytest.raises(errors.ConfigError, match="Next: write kaggle:msambare/fer2013 for a dataset on Kaggle"):
        sources.parse("msambare/fer2013")


def test_an_address_is_answered_with_what_to_do_about_it() -> None:
    with pytest.raises(errors.ConfigError, match=r"Received: 's3://b/f\.zip'.*Next: download it first.*archive:f\.zip"):
        sources.parse("archive:s3://b/f.zip")


@pytest.mark.parametrize(
    ("text", "todo"),
    [
        ("data/faces.zip", r"write archive:data/faces\.zip"),
        ("here.bin", r"write archive:here\.bin"),
        ("faces", "write folder:faces"),
        ("faces/labels.csv", "put it and the images .* write folder:faces"),
    ],
)
def test_a_bare_path_is_answered_with_the_form_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, todo: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    for name in ("here.bin", "faces/labels.csv"):
        (tmp_path / name).touch()
    with pytest.raises(errors.ConfigError, match=todo):
        sources.parse(text)


@pytest.mark.parametrize(
    ("text", "todo"),
    [
        ("archive:faces", "write folder:faces"),
        ("archive:faces/labels.csv", "put it and the images .* write folder:faces"),
        ("archive:faces/labels.parquet", "put it and the images .* write folder:faces"),
        ("folder:faces.zip", r"write archive:faces\.zip"),
        ("folder:faces/labels.csv", "write folder:faces"),
        ("folder:nowhere", "check the path"),
        ("folder:~nobody-of-this-name/x", "check the path"),
    ],
)
def test_a_path_of_another_kind_is_answered_with_the_form_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, todo: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    for name in ("faces.zip", "faces/labels.csv", "faces/labels.parquet"):
        (tmp_path / name).write_text("words")
    with pytest.raises(errors.SourceError, match=f"Received: .*Next: .*{todo}"):
        sources.parse(text)


@pytest.mark.parametrize("text", ["kaggle:a/b + demo", "folder:x + y", "folder:x\ny", "demo\ndemo"])
def test_a_source_is_one_line_without_what_joins_several(text: str) -> None:
    with pytest.raises(errors.ConfigError, match=r"one line of text without ' \+ '"):
        sources.parse(text)


@pytest.mark.parametrize("path", ["missing.zip", "folder", "text.zip", "empty.zip", "~nobody-of-this-name/x.zip"])
def test_a_path_that_is_no_zip_is_one_source_error_with_a_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.zip").write_text("not a zip")
    (tmp_path / "empty.zip").touch()
    with pytest.raises(errors.SourceError, match=r"Received: .*Next: "):
        sources.parse(f"archive:{path}")


@given(
    st.text(max_size=30)
    | st.builds("{}:{}".format, st.sampled_from(["kaggle", "archive", "folder"]), st.text(max_size=20))
    | st.builds("folder:/{}/..{}".format, st.text(max_size=9), st.text(" /.\t\n+", max_size=3))
)
def test_any_text_is_a_source_or_one_of_two_errors(text: str) -> None:
    try:
        source = sources.parse(text)
    except (errors.ConfigError, errors.SourceError):
        return
    assert sources.parse(str(source)) == source


@given(
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True).filter(lambda name: name not in KAGGLES_OWN),
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True),
    st.none() | st.integers(1, 10**8),
)
def test_a_kaggle_source_reads_back_what_it_writes(owner: str, slug: str, version: int | None) -> None:
    source = sources.KaggleSource(owner, slug, version)
    assert sources.parse(str(source)) == source
