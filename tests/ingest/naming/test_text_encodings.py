import struct
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexed import CONFIG, by_path, png, rows_of, run, zipped

from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest import archives, index
from fer.ingest.naming import text_encodings

NAMES = {
    "gbk": ["生气", "厌恶", "害怕", "高兴", "悲伤", "惊讶", "中性"],
    "big5": ["生氣", "厭惡", "害怕", "高興", "悲傷", "驚訝", "中性"],
    "shift_jis": ["怒り", "嫌悪", "恐怖", "喜び", "悲しみ", "驚き", "中立"],
    "cp949": ["분노", "혐오", "공포", "행복", "슬픔", "놀람", "중립"],
    "cp1251": ["злость", "отвращение", "страх", "радость", "грусть", "удивление"],
    "cp866": ["Злость", "Отвращение", "Страх", "Радость", "Грусть", "Удивление"],
    "koi8-r": ["злость", "отвращение", "страх", "радость", "грусть", "удивление"],
    "cp1252": ["colère", "dégoût", "joie", "Überraschung", "tristeza", "emoción"],
    "cp437": ["colère", "dégoût", "joie", "Überraschung", "tristeza", "emoción"],
    "cp850": ["aversão", "emoção", "felicidade"],
    "cp1250": ["złość", "wstręt", "radość", "smutek"],
    "utf-8": ["colère", "злость", "生气", "怒り", "😀"],
}


@pytest.mark.parametrize("encoding", NAMES)
def test_the_encoding_of_names_of_classes_is_sure(encoding):
    text = "\n".join(NAMES[encoding])
    found = text_encodings.sure(text.encode(encoding))
    assert found is not None
    assert text.encode(encoding).decode(found) == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("θυμός\nφόβος\nχαρά", "cp1253"), ("غضب\nخوف\nفرح", "cp1256"), ("כעס\nפחד", "cp1255"), ("โกรธ\nกลัว", "cp874")],
)
def test_what_no_candidate_is_for_is_not_sure(text, encoding):
    assert text_encodings.sure(text.encode(encoding)) is None


@given(st.binary(max_size=200))
def test_any_bytes_have_some_encodings_in_which_they_can_be_read(data):
    for encoding, text in text_encodings.guess(data).items():
        assert data.decode(encoding, "replace").startswith(text)
    text_encodings.advice(data)


def zip_with_names(path, names, encoding, extra=b""):
    """A zip of empty files whose names are in an encoding and not marked as UTF-8."""

    class Entry(zipfile.ZipInfo):
        def _encodeFilenameFlags(self):
            return self.filename.encode(encoding), self.flag_bits & ~0x800

    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            entry = Entry(name)
            entry.extra = extra
            archive.writestr(entry, b"")
    return path


@pytest.mark.parametrize("encoding", NAMES)
def test_names_in_a_zip_are_read_in_the_encoding_that_they_are_in(tmp_path, encoding):
    names = sorted(f"faces/train/{name}/{n}.png" for name in NAMES[encoding] for n in range(2))
    path = zip_with_names(tmp_path / "f.zip", names, encoding)
    assert [member.name for member in archives.members(path)] == names
    same = tmp_path / "same.zip"
    same.write_bytes(zipped(dict.fromkeys(names, b"")))
    assert archives.digest(path) == archives.digest(same)
    with archives.open_safe(path) as archive:
        assert [archives.read(archive, member) for member in archives.list_members(archive)] == [b""] * len(names)


def test_backslashes_within_characters_are_none(tmp_path):
    path = zip_with_names(tmp_path / "f.zip", ["表示\\ソート\\1.png", "表示\\怒り\\1.png"], "shift_jis")
    assert [member.name for member in archives.members(path)] == ["表示/ソート/1.png", "表示/怒り/1.png"]


def test_an_encoding_that_is_given_wins_but_not_over_utf_8(tmp_path):
    names = ["κακό/1.png"]
    for encoding, given_one in (("cp1253", "cp1253"), ("utf-8", "gbk")):
        path = zip_with_names(tmp_path / f"{encoding}.zip", names, encoding)
        with archives.open_safe(path, given_one) as archive:
            assert [member.name for member in archives.list_members(archive)] == names


def test_a_name_in_an_extra_field_is_used_if_it_belongs_to_the_entry(tmp_path):
    raw = "κακό.png".encode("cp1253")
    for checksum, name in ((zlib.crc32(raw), "κακό.png"), (1, raw.decode("cp437"))):
        field = b"\1" + struct.pack("<I", checksum) + "κακό.png".encode()
        extra = struct.pack("<HH", 0x7075, len(field)) + field
        path = zip_with_names(tmp_path / f"{checksum}.zip", ["κακό.png"], "cp1253", extra)
        assert [member.name for member in archives.members(path)] == [name]


def test_labels_in_an_unknown_encoding_end_the_run_with_what_to_set(tmp_path):
    names = [f"{name}/1.png".encode("gbk").decode("cp437") for name in ("恐惧", "平静")]
    with pytest.raises(errors.LabelError) as caught:
        run(LocalWorkspace(tmp_path), {name: png(n) for n, name in enumerate(names)})
    assert "seem to be in an encoding of Windows or DOS" in str(caught.value)
    assert "gb2312 ('" in str(caught.value)
    assert "--set index.text_encoding=NAME" in str(caught.value)


LABELS = {
    "cp1251": "злость",
    "gbk": "愤怒",
    "cp1252": "colère",
    "utf-16": "злость",
    "utf-16-le": "colère",
    "utf-8-sig": "愤怒",
}


@pytest.mark.parametrize("encoding", LABELS)
@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
def test_tables_are_read_in_the_encodings_and_line_ends_that_programs_write(tmp_path, encoding, line_end):
    workspace = LocalWorkspace(tmp_path)
    label = LABELS[encoding]
    config = CONFIG.model_copy(update={"synonyms": {label: "angry"}})
    rows = ["file;label", f"{label}-1.png;{label}", "2.png;happy", f"3.png;{label}", f"4.png;{label}"]
    images = {f"{label}-1.png": png(1), **{f"{n}.png": png(n) for n in (2, 3, 4)}}
    manifest = run(workspace, images | {"l.csv": line_end.join(rows).encode(encoding)}, config)
    row_of = by_path(workspace, manifest)
    assert [row_of[path]["label"] for path in images] == ["angry", "happy", "angry", "angry"]


def test_a_table_of_which_the_encoding_is_not_sure_ends_the_run_with_what_was_tried_and_what_to_set(tmp_path):
    files = {"1.png": png(1), "2.png": png(2), "l.csv": "file,label\n1.png,θυμός\n2.png,happy\n".encode("cp1253")}
    config = CONFIG.model_copy(update={"synonyms": {"θυμός": "angry"}})
    with pytest.raises(errors.SourceError) as caught:
        run(LocalWorkspace(tmp_path / "a"), files, config)
    assert "other bytes in row 1 of 'l.csv'" in str(caught.value)
    assert "--set index.text_encoding=NAME" in str(caught.value)
    assert "tried: utf-8, gb2312" in str(caught.value)
    workspace = LocalWorkspace(tmp_path / "b")
    manifest = run(workspace, files, config.model_copy(update={"text_encoding": "cp1253"}))
    assert [row["label"] for row in rows_of(workspace, manifest)] == ["angry", "happy"]


def test_the_line_by_which_excel_is_told_the_separator_is_no_row(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    table = "sep=;\r\nfile;label\r\n1,5.png;happy\r\n"
    row_of = by_path(workspace, run(workspace, {"1,5.png": png(1), "l.csv": table.encode()}))
    assert row_of["1,5.png"]["label"] == "happy"


@pytest.mark.parametrize("name", ["rot13", "zlib", "unicode_escape", "no such", "a\0b"])
def test_only_encodings_of_texts_can_be_set(name):
    with pytest.raises(ValueError, match="must be one of utf-8"):
        index.IndexConfig(classes=("a", "b"), text_encoding=name)
