import functools

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import files
from data_contracts import manifest as contract
from fer.curation import face_scores
from fer.engine.processes import process_pool
from fer.images import encode, properties
from fer.ingest import image_files
from fer.ingest.demo import faces as demo_faces

FACE, SIGN, PORTRAIT, LANDSCAPE = "face", "sign", "portrait", "landscape"


@functools.cache
def pixels(kind, number):
    """A drawn face; a triangle on black; a face that is a small part of a picture; that picture without the face."""
    drawn = demo_faces.draw(demo_faces.CLASSES[number % 7], np.random.default_rng(number))
    if kind == FACE:
        return drawn
    if kind == SIGN:
        sign = np.zeros((48, 48), np.uint8)
        cv2.polylines(sign, [np.array([(24, 8), (8, 36), (40, 36)], np.int32)], True, 255, 3)
        return np.roll(sign, number, axis=1)
    picture = (np.arange(480)[:, None] // 4 + np.arange(640) // 8 + 20).astype(np.uint8)
    if kind == PORTRAIT:
        picture[200:280, 60:140] = cv2.resize(drawn, (80, 80), interpolation=cv2.INTER_CUBIC)
    return picture


def scored(folder, images, per_part=8, **options):
    """The scores of images, each (kind, number), in a manifest with so many of them in a part."""
    (folder / files.THUMBNAILS).mkdir(parents=True)
    (folder / files.IMAGES).mkdir()
    rows = []
    for part, start in enumerate(range(0, len(images), per_part)):
        drawn = [pixels(*image) for image in images[start : start + per_part]]
        encoded = [(f"{row}.png", encode.png(image)) for row, image in enumerate(drawn)]
        image_files.write(folder / files.IMAGES / files.image_part(part), encoded)
        column = [properties.thumbnail(image).tobytes() for image in drawn]
        thumbnails = pa.table({"pixels": column}, schema=contract.THUMBNAIL_SCHEMA)
        pq.write_table(thumbnails, folder / files.THUMBNAILS / files.part(part))
        sizes = [dict(zip(("height", "width"), image.shape, strict=True)) for image in drawn]
        rows += [{"part": part, "row": row} | size for row, size in enumerate(sizes)]
    schema = pa.schema([contract.SCHEMA.field(name) for name in ("part", "row", "width", "height")])
    order = np.random.default_rng(0).permutation(len(rows))  # as image ids are, in no order of rows
    accepted = pa.Table.from_pylist(rows, schema=schema).take(pa.array(order))
    result = np.empty(len(rows), np.float32)
    result[order] = face_scores.scores(folder, accepted, **options)
    return result


def test_each_image_has_its_own_score_whatever_part_it_is_in(tmp_path):
    images = [(kind, number) for number in range(6) for kind in (FACE, SIGN)]
    scores = scored(tmp_path, images, per_part=5)
    assert scores.dtype == np.float32
    assert scores[0::2].min() > 0.7
    assert scores[1::2].max() < 0.3
    np.testing.assert_array_equal(scores, scores.round(3))


def test_a_face_that_is_a_small_part_of_a_larger_picture_counts(tmp_path):
    portrait, landscape = scored(tmp_path, [(PORTRAIT, 0), (LANDSCAPE, 0)])
    assert portrait > 0.6
    assert landscape < 0.3


def test_without_images_there_is_no_score(tmp_path):
    assert scored(tmp_path, []).shape == (0,)


def test_the_scores_do_not_hang_on_the_number_of_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(face_scores, "_IMAGES_PER_ITEM", 3)
    monkeypatch.setattr(process_pool, "usable_cores", lambda: 3)
    images = [(kind, number) for number in range(4) for kind in (FACE, SIGN)] + [(PORTRAIT, 3)]
    seen = []
    several = scored(tmp_path / "several", images, progress=lambda done, total, _: seen.append((done, total)))
    alone = scored(tmp_path / "alone", images, workers=1)
    assert several.tobytes() == alone.tobytes()
    assert seen[-1] == (9, 9)
    assert seen == sorted(seen)


@pytest.mark.slow
def test_the_scores_do_not_hang_on_the_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(face_scores, "_ALONE_S", 1e-6)
    monkeypatch.setattr(face_scores, "_IMAGES_PER_ITEM", 4)
    images = [(kind, number) for number in range(10) for kind in (FACE, SIGN)] + [(PORTRAIT, 3)]
    alone, several = (scored(tmp_path / str(workers), images, workers=workers) for workers in (1, 2))
    assert alone.tobytes() == several.tobytes()
