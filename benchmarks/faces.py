"""Face detection against OpenCV's cascade of Haar-like features, which this project used before."""

from collections.abc import Iterator

import cv2
import numpy as np

from benchmarks import Row, seconds
from fer.images import faces
from fer.ingest.demo import faces as demo_faces


def run() -> Iterator[Row]:
    cascade = cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_alt2.xml")
    crops = [demo_faces.draw(demo_faces.CLASSES[seed % 7], np.random.default_rng(seed)) for seed in range(30)]
    photos = [_photo(crop, 640) for crop in crops[:3]]
    large = _photo(crops[3], 4_000)
    for description, pictures in (
        ("crops of 48x48", crops),
        ("photos of 640x480", photos),
        ("photo of 12 MP", [large]),
    ):
        duration = seconds(
            {
                "ours": lambda pictures=pictures: [faces.find(picture) for picture in pictures],
                "haar": lambda pictures=pictures: [cascade.detectMultiScale(picture) for picture in pictures],
            },
            rounds=3,
        )
        per_image = {name: 1_000 * taken / len(pictures) for name, taken in duration.items()}
        yield Row(f"{description}, all faces; reference: Haar's cascade", per_image["ours"], "ms", per_image["haar"])
    shares = [100 * np.mean([len(faces.find(crop)) == 1 for crop in crops])]
    shares.append(100 * np.mean([len(cascade.detectMultiScale(crop)) == 1 for crop in crops]))
    yield Row("drawn crops of 48x48 in which one face is found; reference: Haar's cascade", shares[0], "%", shares[1])


def _photo(crop: np.ndarray, width: int) -> np.ndarray:
    """(3/4 width, width) uint8: the crop, a tenth as wide, on a grainy grey gradient."""
    height = width * 3 // 4
    slope = np.arange(height)[:, None] * 60 // height + np.arange(width) * 60 // width + 60
    picture = (slope + np.random.default_rng(0).integers(-6, 7, slope.shape)).astype(np.uint8)
    side = width // 10
    picture[side : 2 * side, 3 * side : 4 * side] = cv2.resize(crop, (side, side), interpolation=cv2.INTER_LINEAR)
    return picture
