import hashlib
import json
import random

import numpy as np
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from indexed import CONFIG, by_path, bytes_of, committed, merged, picture, png, rows_of, run, thumbnail_of

from data_contracts import files as names
from data_contracts import manifest as contract
from fer import errors, progress
from fer.engine.local_workspace import LocalWorkspace
from fer.images import decode, encode, properties
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


def test_each_row_has_its_thumbnail_and_those_of_undecodable_images_are_null(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    manifest = run(workspace, {"happy/1.png": png(1, 48, 48), "happy/2.png": png(2, 90, 60), "happy/3.png": b"words"})
    one, two, three = rows_of(workspace, manifest)
    assert thumbnail_of(workspace, manifest, one) == picture(1, 48, 48).tobytes()
    assert thumbnail_of(workspace, manifest, two) == properties.thumbnail(picture(2, 90, 60)).tobytes()
    assert thumbnail_of(workspace, manifest, three) is None


def test_the_same_pixels_in_another_file_have_the_same_pixel_digest_only(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    pgm = b"P5\n10 12\n255\n" + picture().tobytes()
    one, two, three = rows_of(
        workspace, run(workspace, {f"happy/{n}": d for n, d in {"a.png": png(), "b.pgm": pgm, "c.png": png()}.items()})
    )
    assert one["pixel_sha256"] == two["pixel_sha256"] == three["pixel_sha256"]
    assert one["file_sha256"] == three["file_sha256"] != two["file_sha256"]
    assert len({one["image_id"], two["image_id"], three["image_id"]}) == 3


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
    assert 'index.synonyms, e.g. {"contempt": "angry"}' in str(caught.value)
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


def test_an_image_beyond_the_limit_is_in_quarantine_and_never_read(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest_parts, "MAX_IMAGE_BYTES", 5 << 20)
    workspace = LocalWorkspace(tmp_path)
    read = []
    unpatched = archives.read
    monkeypatch.setattr(
        archives, "read", lambda archive, member: read.append(member.name) or unpatched(archive, member)
    )
    large, small = png(1) + bytes(5 << 20), png(1) + bytes((5 << 20) - len(png(1)))
    manifest = run(workspace, {"happy/1.png": large, "happy/2.png": small})
    one, two = rows_of(workspace, manifest)
    assert (one["status"], one["reason"]) == (contract.QUARANTINED, "too large to be read: over 5 MiB")
    assert (one["label"], one["size_bytes"], bytes_of(workspace, manifest, one)) == ("happy", len(large), b"")
    assert (two["status"], two["size_bytes"]) == (contract.ACCEPTED, 5 << 20)
    assert read == ["happy/2.png"]


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
        index.index((dataset, dataset), CONFIG, workspace=workspace, progress=progress.silent)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


def test_parts_made_by_several_processes_are_the_same_as_by_one(tmp_path, monkeypatch):
    files = {f"{label}/{n}.png": png(n) for n in range(4) for label in ("happy", "angry")}
    monkeypatch.setattr(manifest_parts, "FILES_PER_PART", 3)
    monkeypatch.setattr(index.process_pool, "usable_cores", lambda: 2)
    calls = []
    by_pool = run(LocalWorkspace(tmp_path / "pool"), files, say=lambda *args: calls.append(args[:2]))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    monkeypatch.setattr(index.process_pool, "usable_cores", lambda: 1)
    alone = LocalWorkspace(tmp_path / "alone")
    assert run(alone, files).digest == by_pool.digest
    manifest_rows = rows_of(alone, by_pool)
    assert [row["path"] for row in manifest_rows] == sorted(files)
    assert all(bytes_of(alone, by_pool, row) == files[row["path"]] for row in manifest_rows)


def test_decoders_in_workers_do_not_write_over_the_terminal(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(manifest_parts, "FILES_PER_PART", 1)
    monkeypatch.setattr(index.process_pool, "usable_cores", lambda: 2)
    damaged = bytearray(png())
    damaged[60] ^= 255
    assert run(LocalWorkspace(tmp_path), {"happy/a.png": bytes(damaged), "happy/b.png": png()}).n_quarantined == 1
    assert capfd.readouterr() == ("", "")


CSV_OF_SIX = b"emotion,pixels,Usage\n" + b"".join(b"3,%d 2 3 4,Training\n" % n for n in range(6))


@pytest.mark.parametrize("files", [{f"happy/{n}.png": png(n) for n in range(6)}, {"fer2013.csv": CSV_OF_SIX}])
def test_finished_parts_of_an_interrupted_attempt_are_kept(tmp_path, monkeypatch, files):
    monkeypatch.setattr(manifest_parts, "FILES_PER_PART", 2)
    monkeypatch.setattr(index.process_pool, "usable_cores", lambda: 1)
    undisturbed = run(LocalWorkspace(tmp_path / "undisturbed"), files)
    workspace = LocalWorkspace(tmp_path / "disturbed")
    datasets = (committed(workspace, files),)

    def interrupt(done, total, text=""):
        if done == 2 and text.startswith("parts"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.index(datasets, CONFIG, workspace=workspace, progress=interrupt)
    assert index.index.committed(datasets, CONFIG, workspace=workspace) is None
    read = decode.decode_with_format
    decoded = []
    monkeypatch.setattr(decode, "decode_with_format", lambda data: decoded.append(data) or read(data))
    manifest = index.index(datasets, CONFIG, workspace=workspace, progress=progress.silent)
    assert len(decoded) == 2
    assert manifest.digest == undisturbed.digest
    expected = {"_ref.json", names.INDEX_REPORT, names.MANIFEST, names.IMAGES, names.THUMBNAILS}
    assert {path.name for path in workspace.folder(manifest).iterdir()} == expected


@pytest.mark.parametrize(
    "file",
    [
        f"{names.IMAGES}/{names.image_part(1)}",
        f"{names.THUMBNAILS}/{names.part(1)}",
        f"{manifest_parts.ROWS}/{names.part(1)}",
    ],
)
def test_a_part_of_which_one_file_is_gone_is_made_anew(tmp_path, monkeypatch, file):
    monkeypatch.setattr(manifest_parts, "FILES_PER_PART", 2)
    monkeypatch.setattr(index.process_pool, "usable_cores", lambda: 1)
    files = {f"happy/{n}.png": png(n) for n in range(4)}
    undisturbed = run(LocalWorkspace(tmp_path / "undisturbed"), files)
    workspace = LocalWorkspace(tmp_path / "disturbed")

    def interrupt(done, total, text=""):
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(workspace, files, say=interrupt)
    (lost,) = workspace.root.glob(f".partial/index/*/{file}")
    lost.unlink()
    assert run(workspace, files).digest == undisturbed.digest


def test_a_damaged_image_in_the_archive_is_a_clear_error(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    dataset = committed(workspace, {"happy/1.png": png(1), "happy/2.png": b"some bytes"})
    path = workspace.folder(dataset) / archives.DATASET
    path.write_bytes(path.read_bytes().replace(b"some bytes", b"same bytes", 1))
    with pytest.raises(archives.DamagedArchive, match=r"happy/2\.png"):
        index.index((dataset,), CONFIG, workspace=workspace, progress=progress.silent)


def test_the_subject_is_what_the_pattern_finds_in_the_path(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    config = index.IndexConfig(classes=CONFIG.classes, subject_pattern=r"/(S\d+)_|/(?:anon)")
    files = {"happy/S12_1.png": png(1), "happy/anon.png": png(2), "happy/other.png": png(3)}
    manifest_rows = by_path(workspace, run(workspace, files, config))
    assert [manifest_rows[path]["subject"] for path in sorted(files)] == ["S12", None, None]


@pytest.mark.parametrize("pattern", ["(", "S[0-9]+", ""])
def test_a_pattern_for_subjects_must_be_one_and_have_a_group(pattern):
    with pytest.raises(pydantic.ValidationError, match="regular expression must"):
        index.IndexConfig(classes=CONFIG.classes, subject_pattern=pattern)


def test_a_black_image_has_properties_of_nought(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    black = np.zeros((16, 16), np.uint8)
    (row,) = rows_of(workspace, run(workspace, {"happy/black.png": encode.png(black)}))
    assert (row["mean"], row["std"], row["p05"], row["p99"], row["entropy"]) == (0, 0, 0, 0, 0)
