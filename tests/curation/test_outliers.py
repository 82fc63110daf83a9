import numpy as np

from fer.curation import outliers


def faces(n, seed=0):
    """Images that are mixtures of ten soft shapes with a little noise: (n, 2304) uint8."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :48] / 48
    shapes = np.stack([np.sin(np.pi * (a * x + b * y) + a) for a in range(1, 3) for b in range(5)]).reshape(10, -1)
    mixed = draw.normal(size=(n, 10)) @ shapes + draw.normal(0, draw.uniform(0.2, 0.4, (n, 1)), (n, 48 * 48))
    return np.clip(128 + 25 * mixed, 0, 255).astype(np.uint8)


def writing(n):
    """Lines of dark strokes on white, each image with its own: (n, 2304) uint8."""
    draw = np.random.default_rng(9)
    strokes = np.where(draw.random((n, 48, 48)) < 0.5, 30, 250)
    between_lines = (np.arange(48) // 3 + np.arange(n)[:, None]) % 2 == 0
    return np.where(between_lines[:, :, None], 250, strokes).astype(np.uint8).reshape(n, -1)


def test_writing_among_faces_stands_out():
    scores = outliers.scores(np.concatenate([faces(600), writing(5)]))
    assert scores[600:].min() > 3.5
    assert (scores[:600] > 3.5).mean() < 0.01
    assert scores[:600].max() < scores[600:].min()


def test_brightness_and_contrast_change_no_score_by_much():
    images = faces(600)
    other = images.copy()
    other[:50] = other[:50] // 2 + 60
    assert np.abs(outliers.scores(images) - outliers.scores(other)).max() < 0.5


def test_images_of_one_grey_have_no_score():
    images = faces(300)
    images[7] = 0
    scores = outliers.scores(images)
    assert np.flatnonzero(np.isnan(scores)).tolist() == [7]


def test_few_images_have_no_score():
    assert np.isnan(outliers.scores(faces(30))).all()
    assert outliers.scores(faces(0)).shape == (0,)


def test_copies_of_one_image_have_no_score():
    assert np.isnan(outliers.scores(faces(1).repeat(400, axis=0))).all()


def test_scores_are_of_two_decimals_and_repeat():
    images = faces(400)
    scores = outliers.scores(images)
    assert np.array_equal(scores, outliers.scores(images))
    assert np.allclose(scores * 100, np.rint(scores * 100), atol=1e-3)
