import io
import os
import sys
import zipfile

import pytest

from fer import errors
from fer.serving import pictures


@pytest.fixture
def album(tmp_path, monkeypatch):
    """A folder of some files, in which the test runs."""
    for name in (
        "a.jpg",
        "B.JPG",
        "sub/c.png",
        "sub/d.heic",
        "notes.txt",
        ".hidden.jpg",
        "@eaDir/a.jpg",
        "empty/x.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(*names):
    return [str(source.path) for source in pictures.named(names)]


def zipped(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return path.read_bytes()


def test_a_folder_stands_for_its_images_and_a_pattern_for_the_files_that_fit(album):
    assert paths(".") == ["B.JPG", "a.jpg", "sub/c.png", "sub/d.heic"]
    assert paths("sub", "a.jpg", "sub/c.png") == ["sub/c.png", "sub/d.heic", "a.jpg"]
    assert paths("*.jpg") == ["a.jpg"]
    assert paths("**/*.png") == ["sub/c.png"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("*.webp", "no file *.webp"),
        ("empty", "no image in the folder empty"),
        ("https://example.org/face.jpg", "download it"),
        ("s3://bucket/face.jpg", "download it"),
    ],
)
def test_what_stands_for_no_file_is_told_with_what_to_do(album, argument, message):
    with pytest.raises(errors.SourceError) as raised:
        pictures.named(["a.jpg", argument])
    assert message in str(raised.value)
    assert argument in str(raised.value)


def test_an_archive_stands_for_the_images_in_it(album):
    zipped(album / "album.zip", "b/two.png", "a.jpg", "notes.txt", "__MACOSX/a.jpg")
    read = list(pictures.read(pictures.named(["album.zip", "a.jpg"])))
    assert [(picture.name, picture.data, picture.error) for picture in read] == [
        ("album.zip/a.jpg", b"a.jpg", ""), ("album.zip/b/two.png", b"b/two.png", ""), ("a.jpg", b"a.jpg", "")
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["../escape.jpg", "/etc/passwd.jpg"])
def test_an_archive_whose_names_lead_elsewhere_is_refused(album, name):
    zipped(album / "album.zip", name)
    with pytest.raises(errors.SourceError, match="plain relative paths"):
        list(pictures.read(pictures.named(["album.zip"])))


def test_an_archive_without_images_is_refused_and_a_damaged_member_says_so(album):
    zipped(album / "album.zip", "notes.txt")
    with pytest.raises(errors.SourceError, match="must hold images"):
        list(pictures.read(pictures.named(["album.zip"])))
    data = bytearray(zipped(album / "album.zip", "a.jpg", "b.jpg"))
    data[data.index(b"a.jpg", 40)] ^= 1  # of its content
    (album / "album.zip").write_bytes(data)
    damaged, whole = pictures.read(pictures.named(["album.zip"]))
    assert "damaged" in damaged.error
    assert (whole.data, whole.error) == (b"b.jpg", "")


def test_what_is_too_large_is_not_read(album, monkeypatch, limited):
    limited(image_bytes=4)
    zipped(album / "album.zip", "a.jpg")
    feed(monkeypatch, b"12345")
    read = list(pictures.read(pictures.named(["a.jpg", "album.zip", "-"])))
    assert [picture.data for picture in read] == [b""] * 3
    assert all("too large" in picture.error for picture in read)


def test_a_pipe_is_not_waited_for_and_a_file_that_went_is_told(album):
    os.mkfifo("pipe.jpg")
    source = pictures.Source(album / "pipe.jpg")
    (album / "a.jpg").unlink()
    pipe, gone = pictures.read([source, pictures.Source(album / "a.jpg")])
    assert "pipe" in pipe.error
    assert gone.error == "No such file or directory"


def feed(monkeypatch, data):
    """Give the process this standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_standard_input_is_a_picture_or_an_archive(album, monkeypatch):
    feed(monkeypatch, b"pixels")
    assert list(pictures.read(pictures.named(["-"]))) == [pictures.Picture("-", b"pixels")]
    feed(monkeypatch, zipped(album / "album.zip", "a.jpg"))
    assert list(pictures.read(pictures.named(["-"]))) == [pictures.Picture("-/a.jpg", b"a.jpg")]
    feed(monkeypatch, b"")
    assert list(pictures.read(pictures.named(["-"]))) == [pictures.Picture("-", b"")]


def test_a_terminal_is_no_picture(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with pytest.raises(errors.SourceError, match=r"cat photo\.jpg"):
        pictures.named(["-"])
