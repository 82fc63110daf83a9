import hashlib
import json
import random

import numpy as np
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from indexed import CONFIG, OFFICIAL, by_path, bytes_of, committed, merged, picture, png, rows_of, run
from recommit import rewrite

from data_contracts import files as names
from data_contracts import manifest as contract
from fer import errors, progress
from fer.engine.local_workspace import LocalWorkspace
from fer.images import encode, properties
from fer.ingest import archives, index, manifest_parts
from fer.ingest.layouts import detect


def test_each_image_has_a_row_that_says_what_it_is(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    files = {"set/Angry/b.png": png(1), "set/Suprise/a.PNG": png(2, 20, 30), "set/README.txt": b"read me"}
    manifest = run(workspace, files)
    first, second = rows_of(workspace, manifest)
    assert (first["path"], first["raw_label"], first["label"]) == ("set/Angry/b.png", "Angry", "angry")
    assert (second["raw_label"], second["label"], second["raw_split"]) == ("Suprise", "surprise", None)
    assert (second["height"], second["width"], second["format"]) == (20, 30, "PNG")
    assert second["size_bytes"] == len(files["set/Suprise/a.PNG"])
    assert second["file_sha256"] == hashlib.sha256(files["set/Suprise/a.PNG"]).hexdigest()
    assert second["pixel_sha256"] == hashlib.sha256(b"20x30:" + picture(2, 20, 30).tobytes()).hexdigest()
    assert second["mean"] == pytest.approx(picture(2, 20, 30).mean())
    assert second["std"] == pytest.approx(picture(2, 20, 30).std())
    measured = properties.measure(picture(2, 20, 30))
    for name in ("p05", "p99", "entropy", "sharpness"):
        assert second[name] == pytest.approx(getattr(measured, name))
    assert first["status"] == second["status"] == contract.ACCEPTED
    assert first["source"] == second["source"] == manifest.source == "archive"
    assert first["soft_label"] is first["subject"] is first["reason"] is None
    assert bytes_of(workspace, manifest, second) == files["set/Suprise/a.PNG"]
    assert (manifest.layouts, manifest.n_found, manifest.n_quarantined) == ((detect.CLASS_FOLDERS,), 2, 0)
    assert manifest.ignored == {".txt": 1}


def test_what_cannot_be_decoded_is_in_quarantine_with_the_reason_and_its_bytes(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    files = {"happy/cut.png": png()[:40], "happy/empty.jpg": b"", "happy/whole.png": png(), "happy/words.jpg": b"words"}
    manifest = run(workspace, files)
    cut, empty, whole, words = rows_of(workspace, manifest)
    assert [row["status"] for row in (cut, empty, words)] == [contract.QUARANTINED] * 3
    assert whole["status"] == contract.ACCEPTED
    assert empty["reason"] == "the file is empty"
    assert words["reason"]
    assert words["pixel_sha256"] is words["width"] is words["std"] is words["format"] is None
    assert words["label"] == "happy"
    assert bytes_of(workspace, manifest, words) == b"words"
    assert manifest.n_quarantined == 3


def test_unknown_labels_are_listed_with_what_is_accepted(tmp_path):
    files = {"happy/1.png": png(), "contempt/1.png": png(), "contempt/2.png": png(), "logo.png": png()}
    with pytest.raises(errors.LabelError) as caught:
        run(LocalWorkspace(tmp_path), files)
    assert "'contempt' (2 images)" in str(caught.value)
    assert "1 image in no class folder, e.g. 'logo.png'" in str(caught.value)
    assert "angry, happy, surprise" in str(caught.value)
    assert """--set 'index.classes=["happy", "contempt"]'\n""" in str(caught.value)
    assert "index.ignore_labels" in str(caught.value)


def test_labels_can_be_mapped_or_left_out_by_the_config(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    config = index.IndexConfig(classes=CONFIG.classes, synonyms={"joie": "happy"}, ignore_labels=("Contempt",))
    manifest = run(workspace, {"joie/1.png": png(), "contempt/1.png": png()}, config)
    assert [row["label"] for row in rows_of(workspace, manifest)] == ["happy"]
    assert manifest.ignored == {"label left out by the recipe": 1}


def test_an_image_outside_class_folders_is_an_error_whatever_labels_are_left_out(tmp_path):
    config = index.IndexConfig(classes=CONFIG.classes, ignore_labels=("?",))
    with pytest.raises(errors.LabelError, match=r"1 image in no class folder, e\.g\. 'stray\.png'"):
        run(LocalWorkspace(tmp_path), {"happy/1.png": png(), "stray.png": png(1)}, config)


def test_of_what_is_ignored_the_commonest_kinds_are_named_and_the_others_counted(tmp_path):
    files = {f"{n}.{suffix}": b"" for suffix in range(30) for n in range(30 - suffix)}
    manifest = run(LocalWorkspace(tmp_path), files | {"happy/1.png": png(), f"a.{'x' * 900}": b""})
    assert manifest.ignored == {f".{n}": 30 - n for n in range(20)} | {"others": sum(range(1, 11)) + 1}
    few = run(LocalWorkspace(tmp_path / "few"), {"happy/1.png": png(), f"a.{'x' * 900}": b""})
    assert few.ignored == {"." + "x" * 15 + "...": 1}


def test_the_report_has_the_config_the_layouts_and_what_is_ignored(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    config = index.IndexConfig(classes=CONFIG.classes, synonyms={"joie": "happy", "colère": "angry"})
    manifest = run(workspace, {"joie/1.png": png(), "notes.txt": b""}, config)
    report = (workspace.folder(manifest) / names.INDEX_REPORT).read_text()
    assert json.loads(report) == {
        "config": config.model_dump(mode="json"),
        "layouts": [detect.CLASS_FOLDERS],
        "ignored": {".txt": 1},
    }
    turned = config.model_copy(update={"synonyms": dict(reversed(config.synonyms.items()))})
    other = LocalWorkspace(tmp_path / "other")
    again = run(other, {"joie/1.png": png(), "notes.txt": b""}, turned)
    assert (other.folder(again) / names.INDEX_REPORT).read_text() == report
    assert again.digest == manifest.digest


def test_the_digest_covers_what_the_report_says(tmp_path):
    files = {"happy/1.png": png(), "notes.txt": b""}
    configs = (CONFIG, CONFIG.model_copy(update={"ignore_labels": ("fear",)}))
    digests = {run(LocalWorkspace(tmp_path / str(n)), files, config).digest for n, config in enumerate(configs)}
    digests.add(run(LocalWorkspace(tmp_path / "more"), files | {"more.txt": b""}).digest)
    assert len(digests) == 3


def test_images_that_are_all_unreadable_are_a_clear_error(tmp_path):
    with pytest.raises(errors.SourceError, match="2 files; the file is empty: 2"):
        run(LocalWorkspace(tmp_path), {"happy/a.png": b"", "happy/b.png": b""})


def test_images_that_are_all_left_out_are_a_clear_error(tmp_path):
    config = index.IndexConfig(classes=CONFIG.classes, ignore_labels=("fear",))
    with pytest.raises(errors.SourceError, match="must hold images"):
        run(LocalWorkspace(tmp_path), {"fear/a.png": png()}, config)


def test_several_sources_make_one_manifest_with_parts_numbered_on(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    table = b'emotion,pixels,Usage\n0,"1 2 3 4",Training\n'
    files = {"z": {"happy/1.png": png(1), "notes.txt": b""}, "a": {"fer.csv": table}, "m": {"angry/2.png": png(2)}}
    manifest = merged(workspace, files)
    manifest_rows = rows_of(workspace, manifest)
    assert [(row["source"], row["path"]) for row in manifest_rows] == [
        ("a", "fer.csv#1"),
        ("m", "angry/2.png"),
        ("z", "happy/1.png"),
    ]
    assert [row["part"] for row in manifest_rows] == [0, 1, 2]
    assert bytes_of(workspace, manifest, manifest_rows[2]) == png(1)
    assert (manifest.source, manifest.layouts) == ("a + m + z", (detect.CLASS_FOLDERS, detect.FER2013_CSV))
    assert (manifest.n_found, manifest.ignored) == (3, {".txt": 1})


def test_a_file_that_is_in_several_sources_keeps_its_id_and_gets_another_in_each_further_one(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    (alone,) = rows_of(workspace, merged(workspace, {"b": {"happy/1.png": png()}}))
    sources = {name: {"happy/1.png": png()} for name in ("b", "a", "c")}
    ids = {row["source"]: row["image_id"] for row in rows_of(workspace, merged(workspace, sources))}
    digest = hashlib.sha256(png()).hexdigest()
    ends = ["", *(f"\0{n}" for n in (2, 3))]
    expected = [hashlib.sha256(f"happy/1.png\0{digest}{end}".encode()).hexdigest() for end in ends]
    assert alone["image_id"] == expected[0][:32]
    assert ids == {name: digest[:32] for name, digest in zip("abc", expected, strict=True)}


def test_a_second_source_changes_none_of_the_ids_of_the_first(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    first = {f"happy/{n}.png": png(n) for n in range(3)}
    before = {row["image_id"] for row in rows_of(workspace, merged(workspace, {"b": first}))}
    after = rows_of(workspace, merged(workspace, {"b": first, "a": {"happy/1.png": png(9)}}))
    assert before == {row["image_id"] for row in after if row["source"] == "b"}


def test_the_same_source_twice_is_an_error(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    dataset = committed(workspace, {"happy/1.png": png()})
    with pytest.raises(errors.ConfigError, match="given once"):
        index.index((dataset, dataset), CONFIG, OFFICIAL, None, workspace=workspace, progress=progress.silent)


@settings(max_examples=settings.default.max_examples // 8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.randoms(use_true_random=False))
def test_any_order_of_files_and_sources_gives_the_same_manifest(tmp_path_factory, monkeypatch, order: random.Random):
    monkeypatch.setattr(manifest_parts, "FILES_PER_PART", 2)
    monkeypatch.setattr(index.process_pool, "usable_cores", lambda: 1)
    table = {f"{n}.png": png(n) for n in range(4)} | {
        "l.csv": b"file,label\n0.png,happy\n1.png,angry\n1.png,anger\n2.png,\n"
    }
    sources = {"a": {f"{c}/{n}.png": png(n) for n in range(3) for c in ("happy", "angry")}, "b": table, "c": table}
    digests = set()
    for _ in range(2):
        given_sources = []
        for name in order.sample(sorted(sources), 3):
            files = dict(order.sample(sorted(sources[name].items()), len(sources[name])))
            if "l.csv" in files:
                head, *lines = table["l.csv"].splitlines(keepends=True)
                files["l.csv"] = head + b"".join(order.sample(lines, len(lines)))
            given_sources.append((name, files))
        digests.add(merged(LocalWorkspace(tmp_path_factory.mktemp("order")), dict(given_sources)).digest)
    assert len(digests) == 1


def test_a_damaged_image_in_the_archive_is_a_clear_error(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    dataset = committed(workspace, {"happy/1.png": png(1), "happy/2.png": b"some bytes"})
    path = workspace.folder(dataset) / archives.DATASET
    rewrite(workspace, dataset, path.name, path.read_bytes().replace(b"some bytes", b"same bytes", 1))
    with pytest.raises(archives.DamagedArchive, match=r"happy/2\.png"):
        index.index((dataset,), CONFIG, OFFICIAL, None, workspace=workspace, progress=progress.silent)


def test_the_subject_is_what_the_pattern_finds_in_the_path(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    config = index.IndexConfig(classes=CONFIG.classes, subject_pattern=r"/(S\d+)_|/(?:anon)")
    files = {"happy/S12_1.png": png(1), "happy/anon.png": png(2), "happy/other.png": png(3)}
    manifest_rows = by_path(workspace, run(workspace, files, config))
    assert [manifest_rows[path]["subject"] for path in sorted(files)] == ["S12", None, None]


@pytest.mark.parametrize("pattern", ["(", "S[0-9]+", "|"])
def test_a_pattern_for_subjects_must_be_one_and_have_a_group(pattern):
    with pytest.raises(pydantic.ValidationError, match="regular expression must"):
        index.IndexConfig(classes=CONFIG.classes, subject_pattern=pattern)


def test_a_black_image_has_properties_of_nought(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    black = np.zeros((16, 16), np.uint8)
    (row,) = rows_of(workspace, run(workspace, {"happy/black.png": encode.png(black)}))
    assert (row["mean"], row["std"], row["p05"], row["p99"], row["entropy"]) == (0, 0, 0, 0, 0)


def test_images_without_a_label_are_left_out_on_request_and_the_error_says_how(tmp_path):
    files = {"train/happy/1.png": png(1), "train/angry/2.png": png(2), "test/3.png": png(3), "4.png": png(4)}
    with pytest.raises(errors.LabelError, match=r"--set index\.ignore_unlabelled=true"):
        run(LocalWorkspace(tmp_path / "a"), files)
    config = CONFIG.model_copy(update={"ignore_unlabelled": True})
    manifest = run(LocalWorkspace(tmp_path / "b"), files, config)
    assert (manifest.n_found, manifest.ignored) == (2, {"image without a label": 2})


def test_rows_and_images_without_a_label_are_left_out_on_request_and_otherwise_a_warning(tmp_path):
    files = {f"{n}.png": png(n) for n in range(3)} | {"l.csv": b"file,label\n0.png,happy\n1.png,\n9.png,happy\n"}
    workspace = LocalWorkspace(tmp_path)
    manifest = run(workspace, files)
    assert (manifest.n_found, manifest.n_quarantined) == (4, 3)
    assert [line for line in manifest.warnings if line.startswith("2 images without a label are in quarantine")]
    manifest = run(workspace, files, CONFIG.model_copy(update={"ignore_unlabelled": True}))
    assert (manifest.n_found, manifest.n_quarantined, manifest.ignored) == (2, 1, {"image without a label": 2})
    assert manifest.warnings == ()


def test_files_that_are_excluded_are_counted_and_enter_the_key(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    files = {"happy/1.png": png(1), "angry/2.png": png(2), "other/3.png": png(3), "angry/2_mask.png": png(4)}
    config = CONFIG.model_copy(update={"exclude": ("other", "*_mask.png", "none*")})
    manifest = run(workspace, files, config)
    assert (manifest.n_found, manifest.ignored) == (2, {"left out by index.exclude": 2})
    assert manifest.warnings == ("index.exclude leaves nothing out by 'none*'",)
    assert run(workspace, files, CONFIG.model_copy(update={"exclude": ("other",)})).n_found == 3


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(40), "a HEIC"),
        (b"\0\0\0\x1cftypavif" + bytes(40), "an AVIF"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "a JPEG XL"),
    ],
)
def test_pictures_of_formats_that_are_not_read_are_found_quarantined_and_a_warning_whatever_their_name(
    tmp_path, data, kind
):
    workspace = LocalWorkspace(tmp_path)
    names = ("happy/IMG_1.HEIC", "happy/2.avif", "angry/3", "angry/4.jpg")
    manifest = run(workspace, {"happy/0.png": png(0), **{name: data + bytes([n]) for n, name in enumerate(names)}})
    by_name = by_path(workspace, manifest)
    assert {by_name[name]["reason"] for name in names} == {f"not an image of a format known here: {kind}"}
    assert (manifest.n_found, manifest.ignored) == (5, {})
    assert [line for line in manifest.warnings if line.startswith("4 files named") and f"{kind} (4)" in line]


def test_text_and_pointers_in_place_of_images_are_named(tmp_path):
    files = {
        "happy/0.png": png(0),
        "happy/1.jpg": b"hello",
        "happy/2.jpg": b"version https://git-lfs.github.com/spec/v1\n",
    }
    (line,) = run(LocalWorkspace(tmp_path), files).warnings
    assert "a text (1)" in line
    assert "a pointer of Git LFS or git-annex to the file (1)" in line


def test_images_that_all_lack_a_suffix_are_found_where_no_folder_is_a_known_label(tmp_path):
    with pytest.raises(errors.LabelError, match="'cheerful'"):
        run(LocalWorkspace(tmp_path), {"cheerful/1": png(1), "cheerful/2": png(2), "readme": b"x"})


def test_what_was_left_out_on_the_way_in_is_counted_with_the_ignored(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    dataset = committed(workspace, {"happy/1.png": png(1), "notes.txt": b""})
    dataset = dataset.model_copy(update={"left_out": {"hidden file": 3}})
    manifest = index.index((dataset,), CONFIG, OFFICIAL, None, workspace=workspace, progress=progress.silent)
    assert manifest.ignored == {".txt": 1, "hidden file": 3}
