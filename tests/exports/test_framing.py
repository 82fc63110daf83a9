import cv2
import numpy as np
import pytest
from drawn_photos import drawn, photo

from fer.exports import framing
from fer.shards import parquet


@pytest.mark.parametrize("shown", ["crops", "photographs"])
def test_crops_are_told_from_photographs_by_the_train_images(tmp_path, shown):
    if shown == "crops":
        images = [drawn(seed) for seed in range(6)]
    else:
        images = [cv2.resize(photo((40 * seed, 60, 160)), (48, 48)) for seed in range(6)]
    ids = [f"{number:032x}" for number in range(6)]
    parquet.write(tmp_path / "train-00000.parquet", ids, np.zeros(6, np.int64), np.stack(images), ("happy",))
    assert framing.of_train(tmp_path, seed=0) == shown
