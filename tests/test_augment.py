import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer import augment

CONFIG = augment.AugmentConfig()
STILL = augment.AugmentConfig(rotation_deg=0, shift=0, shear_deg=0, zoom=0, horizontal_flip=False)


def face(height: int = 20, width: int = 24) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)


def test_without_any_amount_a_copy_is_its_source():
    assert np.array_equal(augment.augment(face(), augment.parameters(1, "a", 0, STILL)), face())


def test_a_flip_mirrors_left_to_right():
    flipped = augment.augment(face(), augment.Parameters(flipped=True))
    assert np.array_equal(flipped, face()[:, ::-1])


def test_a_quarter_turn_is_exact_on_a_square():
    square = face(15, 15)
    turned = augment.augment(square, augment.Parameters(rotation_deg=90))
    assert np.array_equal(turned, np.rot90(square, -1))


def test_a_shift_moves_by_a_fraction_of_the_size_and_mirrors_at_the_edge():
    shifted = augment.augment(face(20, 24), augment.Parameters(shift_x=0.25, shift_y=-0.1))  # 6 right, 2 up
    assert np.array_equal(shifted[:-2, 6:], face()[2:, :-6])
    assert np.array_equal(shifted[:-2, :6], face()[2:, 1:7][:, ::-1])


def test_shear_slants_columns_and_leaves_the_middle_row():
    line = np.zeros((41, 41), np.uint8)
    line[:, 20] = 255
    slanted = augment.augment(line, augment.Parameters(shear_deg=45))
    assert np.array_equal(slanted[20], line[20])
    assert slanted[25].argmax() == 25
    assert slanted[10].argmax() == 10


def test_zoom_enlarges_about_the_centre():
    dot = np.zeros((41, 41), np.uint8)
    dot[18:23, 18:23] = 200  # 5x5
    assert (augment.augment(dot, augment.Parameters(zoom=3.0)) > 100).sum() == pytest.approx(225, rel=0.15)


def test_the_composed_matrix_is_the_product_of_its_steps():
    chosen = augment.Parameters(rotation_deg=30, shift_x=0.1, shift_y=0.2, shear_deg=10, zoom=1.2, flipped=True)
    height, width = 20, 30
    square = np.vstack([augment.matrix(chosen, height, width), [0, 0, 1]])
    centre = np.array([[1, 0, 14.5], [0, 1, 9.5], [0, 0, 1]])
    turn = np.radians(30)
    steps = [
        np.array([[1, 0, 3], [0, 1, 4], [0, 0, 1]]),
        centre,
        np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]),
        np.array([[1, np.tan(np.radians(10)), 0], [0, 1, 0], [0, 0, 1]]),
        np.diag([-1.2, 1.2, 1]),
        np.linalg.inv(centre),
    ]
    assert np.allclose(square, np.linalg.multi_dot(steps))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**40), st.text(max_size=40), st.integers(0, 50))
def test_parameters_stay_in_their_ranges_and_come_again(seed, image_id, replica):
    chosen = augment.parameters(seed, image_id, replica, CONFIG)
    assert chosen == augment.parameters(seed, image_id, replica, CONFIG)
    assert abs(chosen.rotation_deg) <= CONFIG.rotation_deg
    assert max(abs(chosen.shift_x), abs(chosen.shift_y)) <= CONFIG.shift
    assert abs(chosen.shear_deg) <= CONFIG.shear_deg
    assert abs(chosen.zoom - 1) <= CONFIG.zoom + 1e-12
    copy = augment.augment(face(), chosen)
    assert copy.shape == (20, 24)
    assert copy.dtype == np.uint8


@pytest.mark.parametrize("other", [(2, "a", 0), (1, "b", 0), (1, "a", 1)])
def test_another_seed_image_or_replica_gives_another_copy(other):
    assert augment.parameters(*other, CONFIG) != augment.parameters(1, "a", 0, CONFIG)


def test_the_amounts_are_spread_evenly_and_independently():
    drawn = [augment.parameters(0, str(i), 0, CONFIG) for i in range(2_000)]
    columns = np.array(
        [[p.rotation_deg / 15, p.shift_x / 0.1, p.shift_y / 0.1, p.shear_deg / 8, (p.zoom - 1) / 0.1] for p in drawn]
    )
    assert np.abs(columns.mean(0)).max() < 0.06
    assert np.abs(columns.std(0) - 1 / np.sqrt(3)).max() < 0.03
    assert np.abs(np.corrcoef(columns.T) - np.eye(5)).max() < 0.1
    assert 0.45 < np.mean([p.flipped for p in drawn]) < 0.55
