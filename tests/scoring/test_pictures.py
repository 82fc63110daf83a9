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


SQUARES = [" ".join([str(number)] * 64) for number in range(7)]
EACH = [",".join([str(number)] * 64) for number in range(7)]


@pytest.mark.parametrize(
    ("head", "lines"),
    [
        ("pixels", SQUARES),
        ("emotion,pixels,Usage", [f"3,{text},Training" for text in SQUARES]),
        ("\ufeffsep=;\nid;pixels", [f"ü{number};{text}" for number, text in enumerate(SQUARES)]),
        (" pixels", [f'"[{text}]"' for text in EACH]),
        (",".join(f"pixel{number}" for number in range(64)), EACH),
        (",".join(map(str, range(64))), EACH),
        ("", SQUARES),
        ("", EACH),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_of_pixels_of_a_csv_come_in_parts_with_labels_or_without(tmp_path, head, lines, end):
    lines = [*head.split("\n"), *lines] if head else lines
    files = {"labels.csv": b"file,label\na.png,1\n", "test.csv": end.join([*lines, ""]).encode()}
    path = archive(tmp_path, files)
    parts = pictures.parts(path, 3)
    assert [len(part) for part in parts] == [3, 3, 1]
    found = [picture for part in reversed(parts) for picture in part.read(path)]
    assert {picture.path: picture.data[-65:] for picture in found} == {
        f"test.csv#{number + 1}": b"\n" + bytes([number]) * 64 for number in range(7)
    }


def test_rows_of_a_csv_that_hold_no_picture_say_why_and_empty_lines_are_left_out(tmp_path):
    text = "\n".join(["pixels,n", f"{SQUARES[1]},1", "", SQUARES[2], "999" + SQUARES[3], "1 2 3,4", f"{SQUARES[5]},5"])
    path = archive(tmp_path, {"a.csv": text.encode()})
    parts = pictures.parts(path, 2)
    found = [picture for part in parts for picture in part.read(path)]
    assert [picture.path for picture in found] == [f"a.csv#{number}" for number in (1, 3, 4, 5, 6)]
    assert [picture.defect is None for picture in found] == [True, False, False, False, True]
    assert "number of columns" in found[1].defect
    assert found[3].defect == "the CSV row's pixels are no square"


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
