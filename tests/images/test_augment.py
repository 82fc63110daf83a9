import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fer.images import augment

CONFIG = augment.AugmentConfig(contrast=0.2, brightness=20, erasing=0.5)
STILL = augment.AugmentConfig(rotation_deg=0, shift=0, shear_deg=0, zoom=0, horizontal_flip=False)
SAME = np.array([[1.0, 0, 0], [0, 1, 0]])
NOTHING = (0, 0, 0, 0)
HEIGHT, WIDTH = 20, 24


def face(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)


def copied(image, matrix=SAME, gain=1.0, offset=0.0, box=NOTHING, fill=0) -> np.ndarray:
    draws = augment.Draws(
        np.array([matrix], float),
        np.array([gain], np.float32),
        np.array([offset], np.float32),
        np.array([box], np.int32),
        np.array([fill], np.uint8),
    )
    return augment.apply(image[None], draws)[0]


def about_centre(linear, height: int, width: int) -> np.ndarray:
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.column_stack([linear, centre - np.array(linear) @ centre])


def drawn(image_ids, config, seed=1, replicas=0) -> augment.Draws:
    return augment.draw(seed, image_ids, replicas, config, HEIGHT, WIDTH)


def equal(one: augment.Draws, other: augment.Draws) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def taken(draws: augment.Draws, rows) -> augment.Draws:
    return augment.Draws(*(draw[rows] for draw in draws))


def test_without_any_amount_a_copy_is_its_source():
    assert np.array_equal(augment.apply(face()[None], drawn(["a"], STILL))[0], face())


def test_a_flip_mirrors_left_to_right():
    flip = about_centre([[-1, 0], [0, 1]], HEIGHT, WIDTH)
    assert np.array_equal(copied(face(), flip), face()[:, ::-1])


def test_a_quarter_turn_is_exact_on_a_square():
    square = face(15, 15)
    assert np.array_equal(copied(square, about_centre([[0, -1], [1, 0]], 15, 15)), np.rot90(square, -1))


def test_what_lies_beyond_the_edge_is_the_mirror_image():
    shifted = copied(face(), [[1, 0, 6], [0, 1, -2]])  # 6 right, 2 up
    assert np.array_equal(shifted[:-2, 6:], face()[2:, :-6])
    assert np.array_equal(shifted[:-2, :6], face()[2:, :6][:, ::-1])  # the edge pixel is mirrored too


def test_zoom_enlarges_about_the_centre():
    dot = np.zeros((41, 41), np.uint8)
    dot[18:23, 18:23] = 200  # 5x5
    assert (copied(dot, about_centre(np.diag([3, 3]), 41, 41)) > 100).sum() == pytest.approx(225, rel=0.15)


def test_contrast_is_about_mid_grey_brightness_is_added_and_greys_end_at_black_and_white():
    row = np.array([[0, 64, 127, 128, 129, 200, 255]], np.uint8)
    assert copied(row, gain=0.5).tolist() == [[64, 96, 128, 128, 128, 164, 192]]  # to the nearest, halves to even
    assert copied(row, gain=2.0).tolist() == [[0, 0, 126, 128, 130, 255, 255]]
    assert copied(row, offset=-70.0).tolist() == [[0, 0, 57, 58, 59, 130, 185]]
    assert copied(row, gain=0.5, offset=100.0).tolist() == [[164, 196, 228, 228, 228, 255, 255]]


def test_what_is_erased_is_one_grey_and_the_rest_stays():
    erased = copied(face(), box=(3, 5, 4, 7), fill=77)
    assert (erased[3:7, 5:12] == 77).all()
    erased[3:7, 5:12] = face()[3:7, 5:12]
    assert np.array_equal(erased, face())


def test_brightness_does_not_change_what_is_erased():
    assert (copied(face(), offset=50.0, box=(0, 0, HEIGHT, WIDTH), fill=10) == 10).all()


def test_no_copies_of_no_images():
    assert augment.apply(np.empty((0, HEIGHT, WIDTH), np.uint8), drawn([], CONFIG)).shape == (0, HEIGHT, WIDTH)


def test_rotation_shear_zoom_and_flip_follow_one_another_in_one_map():
    """Each amount is drawn from its own numbers, so that the others can be turned off."""

    def alone(**amount) -> np.ndarray:
        config = STILL.model_copy(update=amount)
        maps = np.tile(np.eye(3), (50, 1, 1))
        maps[:, :2] = drawn(list(map(str, range(50))), config).matrices
        return maps

    steps = [alone(shift=0.1), alone(rotation_deg=30), alone(shear_deg=20), alone(zoom=0.3)]
    steps.append(alone(horizontal_flip=True))
    shift, rotation, shear, zoom, flip = steps
    everything = {"shift": 0.1, "rotation_deg": 30, "shear_deg": 20, "zoom": 0.3, "horizontal_flip": True}
    assert np.allclose(alone(**everything), shift @ rotation @ shear @ zoom @ flip)

    centre = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2, 1])
    for step in steps[1:]:
        assert np.allclose(step @ centre, centre)
    assert np.allclose(shift[:, :2, :2], np.eye(2))
    turned = np.degrees(np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]))
    assert 25 < np.abs(turned).max() <= 30
    assert np.allclose(np.linalg.det(rotation), 1)
    assert np.allclose(rotation[:, 0, 0], rotation[:, 1, 1])
    assert np.allclose(shear[:, [0, 1, 1], [0, 0, 1]], [1, 0, 1])  # columns slant, the middle row stays
    assert np.allclose(zoom[:, 0, 0], zoom[:, 1, 1])
    assert np.allclose(np.abs(flip[:, 0, 0]), 1)


@settings(max_examples=60)
@given(st.integers(0, 2**40), st.lists(st.text(max_size=40), max_size=6), st.integers(0, 50))
def test_draws_stay_in_their_ranges_and_come_again(seed, image_ids, replica):
    draws = drawn(image_ids, CONFIG, seed, replica)
    assert equal(draws, drawn(image_ids, CONFIG, seed, [replica] * len(image_ids)))
    assert (np.abs(draws.gains - 1) <= CONFIG.contrast + 1e-6).all()
    assert (np.abs(draws.offsets) <= CONFIG.brightness).all()
    moved = draws.matrices @ [(WIDTH - 1) / 2, (HEIGHT - 1) / 2, 1] - [(WIDTH - 1) / 2, (HEIGHT - 1) / 2]
    assert (np.abs(moved) <= np.array([WIDTH, HEIGHT]) * CONFIG.shift + 1e-9).all()
    zoomed = np.sqrt(np.abs(np.linalg.det(draws.matrices[:, :, :2])))
    assert (np.abs(zoomed - 1) <= CONFIG.zoom + 1e-9).all()
    top, left, height, width = draws.boxes.T
    assert ((top >= 0) & (left >= 0) & (top + height <= HEIGHT) & (left + width <= WIDTH)).all()
    copies = augment.apply(np.repeat(face()[None], len(image_ids), axis=0), draws)
    assert copies.dtype == np.uint8
    assert len(copies) == len(image_ids)


@given(
    st.lists(st.tuples(st.text(max_size=8), st.integers(0, 9)), min_size=1, max_size=12).flatmap(
        lambda copies: st.tuples(st.just(copies), st.permutations(range(len(copies))))
    )
)
def test_a_draw_depends_on_nothing_beside_it(case):
    copies, order = case
    together = drawn([image_id for image_id, _ in copies], CONFIG, replicas=[replica for _, replica in copies])
    shuffled = [copies[at] for at in order]
    assert equal(
        taken(together, order),
        drawn([image_id for image_id, _ in shuffled], CONFIG, replicas=[replica for _, replica in shuffled]),
    )
    for at, (image_id, replica) in enumerate(copies):
        assert equal(taken(together, [at]), drawn([image_id], CONFIG, replicas=replica))


@pytest.mark.parametrize("other", [(2, "a", 0), (1, "b", 0), (1, "a", 1)])
def test_another_seed_image_or_replica_gives_another_copy(other):
    seed, image_id, replica = other
    assert not np.array_equal(
        drawn([image_id], CONFIG, seed, replica).matrices, drawn(["a"], CONFIG, seed=1, replicas=0).matrices
    )


def test_a_replica_for_each_image():
    with pytest.raises(ValueError, match="zip"):
        drawn(["a", "b"], CONFIG, replicas=[0])


def test_the_amounts_are_spread_evenly_and_independently():
    config = CONFIG.model_copy(update={"shear_deg": 0.0})
    draws = drawn([str(i) for i in range(4_000)], config)
    linear = draws.matrices[:, :, :2]
    flipped = np.linalg.det(linear) < 0
    moved = draws.matrices @ [(WIDTH - 1) / 2, (HEIGHT - 1) / 2, 1] - [(WIDTH - 1) / 2, (HEIGHT - 1) / 2]
    columns = np.column_stack(
        [
            np.degrees(np.arctan2(-linear[:, 0, 1], linear[:, 1, 1])) / config.rotation_deg,
            moved / (config.shift * WIDTH, config.shift * HEIGHT),
            (np.sqrt(np.abs(np.linalg.det(linear))) - 1) / config.zoom,
            (draws.gains - 1) / config.contrast,
            draws.offsets / config.brightness,
            draws.fills / 127.5 - 1,
        ]
    )
    assert np.abs(columns.mean(0)).max() < 0.05
    assert np.abs(columns.std(0) - 1 / np.sqrt(3)).max() < 0.02
    assert np.abs(np.corrcoef(columns.T) - np.eye(7)).max() < 0.07
    assert 0.46 < flipped.mean() < 0.54


def test_a_part_of_the_copies_is_erased_anywhere_in_all_shapes():
    draws = augment.draw(0, [str(i) for i in range(4_000)], 0, CONFIG, 96, 96)
    boxes = draws.boxes[draws.boxes[:, 2] > 0]
    assert 0.46 < len(boxes) / 4_000 < 0.54
    top, left, height, width = boxes.T
    area = height * width / 96**2
    assert 0.015 < area.min() < 0.03
    assert 0.31 < area.max() < 0.345
    assert 0.4 < (height > width).mean() < 0.6
    for first, size in ((top, height), (left, width)):
        assert first.min() == 0
        assert (first + size).max() == 96
        assert 40 < (first + size / 2).mean() < 56


@pytest.mark.parametrize("wrong", [{"erasing": 1.5}, {"contrast": -0.1}, {"brightness": 300}, {"cutout": 1}])
def test_amounts_out_of_their_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        augment.AugmentConfig(**wrong)
