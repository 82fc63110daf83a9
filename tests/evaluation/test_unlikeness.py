import numpy as np
import photographs
import pytest

from fer.evaluation import unlikeness
from fer.images import prepare
from fer.ingest.demo import defects
from fer.ingest.demo import faces as demo_faces

SIDE = 48


def drawn(seed, n):
    draw = np.random.default_rng(seed)
    faces = [demo_faces.draw(demo_faces.CLASSES[index % 7], draw) for index in range(n)]
    return np.stack([prepare.prepare(face, SIDE, SIDE, 3, 0.0) for face in faces])


@pytest.fixture(scope="module")
def fitted():
    return unlikeness.fit(drawn(0, 300), drawn(1, 60))


def others(kind):
    draw = np.random.default_rng(3)
    made = {
        "noise": lambda: defects.static(SIDE, draw),
        "faint noise": lambda: np.clip(draw.normal(120, 12, (SIDE, SIDE)), 0, 255).astype(np.uint8),
        "a page": lambda: defects.page(SIDE, draw),
        "stripes": lambda: defects.stripes(SIDE, draw),
        "one grey": lambda: np.full((SIDE, SIDE), draw.integers(0, 256), np.uint8),
    }
    if kind == "photographs":
        return photographs.photographs(1, n=30, side=SIDE).astype(np.uint8)
    return np.stack([prepare.prepare(made[kind](), SIDE, SIDE, 3, 0.0) for _ in range(30)])


def test_other_faces_of_the_kind_are_like_the_training(fitted):
    faces = drawn(9, 200)
    assert fitted.is_unlike(faces, face_found=True).mean() <= 0.02
    assert fitted.is_unlike(faces[:60], face_found=False).mean() <= 0.05  # by 60 validation images


@pytest.mark.parametrize("kind", ["noise", "faint noise", "a page", "stripes", "one grey", "photographs"])
def test_noise_and_what_is_no_face_is_unlike_the_training(fitted, kind):
    assert fitted.is_unlike(others(kind), face_found=False).mean() >= 0.95


def test_noise_is_told_without_the_detector(fitted):
    assert fitted.is_unlike(others("noise"), face_found=True).all()


def test_whether_a_face_was_found_may_differ_by_image(fitted):
    greys = others("one grey")[:2]
    assert fitted.is_unlike(greys, face_found=[True, False]).tolist() == [False, True]


def test_the_figures_are_data_that_can_be_written_and_read(fitted):
    again = unlikeness.Unlikeness.model_validate_json(fitted.model_dump_json())
    faces = drawn(9, 10)
    np.testing.assert_array_equal(again.residuals(faces), fitted.residuals(faces))
    assert len(fitted.model_dump_json()) < 50_000


def test_the_residual_does_not_depend_on_brightness_and_contrast(fitted):
    faces = drawn(9, 10).astype(np.float32)
    dimmed = np.rint(faces * 0.6 + 20).astype(np.uint8)
    np.testing.assert_allclose(fitted.residuals(dimmed), fitted.residuals(faces.astype(np.uint8)), rtol=0.05)
