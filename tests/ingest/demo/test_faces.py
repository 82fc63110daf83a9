import numpy as np
import pytest

from fer.ingest.demo import faces as demo_faces


@pytest.mark.parametrize("label", demo_faces.CLASSES)
def test_every_class_is_drawn_as_48_by_48_grey_faces_with_contrast(label):
    for seed in range(20):
        face = demo_faces.draw(label, np.random.default_rng(seed))
        assert face.shape == (48, 48)
        assert face.dtype == np.uint8
        assert face.std() > 8


def test_the_same_generator_state_draws_the_same_face_and_another_a_different_one():
    first, again, other = (demo_faces.draw("sad", np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_dropped_jaw_darkens_the_mouth_and_a_tight_lip_does_not():
    mouth = {
        label: np.mean([demo_faces.draw(label, np.random.default_rng(n))[34:42, 19:29] for n in range(40)])
        for label in ("surprise", "angry", "neutral")
    }
    assert mouth["surprise"] < mouth["neutral"] - 10
    assert mouth["angry"] > mouth["neutral"] - 5


@pytest.mark.slow  # by what it computes
def test_a_linear_model_on_pixels_learns_something_but_stays_under_85_percent():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    labels = np.repeat(np.arange(7), 80)
    faces = np.stack(
        [demo_faces.draw(demo_faces.CLASSES[label], np.random.default_rng([5, n])) for n, label in enumerate(labels)]
    )
    pixels = StandardScaler().fit_transform(faces.reshape(len(faces), -1).astype(np.float32))
    held_out = np.arange(len(labels)) % 5 == 0
    model = LogisticRegression(max_iter=500, tol=1e-3).fit(pixels[~held_out], labels[~held_out])
    accuracy = model.score(pixels[held_out], labels[held_out])
    assert 2 / 7 < accuracy < 0.85
