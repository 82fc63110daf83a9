import numpy as np
from photographs import photographs, taken

from fer.curation import alignment
from fer.images import framings


def test_alignment_finds_where_the_other_image_lies():
    picture = photographs(6, n=1)[0]
    near = framings.View(right=-3.0, down=1.0, zoom=1.1, turn=np.radians(5))
    images = np.stack([taken(picture), taken(picture, right=2.0, down=-1.5, zoom=1.06, degrees=3)]).astype(np.uint8)
    aligner = alignment.Aligner(images)
    placed = aligner.align(np.array([0]), np.array([1]), np.array([False]), near)
    assert placed.correlation[0] > 0.98
    turn = np.radians(3)
    right, down = 1.06 * (np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ [-2.0, 1.5])
    np.testing.assert_allclose(placed.views[0], [right, down, 1.06, turn], atol=0.1)
    backwards = aligner.align(np.array([0]), np.array([0]), np.array([False]), near)
    assert backwards.correlation[0] == 1
    np.testing.assert_allclose(backwards.views[0], [0, 0, 1, 0], atol=1e-2)
