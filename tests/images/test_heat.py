import numpy as np
import pytest

from fer.images import heat


@pytest.mark.parametrize("shape", [(48, 48), (16, 32), (200, 100)])
def test_the_image_stands_beside_itself_with_its_warm_places(shape):
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    warmth = np.zeros((4, 4), np.float32)
    warmth[1, 1] = 1
    picture = heat.beside(image, warmth)
    height, width = picture.shape[:2]
    side = (width - 8) // 2
    assert max(height, side) == 96
    assert height / side == pytest.approx(shape[0] / shape[1], rel=0.02)
    left, right = picture[:, :side], picture[:, -side:]
    assert (left[..., 0] == left[..., 2]).all()
    coloured = (right[..., 0] != right[..., 2]).reshape(height, side)
    rows, columns = np.nonzero(coloured)
    assert rows.mean() / height == pytest.approx(1.5 / 4, abs=0.03)
    assert columns.mean() / side == pytest.approx(1.5 / 4, abs=0.03)


def test_a_cold_map_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (48, 48)).astype(np.uint8)
    picture = heat.beside(image, np.zeros((6, 6), np.float32))
    np.testing.assert_array_equal(picture[:, :96], picture[:, 104:])
