import pytest
from indexed import CONFIG, OFFICIAL, bytes_of, committed, picture, png, rows_of, run, thumbnail_of

from data_contracts import files as names
from data_contracts import manifest as contract
from fer import progress
from fer.engine.local_workspace import LocalWorkspace
from fer.images import decode, properties
from fer.ingest import archives, index, manifest_parts

CSV_OF_SIX = b"emotion,pixels,Usage\n" + b"".join(b"3,%d 2 3 4,Training\n" % n for n in range(6))


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


def test_an_image_beyond_the_limit_is_in_quarantine_and_never_read(tmp_path, monkeypatch, limited):
    limited(image_bytes=5 << 20)
    workspace = LocalWorkspace(tmp_path)
    read = []
    unpatched = archives.read
    monkeypatch.setattr(
        archives, "read", lambda archive, member: read.append(member.name) or unpatched(archive, member)
    )
    large, small = png(1) + bytes(5 << 20), png(1) + bytes((5 << 20) - len(png(1)))
    manifest = run(workspace, {"happy/1.png": large, "happy/2.png": small})
    one, two = rows_of(workspace, manifest)
    assert (one["status"], one["reason"]) == (contract.QUARANTINED, "too large to be read: over 5,242,880 bytes")
    assert (one["label"], one["size_bytes"], bytes_of(workspace, manifest, one)) == ("happy", len(large), b"")
    assert (two["status"], two["size_bytes"]) == (contract.ACCEPTED, 5 << 20)
    assert read == ["happy/2.png"]


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


@pytest.mark.slow  # starts two processes
def test_decoders_in_workers_do_not_write_over_the_terminal(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(manifest_parts, "FILES_PER_PART", 1)
    monkeypatch.setattr(index.process_pool, "usable_cores", lambda: 2)
    damaged = bytearray(png())
    damaged[60] ^= 255
    assert run(LocalWorkspace(tmp_path), {"happy/a.png": bytes(damaged), "happy/b.png": png()}).n_quarantined == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("files", [{f"happy/{n}.png": png(n) for n in range(6)}, {"fer2013.csv": CSV_OF_SIX}])
def test_finished_parts_of_an_interrupted_attempt_are_kept(tmp_path, monkeypatch, files):
    monkeypatch.setattr(manifest_parts, "FILES_PER_PART", 2)
    monkeypatch.setattr(index.process_pool, "usable_cores", lambda: 1)
    undisturbed = run(LocalWorkspace(tmp_path / "undisturbed"), files)
    workspace = LocalWorkspace(tmp_path / "disturbed")
    datasets = (committed(workspace, files),)

    def interrupt(done, total, note=""):
        if done == 2 and note.startswith("parts"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.index(datasets, CONFIG, OFFICIAL, None, workspace=workspace, progress=interrupt)
    assert index.index.found(datasets, CONFIG, OFFICIAL, None, workspace=workspace) is None
    read = decode.decode_with_format
    decoded = []
    monkeypatch.setattr(decode, "decode_with_format", lambda data: decoded.append(data) or read(data))
    manifest = index.index(datasets, CONFIG, OFFICIAL, None, workspace=workspace, progress=progress.silent)
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

    def interrupt(done, total, note=""):
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(workspace, files, say=interrupt)
    (lost,) = workspace.root.glob(f".partial/index/*/{file}")
    lost.unlink()
    assert run(workspace, files).digest == undisturbed.digest
