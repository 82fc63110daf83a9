import functools
import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import curation, files
from data_contracts import manifest as contract
from fer import errors
from fer.curation import inspect
from fer.curation.refs import ValidationRef
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest.demo import faces as demo_faces
from fer.ingest.refs import ManifestRef

CLASSES = ("happy", "surprise")
PER_PART = 50


@functools.cache
def faces():
    """240 drawn faces, of both classes in turn; the last three a copy, a near-duplicate of the first, and a blank."""
    drawn = np.stack([demo_faces.draw(CLASSES[number % 2], np.random.default_rng(number)) for number in range(240)])
    drawn[-3] = drawn[0]
    drawn[-2] = np.clip(drawn[0].astype(int) + np.random.default_rng(0).integers(-6, 7, drawn[0].shape), 0, 255)
    drawn[-1] = 0
    return drawn


def image_id(number):
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def committed(workspace, images, key="0", without=()):
    """What index and validation would have left of these images; those `without` have no thumbnail."""

    def index(out):
        (out / files.THUMBNAILS).mkdir()
        pixels = [None if position in without else image.tobytes() for position, image in enumerate(images)]
        for number in range(-(-len(images) // PER_PART)):
            column = pa.array(pixels[number * PER_PART :][:PER_PART], contract.THUMBNAIL_SCHEMA.field("pixels").type)
            table = pa.table({"pixels": column}, schema=contract.THUMBNAIL_SCHEMA)
            pq.write_table(table, out / files.THUMBNAILS / files.part(number))
        return ManifestRef(source="t", layouts=("folders",), classes=CLASSES, n_found=len(images), n_quarantined=0)

    def validate(out):
        rows = [
            {
                "image_id": image_id(position),
                "source": "t",
                "path": f"{position}.png",
                "raw_label": CLASSES[position % 2],
                "label": CLASSES[position % 2],
                "size_bytes": 1,
                "file_sha256": "0" * 64,
                "pixel_sha256": hashlib.sha256(image.tobytes()).hexdigest(),
                "status": contract.ACCEPTED,
                "part": position // PER_PART,
                "row": position % PER_PART,
            }
            for position, image in enumerate(images)
            if position % 7 != 3  # refused: their thumbnails lie between those of the others
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=contract.SCHEMA), out / files.ACCEPTED)
        return ValidationRef(
            classes=CLASSES, n_found=len(images), n_accepted=len(rows), quarantined={}, failures=(), warnings=()
        )

    return (
        workspace.run("index", key, ManifestRef, index, resumable=False),
        workspace.run("validate", key, ValidationRef, validate, resumable=False),
    )


@pytest.fixture(scope="module")
def inspected(tmp_path_factory):
    workspace = LocalWorkspace(tmp_path_factory.mktemp("workspace"))
    ref = inspect.inspect(*committed(workspace, faces()), inspect.InspectConfig(), workspace=workspace)
    folder = workspace.folder(ref)
    return ref, pq.read_table(folder / files.FINDINGS), pq.read_table(folder / files.PAIRS)


def test_what_is_written_keeps_the_contract(inspected):
    _, findings, pairs = inspected
    assert findings.schema.equals(curation.FINDINGS)
    assert pairs.schema.equals(curation.PAIRS)
    for name in ("image_id", "duplicate_group"):
        assert findings[name].null_count == 0


def test_findings_are_of_the_accepted_images_sorted_by_id(inspected):
    ref, findings, _ = inspected
    accepted = [image_id(number) for number in range(240) if number % 7 != 3]
    assert findings["image_id"].to_pylist() == sorted(accepted)
    assert ref.n_images == len(accepted)


def test_pairs_and_groups_say_which_images_are_near_duplicates(inspected):
    ref, findings, pairs = inspected
    copy, near = image_id(237), image_id(238)
    correlations = {(row["first"], row["second"]): row["correlation"] for row in pairs.to_pylist()}
    assert correlations[tuple(sorted((image_id(0), copy)))] == 1
    first = min(image_id(0), copy)
    assert 0.9 < correlations[tuple(sorted((first, near)))] < 1
    group = dict(zip(findings["image_id"].to_pylist(), findings["duplicate_group"].to_pylist(), strict=True))
    assert group[image_id(0)] == group[copy] == group[near] == min(image_id(0), copy, near)
    assert all(one < other for one, other in correlations)
    assert list(correlations) == sorted(correlations)
    assert ref.n_pairs == len(correlations)
    sizes = [list(group.values()).count(name) for name in set(group.values())]
    assert ref.n_groups == sum(size > 1 for size in sizes) >= 1


def test_drawn_faces_look_like_faces_and_a_blank_does_not(inspected):
    _, findings, _ = inspected
    score = dict(zip(findings["image_id"].to_pylist(), findings["face_score"].to_pylist(), strict=True))
    blank = score.pop(image_id(239))
    assert 0 <= blank < 0.1 < 0.6 < min(score.values()) <= max(score.values()) <= 1


def test_faces_are_not_looked_for_where_the_settings_say_so(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    config = inspect.InspectConfig(face_scores=False)
    ref = inspect.inspect(*committed(workspace, faces()[:10]), config, workspace=workspace)
    assert pq.read_table(workspace.folder(ref) / files.FINDINGS)["face_score"].null_count == ref.n_images


def test_scores_are_null_where_they_cant_be_told(inspected):
    _, findings, _ = inspected
    score = dict(zip(findings["image_id"].to_pylist(), findings["outlier_score"].to_pylist(), strict=True))
    assert [name for name, value in score.items() if value is None] == [image_id(239)]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_few_images_are_inspected_as_far_as_they_can_be(tmp_path, n):
    workspace = LocalWorkspace(tmp_path)
    ref = inspect.inspect(*committed(workspace, faces()[:n]), inspect.InspectConfig(), workspace=workspace)
    assert pq.read_table(workspace.folder(ref) / files.FINDINGS).num_rows == ref.n_images


def test_a_missing_thumbnail_is_an_error(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    inputs = committed(workspace, faces()[:10], without=(4,))
    with pytest.raises(errors.WorkspaceError, match="thumbnail"):
        inspect.inspect(*inputs, inspect.InspectConfig(), workspace=workspace)


def test_the_same_images_give_the_same_bytes(inspected, tmp_path):
    workspace = LocalWorkspace(tmp_path)
    again = inspect.inspect(*committed(workspace, faces()), inspect.InspectConfig(), workspace=workspace)
    assert again.digest == inspected[0].digest
