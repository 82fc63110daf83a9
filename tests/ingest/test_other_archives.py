import io
import tarfile

import pytest
from indexed import png, run, zipped

from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest import sources


def tar(compression=""):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:
        info = tarfile.TarInfo("happy/1.png")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"one"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "kind", "command"),
    [
        ("faces.tar", tar(), "a tar", "mkdir faces && tar -xf {path} -C faces"),
        ("faces.tar.gz", tar("gz"), "a gzip", "mkdir faces && tar -xf {path} -C faces"),
        ("faces.tgz", tar("gz"), "a gzip", "mkdir faces && tar -xf {path} -C faces"),
        ("faces.tar.bz2", tar("bz2"), "a bzip2", "tar -xf {path} -C faces"),
        ("faces.txz", tar("xz"), "an xz", "tar -xf {path} -C faces"),
        ("faces.zip", tar("gz"), "a gzip", "tar -xf {path} -C faces"),
        ("f.csv.gz", tar("gz"), "a gzip", "mkdir f.csv && gunzip -c {path} > f.csv/f.csv"),
        ("faces.7z", b"7z\xbc\xaf\x27\x1c" + bytes(99), "a 7z", "7z x {path} -ofaces"),
        ("faces", b"Rar!\x1a\x07\x01\0" + bytes(99), "a RAR", "unrar x {path} faces-unpacked/"),
    ],
)
def test_an_archive_that_is_no_zip_is_named_with_the_command_that_unpacks_it(tmp_path, name, data, kind, command):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(errors.SourceError) as caught:
        sources.parse(f"archive:{path}")
    assert f"{kind} at {path}" in str(caught.value)
    assert command.format(path=path) in str(caught.value)
    with pytest.raises(errors.ConfigError) as caught_without_form:
        sources.parse(str(path))
    if not name.endswith(".zip"):
        assert command.format(path=path) in str(caught_without_form.value)


def test_parts_of_an_archive_are_named_with_the_command_that_joins_them(tmp_path):
    from fer.ingest import archives

    whole = zipped({"happy/1.png": png(1), "angry/2.png": png(2)})
    for number, data in enumerate((whole[:100], whole[100:]), start=1):
        path = tmp_path / f"faces.zip.{number:03d}"
        path.write_bytes(data)
        with pytest.raises(errors.SourceError) as caught:
            archives.members(path)
        assert f"`cat {tmp_path}/faces.zip.[0-9]* > whole-faces.zip`" in str(caught.value)
        assert not isinstance(caught.value, archives.DamagedArchive)
    for name, command in {"faces.7z.002": "7z x {}/faces.7z.001", "faces.z01": "zip -s 0 {}/faces.zip"}.items():
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(errors.SourceError) as caught:
            sources.parse(f"archive:{tmp_path / name}")
        assert command.format(tmp_path) in str(caught.value)


def test_archives_within_a_source_are_named(tmp_path):
    nested = {"fer2013.tar.gz": tar("gz")}
    with pytest.raises(errors.SourceError, match=r"unpack the archive inside the source \('fer2013\.tar\.gz'\)"):
        run(LocalWorkspace(tmp_path / "a"), nested)
    (line,) = run(LocalWorkspace(tmp_path / "b"), nested | {"happy/1.png": png(1)}).warnings
    assert "nested archive (.tar.gz) (1)" in line
