import hashlib
import io
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts import files as names
from data_contracts import manifest as contract
from fer import archives, errors, images, index, layouts, progress, refs
from fer.workspace import Workspace

CONFIG = index.IndexConfig(classes=("angry", "happy", "surprise"))


def picture(seed=0, height=12, width=10):
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def png(seed=0, height=12, width=10):
    return images.encode_png(picture(seed, height, width))


def zipped(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # without the time of the day
    return packed.getvalue()


def committed(workspace, files, key="0"):
    """A dataset of these files (name -> bytes) in the workspace."""

    def produce(out):
        (out / "dataset.zip").write_bytes(zipped(files))
        return refs.DatasetRef(source="archive", n_files=len(files), size_bytes=1)

    return workspace.run("download", key, refs.DatasetRef, produce, resumable=False)


def run(workspace, files, config=CONFIG, say=progress.silent):
    return index.index(committed(workspace, files), config, workspace=workspace, progress=say)


def rows_of(workspace, manifest):
    table = pq.read_table(workspace.folder(manifest) / index.MANIFEST)
    assert table.schema.equals(contract.SCHEMA)
    return table.to_pylist()


def bytes_of(workspace, manifest, row):
    part = workspace.folder(manifest) / names.IMAGES / names.part(row["part"])
    found = pq.read_table(part).slice(row["row"], 1).to_pylist()[0]
    assert found["path"] == row["path"]
    return found["data"]


def csv_row(pixels, emotion=0, usage="Training"):
    return f'{emotion},"{" ".join(map(str, pixels))}",{usage}\n'


def test_each_image_has_a_row_that_says_what_it_is(tmp_path):
    workspace = Workspace(tmp_path)
    files = {"set/Angry/b.png": png(1), "set/Suprise/a.PNG": png(2, 20, 30), "set/README.txt": b"read me"}
    made = run(workspace, files)
    first, second = rows_of(workspace, made)
    assert (first["path"], first["raw_label"], first["label"]) == ("set/Angry/b.png", "Angry", "angry")
    assert (second["raw_label"], second["label"], second["raw_split"]) == ("Suprise", "surprise", None)
    assert (second["height"], second["width"]) == (20, 30)
    assert second["size_bytes"] == len(files["set/Suprise/a.PNG"])
    assert second["file_sha256"] == hashlib.sha256(files["set/Suprise/a.PNG"]).hexdigest()
    assert second["pixel_sha256"] == hashlib.sha256(b"20x30:" + picture(2, 20, 30).tobytes()).hexdigest()
    assert second["mean"] == pytest.approx(picture(2, 20, 30).mean())
    assert second["std"] == pytest.approx(picture(2, 20, 30).std())
    assert first["status"] == second["status"] == contract.ACCEPTED
    assert bytes_of(workspace, made, second) == files["set/Suprise/a.PNG"]
    assert (made.layout, made.n_found, made.n_quarantined, made.n_ignored) == (layouts.CLASS_FOLDERS, 2, 0, 1)


def test_the_same_pixels_in_another_file_have_the_same_pixel_digest_only(tmp_path):
    workspace = Workspace(tmp_path)
    pgm = b"P5\n10 12\n255\n" + picture().tobytes()
    one, two, three = rows_of(
        workspace, run(workspace, {f"happy/{n}": d for n, d in {"a.png": png(), "b.pgm": pgm, "c.png": png()}.items()})
    )
    assert one["pixel_sha256"] == two["pixel_sha256"] == three["pixel_sha256"]
    assert one["file_sha256"] == three["file_sha256"] != two["file_sha256"]
    assert len({one["image_id"], two["image_id"], three["image_id"]}) == 3


def test_what_cannot_be_decoded_is_in_quarantine_with_the_reason_and_its_bytes(tmp_path):
    workspace = Workspace(tmp_path)
    files = {"happy/cut.png": png()[:40], "happy/empty.jpg": b"", "happy/whole.png": png(), "happy/words.jpg": b"words"}
    made = run(workspace, files)
    cut, empty, whole, words = rows_of(workspace, made)
    assert [each["status"] for each in (cut, empty, words)] == [contract.QUARANTINED] * 3
    assert whole["status"] == contract.ACCEPTED
    assert empty["reason"] == "the file is empty"
    assert words["reason"]
    assert words["pixel_sha256"] is words["width"] is words["std"] is None
    assert words["label"] == "happy"
    assert bytes_of(workspace, made, words) == b"words"
    assert made.n_quarantined == 3


@pytest.mark.parametrize(
    ("name", "raw_split"),
    [
        ("happy/1.png", None),
        ("data/train/happy/1.png", "train"),
        ("Test/happy/1.png", "Test"),
        ("happy/validation/1.png", "validation"),
        ("train/happy/Training_1.png", "Training"),
        ("test/happy/PublicTest_1.png", "PublicTest"),
        ("test/happy/PrivateTest_1.png", "PrivateTest"),
    ],
)
def test_the_split_is_that_of_the_file_name_or_else_of_the_folder(tmp_path, name, raw_split):
    workspace = Workspace(tmp_path)
    (row,) = rows_of(workspace, run(workspace, {name: png()}))
    assert (row["label"], row["raw_split"]) == ("happy", raw_split)


def test_unknown_labels_are_listed_with_what_is_accepted(tmp_path):
    files = {"happy/1.png": png(), "contempt/1.png": png(), "contempt/2.png": png(), "logo.png": png()}
    with pytest.raises(errors.LabelError) as caught:
        run(Workspace(tmp_path), files)
    assert "'contempt' (2 images)" in str(caught.value)
    assert "1 images in no class folder, e.g. 'logo.png'" in str(caught.value)
    assert "angry, happy, surprise" in str(caught.value)


def test_labels_can_be_mapped_or_left_out_by_the_config(tmp_path):
    workspace = Workspace(tmp_path)
    config = index.IndexConfig(classes=CONFIG.classes, synonyms={"joie": "happy"}, ignore_labels=("Contempt",))
    made = run(workspace, {"joie/1.png": png(), "contempt/1.png": png()}, config)
    assert [row["label"] for row in rows_of(workspace, made)] == ["happy"]
    assert made.n_ignored == 1


def test_a_folder_of_non_images_is_a_clear_error(tmp_path):
    with pytest.raises(errors.SourceError, match=r"3 files, none an image \(.txt: 2, no suffix: 1\)"):
        run(Workspace(tmp_path), {"happy/a.txt": b"a", "happy/b.txt": b"b", "happy/LICENSE": b"c"})


def test_images_that_are_all_unreadable_are_a_clear_error(tmp_path):
    with pytest.raises(errors.SourceError, match="2 files; the file is empty: 2"):
        run(Workspace(tmp_path), {"happy/a.png": b"", "happy/b.png": b""})


def test_images_that_are_all_left_out_are_a_clear_error(tmp_path):
    config = index.IndexConfig(classes=CONFIG.classes, ignore_labels=("fear",))
    with pytest.raises(errors.SourceError, match="must hold images"):
        run(Workspace(tmp_path), {"fear/a.png": png()}, config)


def test_parts_made_by_several_processes_are_the_same_as_by_one(tmp_path, monkeypatch):
    files = {f"{label}/{n}.png": png(n) for n in range(4) for label in ("happy", "angry")}
    monkeypatch.setattr(index, "_FILES_A_PART", 3)
    monkeypatch.setattr(index.parallel, "usable_cores", lambda: 2)
    said = []
    by_pool = run(Workspace(tmp_path / "pool"), files, say=lambda *args: said.append(args[:2]))
    assert said == [(1, 3), (2, 3), (3, 3)]
    monkeypatch.setattr(index.parallel, "usable_cores", lambda: 1)
    alone = Workspace(tmp_path / "alone")
    assert run(alone, files).digest == by_pool.digest
    found = rows_of(alone, by_pool)
    assert [row["path"] for row in found] == sorted(files)
    assert all(bytes_of(alone, by_pool, row) == files[row["path"]] for row in found)


def test_decoders_in_workers_do_not_write_over_the_terminal(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(index, "_FILES_A_PART", 1)
    monkeypatch.setattr(index.parallel, "usable_cores", lambda: 2)
    damaged = bytearray(png())
    damaged[60] ^= 255
    assert run(Workspace(tmp_path), {"happy/a.png": bytes(damaged), "happy/b.png": png()}).n_quarantined == 1
    assert capfd.readouterr() == ("", "")


def test_finished_parts_of_an_interrupted_attempt_are_kept(tmp_path, monkeypatch):
    files = {f"happy/{n}.png": png(n) for n in range(6)}
    monkeypatch.setattr(index, "_FILES_A_PART", 2)
    monkeypatch.setattr(index.parallel, "usable_cores", lambda: 1)
    undisturbed = run(Workspace(tmp_path / "undisturbed"), files)
    workspace = Workspace(tmp_path / "disturbed")
    dataset = committed(workspace, files)

    def interrupt(done, total, note=""):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.index(dataset, CONFIG, workspace=workspace, progress=interrupt)
    assert index.index.committed(dataset, CONFIG, workspace=workspace) is None
    decode = images.decode
    decoded = []
    monkeypatch.setattr(images, "decode", lambda data: decoded.append(data) or decode(data))
    made = index.index(dataset, CONFIG, workspace=workspace, progress=progress.silent)
    assert len(decoded) == 2
    assert made.digest == undisturbed.digest
    assert not list(workspace.folder(made).glob("rows*"))


def test_large_images_go_to_small_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "_ROW_GROUP_BYTES", 1_000)
    workspace = Workspace(tmp_path)
    made = run(workspace, {f"happy/{n}.png": png(n, 20, 20) for n in range(7)})
    part = pq.ParquetFile(workspace.folder(made) / names.IMAGES / names.part(0))
    assert (part.num_row_groups, part.metadata.num_rows) == (4, 7)


def test_fer2013s_csv_becomes_images(tmp_path):
    workspace = Workspace(tmp_path)
    pixels = picture(3, 48, 48)
    table = "emotion, Usage ,  pixels\n" + "".join(
        f'{emotion},{usage},"{" ".join(map(str, pixels.ravel()))}"\n'
        for emotion, usage in ((0, "Training"), (3, "PublicTest"), (5, " PrivateTest"))
    )
    made = run(workspace, {"fer2013/fer2013.csv": table.encode(), "fer2013/README": b"", "fer2013/bib.csv": b"a,b\n"})
    found = rows_of(workspace, made)
    assert [row["path"] for row in found] == [f"fer2013/fer2013.csv#{n}" for n in (1, 2, 3)]
    assert [row["label"] for row in found] == ["angry", "happy", "surprise"]
    assert [row["raw_label"] for row in found] == ["0", "3", "5"]
    assert [row["raw_split"] for row in found] == ["Training", "PublicTest", "PrivateTest"]
    assert np.array_equal(images.decode(bytes_of(workspace, made, found[1])), pixels)
    assert (made.layout, made.n_found, made.n_ignored) == (layouts.FER2013_CSV, 3, 2)


def test_bad_rows_of_the_csv_are_in_quarantine_with_the_reason(tmp_path):
    workspace = Workspace(tmp_path)
    table = "emotion,pixels,Usage\n" + "".join(
        [
            csv_row(range(9)),
            csv_row(range(10)),
            csv_row([0, 1, 2, 256]),
            csv_row([0, 1, -2, 3]),
            csv_row([0, "x", 2, 3]),
            csv_row([]),
            "0,1 2 3 4\n",
            "\n",
            csv_row([7, 8, 9, 10]),
        ]
    )
    made = run(workspace, {"fer2013.csv": table.encode()})
    reasons = [row["reason"] for row in rows_of(workspace, made)]
    assert [None if reason is None else reason.partition("row")[2].strip() for reason in reasons] == [
        None,
        "'s pixels are no square",
        *["'s pixels are not all numbers within 0-255"] * 4,
        "has other than the header's number of columns",
        None,
    ]
    assert made.n_quarantined == 6


def test_an_unknown_number_in_the_csv_is_an_error(tmp_path):
    table = "emotion,pixels,Usage\n" + csv_row(range(9)) + csv_row(range(9), emotion=9)
    with pytest.raises(errors.LabelError, match=r"'9' \(1 images\)"):
        run(Workspace(tmp_path), {"fer2013.csv": table.encode()})


def test_a_csv_without_the_split_is_left_out_beside_one_that_has_it(tmp_path):
    files = {
        "icml_face_data.csv": ("emotion,pixels,Usage\n" + csv_row(range(9))).encode(),
        "train.csv": b'emotion,pixels\n0,"1 2 3 4"\n',
    }
    assert run(Workspace(tmp_path), files).n_found == 1


def test_a_csv_that_never_ends_a_quote_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "_MAX_FIELD_CHARS", 1_000)
    table = "emotion,pixels,Usage\n" + csv_row(range(9)) + '0,"' + "1 2 3\n" * 1_000
    with pytest.raises(errors.SourceError, match=r"after row 1 of fer2013\.csv"):
        run(Workspace(tmp_path), {"fer2013.csv": table.encode()})


def test_damaged_bytes_of_the_csv_are_a_clear_error(tmp_path):
    workspace = Workspace(tmp_path)
    text = ("emotion,pixels,Usage\n" + csv_row([55] * 9)).encode()
    dataset = committed(workspace, {"fer2013.csv": text})
    path = workspace.folder(dataset) / "dataset.zip"
    path.write_bytes(path.read_bytes().replace(b"55 55 55", b"55 54 55", 1))
    with pytest.raises(archives.DamagedArchive, match=r"fer2013\.csv"):
        index.index(dataset, CONFIG, workspace=workspace, progress=progress.silent)


def test_class_folders_win_over_a_csv_but_pictures_without_a_class_do_not(tmp_path):
    table = ("emotion,pixels,Usage\n" + csv_row(range(9))).encode()
    beside_classes = run(Workspace(tmp_path / "a"), {"happy/1.png": png(), "fer2013.csv": table})
    beside_a_logo = run(Workspace(tmp_path / "b"), {"docs/logo.png": png(), "fer2013.csv": table})
    assert (beside_classes.layout, beside_a_logo.layout) == (layouts.CLASS_FOLDERS, layouts.FER2013_CSV)


@given(
    st.text(alphabet="0123456789 -x.e\t", max_size=60)
    | st.lists(st.integers(-5, 300)).map(lambda numbers: " ".join(map(str, numbers)))
)
def test_any_text_of_pixels_is_an_image_or_has_a_defect(text):
    table = archives.Member("a.csv", 1)
    packed = io.BytesIO(zipped({"a.csv": f'emotion,pixels\n0,"{text}"\n'.encode()}))
    (row,) = layouts.read_csv(packed, table)
    if row.defect is None:
        numbers = [int(each) for each in text.split()]
        assert images.decode(row.data).ravel().tolist() == numbers
    else:
        assert row.data == text.encode()
