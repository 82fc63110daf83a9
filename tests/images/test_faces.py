"""Faces that fer.ingest.demo.faces draws, set into larger pictures: they are found, cut out and levelled."""

import concurrent.futures

import cv2
import numpy as np
import pytest

from fer.images import faces
from fer.ingest.demo import faces as demo_faces

FACE_PX = 120
SEEDS = range(12)


def face(seed):
    drawn = demo_faces.draw(demo_faces.CLASSES[seed % 7], np.random.default_rng(seed))
    return cv2.resize(drawn, (FACE_PX, FACE_PX), interpolation=cv2.INTER_CUBIC)


def photo(seed, x=50, y=30, height=180, width=220):
    """A face on grey, its corner at (x, y); each row and column of the border has a level of its own."""
    picture = (np.arange(height)[:, None] // 4 + np.arange(width) // 4 + 60).astype(np.uint8)
    picture[y : y + FACE_PX, x : x + FACE_PX] = face(seed)
    return picture


def turned(picture, degrees):
    """Clockwise about the middle of the face of `photo`."""
    turn = cv2.getRotationMatrix2D((50 + FACE_PX / 2, 30 + FACE_PX / 2), -degrees, 1.0)
    return cv2.warpAffine(picture, turn, picture.shape[::-1], borderMode=cv2.BORDER_REPLICATE)


def place(picture, part):
    """(x, y) of the part's left upper corner in the picture, and by how much they differ there."""
    differing, _, (x, y), _ = cv2.minMaxLoc(cv2.matchTemplate(picture, part, cv2.TM_SQDIFF))
    return x, y, differing


def sign():
    """A triangle on black."""
    picture = np.zeros((48, 48), np.uint8)
    cv2.polylines(picture, [np.array([(24, 8), (8, 36), (40, 36)], np.int32)], True, 255, 3)
    return picture


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crop_of_a_face_scores_high_whatever_its_size_and_side(seed):
    drawn = demo_faces.draw(demo_faces.CLASSES[seed % 7], np.random.default_rng(seed))
    for crop in (drawn, drawn[:, ::-1], face(seed), drawn[2:, 4:]):
        assert 0.6 < faces.score(crop) <= 1


def test_what_is_no_face_scores_low():
    for picture in (sign(), np.zeros((48, 48), np.uint8), np.full((1, 60), 200, np.uint8)):
        assert faces.score(picture) < 0.3


def test_the_looks_at_a_face_agree_and_those_at_other_pictures_do_not():
    assert min(faces.mean_score(face(seed)) for seed in SEEDS) > 0.6
    quarters = [face(seed)[:60, :60] for seed in SEEDS]
    others = [sign(), np.zeros((48, 48), np.uint8), np.full((1, 60), 200, np.uint8), *quarters]
    assert max(faces.mean_score(picture) for picture in others) < 0.45
    for picture in (face(0), *others):
        for least in (0.0, 0.3, 0.9):
            assert faces.has_mean_score(picture, least) == (faces.mean_score(picture) >= least)


def test_a_face_that_moved_a_little_is_followed():
    (known,) = faces.find(photo(0))
    (followed,) = faces.follow(photo(0, x=65, y=40), [known])
    np.testing.assert_allclose(followed.points[0] - known.points[0], (15, 10), atol=3)


def test_a_face_that_is_gone_or_far_away_is_not_followed():
    (known,) = faces.find(photo(0))
    ground = (np.arange(180)[:, None] // 4 + np.arange(400) // 4 + 60).astype(np.uint8)
    assert faces.follow(ground, [known]) == []
    assert faces.follow(photo(0, x=250, width=400), [known]) == []


def test_one_face_is_followed_once_however_often_it_was_known():
    (known,) = faces.find(photo(0))
    assert len(faces.follow(photo(0), [known, known.placed(1.0, 3, 3)])) == 1


def test_of_a_doubtful_picture_the_better_of_both_sides_counts():
    quarters = [face(seed)[20:80, 50:110] for seed in SEEDS]
    doubtful = [quarter for quarter in quarters if faces.score(quarter) < 0.5]
    assert doubtful
    for quarter in doubtful:
        assert faces.score(quarter[:, ::-1]) == pytest.approx(faces.score(quarter), abs=0.01)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_face_is_cut_out_as_a_square_about_its_middle(seed):
    picture = photo(seed)
    cropped = faces.crop_largest(picture, "crop", 0.0)
    x, y, differing = place(picture, cropped)
    assert cropped.shape[0] == cropped.shape[1] < FACE_PX * 1.1
    assert differing < 1
    assert abs(x + cropped.shape[1] / 2 - (50 + FACE_PX / 2)) < FACE_PX / 6
    assert abs(y + cropped.shape[0] / 2 - (30 + FACE_PX / 2)) < FACE_PX / 6


def test_a_margin_is_a_share_of_the_side_on_each_side():
    picture = photo(0, x=140, y=140, height=400, width=400)
    bare, wide = (faces.crop_largest(picture, "crop", margin) for margin in (0.0, 0.25))
    assert wide.shape[0] == pytest.approx(1.5 * bare.shape[0], abs=1)
    x, y, differing = place(wide, bare)
    assert differing < 1
    assert abs(x - 0.25 * bare.shape[0]) <= 1
    assert abs(y - 0.25 * bare.shape[0]) <= 1


@pytest.mark.parametrize(("x", "y"), [(0, 0), (100, 0), (0, 60), (100, 60)])
def test_a_margin_stays_inside_the_image(x, y):
    picture = photo(3, x, y)
    bare, wide = (faces.crop_largest(picture, "crop", margin) for margin in (0.0, 0.3))
    assert bare.shape[0] < wide.shape[0] <= 180
    assert place(picture, wide)[2] < 1
    assert place(wide, bare)[2] < 1


def test_a_margin_beyond_the_image_leaves_a_square_of_its_shorter_side():
    picture = photo(3)
    cropped = faces.crop_largest(picture, "crop", 9.0)
    assert cropped.shape == (180, 180)
    x, _, differing = place(picture, cropped)
    assert differing < 1
    assert 0 < x < 40


def test_of_two_faces_the_larger_is_taken():
    small = cv2.resize(face(1), (60, 60), interpolation=cv2.INTER_AREA)
    picture = photo(0, x=90, y=40, height=180, width=220)
    picture[60:120, 10:70] = small
    cropped = faces.crop_largest(picture, "crop", 0.0)
    assert cropped.shape[0] > 70
    assert place(picture, cropped)[0] >= 80


@pytest.mark.parametrize("how", ["crop", "align"])
@pytest.mark.parametrize(
    "picture",
    [
        np.full((60, 80), 128, np.uint8),
        np.random.default_rng(0).integers(0, 256, (48, 48)).astype(np.uint8),
        np.zeros((1, 1), np.uint8),
        np.zeros((3, 900), np.uint8),
    ],
    ids=["blank", "noise", "one-pixel", "a-strip"],
)
def test_without_a_face_the_whole_image_stays(picture, how):
    assert np.array_equal(faces.crop_largest(picture, how, 0.2), picture)


def test_the_whole_image_is_not_searched():
    assert np.array_equal(faces.crop_largest(photo(0), "whole", 0.2), photo(0))


def test_large_images_are_cut_in_their_own_pixels():
    picture = cv2.resize(photo(0), None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    small, large = (faces.crop_largest(image, "crop", 0.1).shape[0] for image in (photo(0), picture))
    assert large == pytest.approx(4 * small, rel=0.1)


def test_a_turned_face_is_levelled():
    """The same face turned to one side and to the other comes out alike, and as it does upright."""
    n_closer = 0
    for seed in SEEDS:
        upright = faces.crop_largest(photo(seed), "align", 0.0)
        for degrees in (-12, 12):
            aligned, cropped = (
                cv2.resize(faces.crop_largest(turned(photo(seed), degrees), how, 0.0), upright.shape).astype(float)
                for how in ("align", "crop")
            )
            n_closer += np.abs(aligned - upright).mean() < 0.9 * np.abs(cropped - upright).mean()
    assert n_closer >= len(SEEDS)  # of twice as many; the others' eyes or faces are not found


def test_a_profile_whose_eyes_tell_little_is_cut_out_and_not_turned():
    picture = turned(photo(0), 12)
    (face,) = faces.find(picture)
    left, right = face.points[2:]
    face.points[2:] = (left + right) / 2 + np.outer((-0.05, 0.05), right - left)
    assert np.array_equal(faces.crop(picture, face, "align", 0.1), faces.crop(picture, face, "crop", 0.1))


def test_each_of_several_faces_is_found_the_largest_first():
    picture = (np.arange(480)[:, None] // 6 + np.arange(640) // 6 + 30).astype(np.uint8)
    places = [(40, 60, 150), (300, 90, 110), (480, 300, 80)]
    for seed, (x, y, side) in enumerate(places):
        picture[y : y + side, x : x + side] = cv2.resize(face(seed), (side, side), interpolation=cv2.INTER_AREA)
    detected = faces.find(picture)
    assert len(detected) == 3
    for detected_face, (x, y, side) in zip(detected, places, strict=True):
        assert np.hypot(*(detected_face.points[0] - (x + side / 2, y + side / 2))) < side / 5
        assert 0.5 * side < detected_face.side < side


@pytest.mark.parametrize("share", [pytest.param(0.05, marks=pytest.mark.slow), 0.3])
def test_small_and_large_faces_are_found_in_a_photograph_of_12_megapixels(share):
    height, width = 3000, 4000
    picture = (np.arange(height)[:, None] // 40 + np.arange(width) // 40 + 40).astype(np.uint8)
    side = round(share * width / 0.7)  # the box takes 0.7 of a drawn face's picture
    picture[900 : 900 + side, 2100 : 2100 + side] = cv2.resize(face(2), (side, side), interpolation=cv2.INTER_CUBIC)
    (detected,) = faces.find(picture)
    assert np.hypot(*(detected.points[0] - (2100 + side / 2, 900 + side / 2))) < side / 5
    assert faces.find(picture, largest_only=True)[0].side == pytest.approx(detected.side, rel=0.02)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crop_without_surroundings_shows_a_face_and_is_a_crop(seed):
    drawn = demo_faces.draw(demo_faces.CLASSES[seed % 7], np.random.default_rng(seed))
    (detected,) = faces.find(drawn)
    assert faces.is_crop(drawn, detected)


def test_a_face_in_a_picture_is_no_crop():
    (detected,) = faces.find(photo(0, height=400, width=400))
    assert not faces.is_crop(photo(0, height=400, width=400), detected)


def test_a_crop_is_framed_as_that_which_was_pasted():
    """The drawn faces leave a little more room than FER2013's, whose framing the square has."""
    for seed in SEEDS:
        cropped = faces.crop_largest(photo(seed, height=400, width=400), "crop", 0.0)
        assert 0.7 * FACE_PX < cropped.shape[0] < 1.1 * FACE_PX


@pytest.mark.parametrize("how", ["crop", "align"])
def test_the_same_picture_gives_the_same_whatever_came_before(how):
    first = [faces.crop_largest(turned(photo(seed), 8), how, 0.1) for seed in range(4)]
    again = [faces.crop_largest(turned(photo(seed), 8), how, 0.1) for seed in reversed(range(4))][::-1]
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert all(cropped.dtype == np.uint8 and cropped.flags.c_contiguous for cropped in first)


@pytest.mark.parametrize("how", ["crop", pytest.param("align", marks=pytest.mark.slow)])
def test_threads_of_one_process_find_what_one_alone_finds(how):
    """As those of a Dask worker do."""
    pictures = [photo(seed, x=10 + 3 * seed, y=5 + 2 * seed) for seed in SEEDS] * 3
    alone = [faces.crop_largest(picture, how, 0.1) for picture in pictures]
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda picture: faces.crop_largest(picture, how, 0.1), pictures))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_faces_below_a_share_of_the_picture_are_not_looked_for_on_demand():
    picture = photo(0, x=700, y=600, height=1600, width=1600)
    assert len(faces.find(picture)) == 1
    assert faces.find(picture, min_share=0.1) == []
    assert len(faces.find(photo(0), min_share=0.1)) == 1
