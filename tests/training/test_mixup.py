import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_batches import batch, config, examples


@given(mixup=st.sampled_from([0.0, 0.2, 1.0]), cutmix=st.sampled_from([0.0, 0.2, 1.0]), at=st.integers(0, 50))
def test_blended_targets_are_shares_and_blended_pixels_stay_in_range(mixup, cutmix, at):
    inputs, targets, weights = examples(batch(), config(mixup=mixup, cutmix=cutmix), weights=(1, 2, 3), at=at)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    assert targets.min() >= 0
    assert 0 <= inputs.min() <= inputs.max() <= 255.001  # float32 rounds
    assert weights.min() >= 1
    assert weights.max() <= 3.00001


def test_blending_is_drawn_by_seed_epoch_and_step():
    settings = config(mixup=1.0)
    first, same = examples(batch(), settings, at=3), examples(batch(), settings, at=3)
    np.testing.assert_array_equal(first.inputs, same.inputs)
    for other in (examples(batch(), settings, at=4), examples(batch(), settings, epoch=2, at=3)):
        assert not np.array_equal(first.inputs, other.inputs)


def test_mixup_blends_pixels_and_targets_by_one_share():
    originals = batch()
    inputs, targets, _ = examples(originals, config(mixup=1.0))
    own = np.eye(3)[originals.class_indexes]
    one_row = next(row for row in range(8) if targets[row].max() < 0.999)
    share = targets[one_row][originals.class_indexes[one_row]]
    other = int(np.flatnonzero((targets[one_row] > 0) & (own[one_row] == 0))[0])
    candidates = originals.pixels[originals.class_indexes == other].astype(np.float32)
    blended = share * originals.pixels[one_row] + (1 - share) * candidates
    assert np.abs(blended - inputs[one_row]).max(axis=(1, 2, 3)).min() < 0.01


def test_cutmix_takes_each_pixel_from_one_of_the_two_in_the_targets_shares():
    originals = batch(seed=4)
    for at in range(10):
        inputs, targets, _ = examples(originals, config(cutmix=1.0), at=at)
        is_own = (inputs == originals.pixels).mean(axis=(1, 2, 3))
        foreign = [row for row in range(8) if 0 < targets[row][originals.class_indexes[row]] < 1]
        for row in foreign:
            assert is_own[row] == pytest.approx(targets[row][originals.class_indexes[row]], abs=0.06)
