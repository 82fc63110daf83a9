"""The index of sources in which images are that are to be forgotten."""

import numpy as np
import photographs
import pyarrow.parquet as pq
import pytest
from indexed import CONFIG, bytes_of, png, rows_of, run

from data_contracts import files as names
from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.images import encode
from fer.ingest import manifest_parts
from fer.ingest.tombstones import gather, records


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


@pytest.fixture(scope="module")
def pictures():
    """Photographs, (n, 48, 48) uint8."""
    taken = (photographs.taken(picture) for picture in photographs.photographs(3, 4))
    return [np.clip(picture, 0, 255).astype(np.uint8) for picture in taken]


def source(pictures):
    return {f"happy/{at}.png": encode.png(picture) for at, picture in enumerate(pictures)}


def to_forget(workspace, *pictures, twins=()):
    """The tombstones of these images, and of twins that were found."""
    digests = [manifest_parts.pixel_sha256(picture) for picture in (*pictures, *twins)]
    features = records.features_of(np.array([picture.reshape(-1) for picture in pictures]))
    made = records.tombstone(digests, features, "file", "me")
    return gather.gather(records.Tombstones.of([made]), workspace=workspace)


def test_neither_bytes_nor_rows_nor_thumbnails_are_kept_of_an_image_or_its_twins(workspace, pictures):
    twin = np.clip(pictures[1].astype(int) + 9, 0, 255).astype(np.uint8)
    other_twin = np.ascontiguousarray(pictures[1][:, ::-1])
    files = source(pictures) | {"sad/twin.png": encode.png(twin), "sad/mirrored.png": encode.png(other_twin)}
    config = CONFIG.model_copy(update={"classes": ("happy", "sad")})
    manifest = run(workspace, files, config, forgotten=to_forget(workspace, pictures[1]))
    assert (manifest.n_found, manifest.n_forgotten, manifest.n_quarantined) == (3, 3, 0)
    assert "3 left out as they are to be forgotten" in manifest.summary()
    assert [row["path"] for row in rows_of(workspace, manifest)] == ["happy/0.png", "happy/2.png", "happy/3.png"]
    folder = workspace.folder(manifest)
    kept = {"happy/0.png", "happy/2.png", "happy/3.png"}
    for row in rows_of(workspace, manifest):
        assert bytes_of(workspace, manifest, row) == files[row["path"]]
    thumbnails = pq.read_table(folder / names.THUMBNAILS / names.part(0))["pixels"].to_pylist()
    assert sum(pixels is not None for pixels in thumbnails) == len(kept)
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for gone in files.keys() - kept:
        assert files[gone][40:] not in content
        assert gone.encode() not in content


def test_the_tombstones_are_part_of_the_key_by_their_content(workspace, pictures):
    files = source(pictures)
    manifests = [
        run(workspace, files, forgotten=forgotten)
        for forgotten in (None, to_forget(workspace, pictures[0]), to_forget(workspace, pictures[1]))
    ]
    assert len({manifest.path for manifest in manifests}) == 3
    assert run(workspace, files, forgotten=to_forget(workspace, pictures[0])) == manifests[1]


def test_without_a_match_the_content_is_what_it_was(workspace, pictures):
    other = np.clip(photographs.taken(photographs.photographs(99, 1)[0]), 0, 255).astype(np.uint8)
    before = run(workspace, source(pictures))
    after = run(workspace, source(pictures), forgotten=to_forget(workspace, other))
    assert (after.digest, after.n_forgotten) == (before.digest, 0)


def test_pixels_in_tables_are_forgotten_too(workspace):
    pixels = [np.random.default_rng(seed).integers(0, 256, (48, 48), np.uint8) for seed in range(3)]
    lines = ["emotion,pixels", *(f"happy,{' '.join(map(str, one.reshape(-1)))}" for one in pixels)]
    manifest = run(workspace, {"data.csv": "\n".join(lines).encode()}, forgotten=to_forget(workspace, pixels[2]))
    assert (manifest.n_found, manifest.n_forgotten) == (2, 1)


def test_a_source_of_which_all_is_to_be_forgotten_holds_no_images(workspace, pictures):
    with pytest.raises(errors.SourceError, match="1 others that are to be forgotten"):
        run(workspace, source(pictures[:1]), forgotten=to_forget(workspace, pictures[0]))


def test_a_file_that_is_no_image_is_in_quarantine_beside_what_is_forgotten(workspace, pictures):
    files = source(pictures) | {"happy/broken.png": png(1)[:20]}
    manifest = run(workspace, files, forgotten=to_forget(workspace, pictures[0]))
    assert (manifest.n_found, manifest.n_quarantined, manifest.n_forgotten) == (4, 1, 1)
