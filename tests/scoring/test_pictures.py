"""The pictures of a data set without labels."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from indexed import png, zipped

from fer import errors
from fer.ingest import manifest_parts
from fer.scoring import pictures


def table(images, **options):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"picture": images, "n": list(range(len(images)))}), buffer, **options)
    return buffer.getvalue()


def archive(tmp_path, files):
    path = tmp_path / "dataset.zip"
    path.write_bytes(zipped(files))
    return path


def test_image_files_come_by_name_in_parts_and_other_files_are_left_alone(tmp_path):
    files = {f"any/{number}.png": png(number) for number in range(5)} | {"notes.txt": b"x", "labels.csv": b"a,b\n1,2\n"}
    path = archive(tmp_path, dict(reversed(files.items())))
    parts = pictures.parts(path, 2)
    assert [len(part) for part in parts] == [2, 2, 1]
    found = [picture for part in parts for picture in part.read(path)]
    assert [(picture.path, picture.data) for picture in found] == [(name, files[name]) for name in sorted(files)[:5]]
    sha256 = pictures.hashlib.sha256(files["any/0.png"]).hexdigest()
    assert found[0].image_id == manifest_parts.image_id("any/0.png", sha256)


def test_rows_of_a_table_come_in_parts_whatever_its_row_groups_are(tmp_path):
    images = [png(number) for number in range(7)]
    path = archive(tmp_path, {"faces.parquet": table(images, row_group_size=3)})
    parts = pictures.parts(path, 2)
    assert [len(part) for part in parts] == [2, 2, 2, 1]
    found = [picture for part in parts for picture in part.read(path)]
    assert [picture.data for picture in found] == images
    assert [picture.path for picture in found] == [f"faces.parquet#{number}" for number in range(1, 8)]


def test_images_in_structs_lists_and_text_are_read(tmp_path):
    struct = table([{"bytes": png(1), "path": "a"}, {"bytes": None, "path": "b"}])
    buffer = io.BytesIO()
    pq.write_table(pa.table({"pixels": [" ".join(["7"] * 64), "1 2 x"]}), buffer)
    path = archive(tmp_path, {"a.parquet": struct, "b.parquet": buffer.getvalue()})
    found = [picture for part in pictures.parts(path, 10) for picture in part.read(path)]
    assert [picture.defect is None for picture in found] == [True, False, True, False]
    assert found[2].data.startswith(b"P5\n8 8\n")


def test_a_picture_over_the_limit_is_not_read(tmp_path, monkeypatch):
    path = archive(tmp_path, {"a.png": png()})
    monkeypatch.setattr(pictures.image_limits, "current", lambda: type("Limits", (), {"bytes": 10}))
    (found,) = pictures.parts(path, 10)[0].read(path)
    assert not found.data
    assert "too large" in found.defect


def test_a_source_without_pictures_says_what_it_holds(tmp_path):
    path = archive(tmp_path, {"a.txt": b"x", "b.parquet": table([1, 2])})
    with pytest.raises(errors.SourceError, match=r"2 files, none of them one \(\.parquet, \.txt\)"):
        pictures.parts(path, 10)
