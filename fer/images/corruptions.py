"""Grey (H, W) uint8 images made worse, by kind and severity, and moved a little: how robust a model is, these tell.

The protocol is that of D. Hendrycks, T. Dietterich, Benchmarking neural network robustness to common corruptions and
perturbations, ICLR 2019 (arXiv:1903.12261): kinds of noise, blur, light and digital loss, each at five severities, for
a model that was not trained on them. The amounts are this project's, for faces of some 48 px: lengths are fractions of
the image's shorter side, so that a severity means about the same at every size; noise and JPEG act on single pixels and
blocks of 8, and are milder on larger images. Rotation and occlusion are added, which a face meets more often than snow.

What is drawn at random depends on (seed, image id, kind, severity) alone: neither the order of the images nor the
process matters. Beyond an image's edges lies its mirror image, as in `augment`.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np

cv2.setNumThreads(0)  # `decode` gives the reason

Kind = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "motion_blur",
    "brightness",
    "darkness",
    "contrast",
    "jpeg",
    "pixelation",
    "low_resolution",
    "rotation",
    "occlusion",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
SEVERITIES = (1, 2, 3, 4, 5)
Nuisance = Literal["mirror", "shift_left", "shift_right", "shift_up", "shift_down", "smaller", "larger"]
NUISANCES: tuple[Nuisance, ...] = get_args(Nuisance)

_MIRRORED = cv2.BORDER_REFLECT
_SHIFT = 1 / 24  # of the side: 2 px of 48
_SCALE = 0.05
_LEVELS = np.arange(256.0)
_LINE_POINTS = 64  # that a line of motion blur is made of
_SUPERSAMPLED = 8  # points along a pixel's side that decide how much of it a disc covers
_Draw = Callable[[], np.random.Generator]
_Change = Callable[[np.ndarray, float, _Draw], np.ndarray]


class Corruption(NamedTuple):
    """One kind: `amounts` are those of the severities 1 to 5, of what `unit` says."""

    group: str
    change: _Change
    amounts: tuple[float, float, float, float, float]
    unit: str


def corrupt(pixels: np.ndarray, image_ids: Sequence[str], kind: Kind, severity: int, *, seed: int = 0) -> np.ndarray:
    """(N, H, W) uint8 `pixels` of the images `image_ids`, made worse: (N, H, W) uint8, a copy."""
    corruption = CORRUPTIONS[kind]
    amount = corruption.amounts[severity - 1]
    out = np.empty(pixels.shape, np.uint8)
    for row, (image, image_id) in enumerate(zip(pixels, image_ids, strict=True)):
        draw = functools.partial(_generator, f"{seed}\0{image_id}\0{kind}\0{severity}")
        out[row] = corruption.change(np.ascontiguousarray(image), amount, draw)
    return out


def _generator(text: str) -> np.random.Generator:
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def perturb(pixels: np.ndarray, nuisance: Nuisance) -> np.ndarray:
    """(N, H, W) uint8 `pixels` mirrored, shifted by a 24th of their side, or 5 % smaller or larger: (N, H, W) uint8.

    None of it changes what a face expresses.
    """
    if nuisance == "mirror":
        return np.ascontiguousarray(pixels[:, :, ::-1])
    height, width = pixels.shape[1:]
    right = {"shift_right": 1, "shift_left": -1}.get(nuisance, 0) * max(1, round(_SHIFT * width))
    down = {"shift_down": 1, "shift_up": -1}.get(nuisance, 0) * max(1, round(_SHIFT * height))
    scale = {"smaller": 1 - _SCALE, "larger": 1 + _SCALE}.get(nuisance, 1.0)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, scale)
    matrix[:, 2] += (right, down)
    moved = [cv2.warpAffine(image, matrix, (width, height), None, cv2.INTER_LINEAR, _MIRRORED) for image in pixels]
    return np.stack(moved) if moved else pixels.copy()


def _grey(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _gaussian_noise(image: np.ndarray, amount: float, draw: _Draw) -> np.ndarray:
    return _grey(image + draw().standard_normal(image.shape, np.float32) * np.float32(255 * amount))


def _shot_noise(image: np.ndarray, amount: float, draw: _Draw) -> np.ndarray:
    return _grey(draw().poisson(image * (amount / 255)) * (255 / amount))


def _impulse_noise(image: np.ndarray, amount: float, draw: _Draw) -> np.ndarray:
    chance = draw().random(image.shape, np.float32)
    noisy = np.where(chance < amount / 2, np.uint8(0), image)
    return np.where(chance >= 1 - amount / 2, np.uint8(255), noisy)


def _defocus_blur(image: np.ndarray, amount: float, draw: _Draw) -> np.ndarray:
    return cv2.filter2D(image, -1, _disc(amount * min(image.shape)), borderType=_MIRRORED)


@functools.lru_cache(maxsize=64)
def _disc(radius: float) -> np.ndarray:
    """A disc of `radius` pixels, in each pixel the share of it that is covered: (k, k) float32 of sum 1."""
    reach = int(np.ceil(radius))
    side = 2 * reach + 1
    points = (np.arange(side * _SUPERSAMPLED) + 0.5) / _SUPERSAMPLED - side / 2
    covered = points[:, np.newaxis] ** 2 + points**2 <= radius**2
    kernel = covered.reshape(side, _SUPERSAMPLED, side, _SUPERSAMPLED).mean(axis=(1, 3))
    return (kernel / kernel.sum()).astype(np.float32)


def _motion_blur(image: np.ndarray, amount: float, draw: _Draw) -> np.ndarray:
    """Along a line at an angle that is drawn."""
    length, angle = amount * min(image.shape), draw().uniform(0, np.pi)
    reach = int(np.ceil(length / 2))
    side = 2 * reach + 2
    along = np.linspace(-length / 2, length / 2, _LINE_POINTS)
    x, y = along * np.cos(angle) + reach, along * np.sin(angle) + reach
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right_share, lower_share = x - left, y - top
    corner = top * side + left  # of the four pixels that a point lies between
    places = np.concatenate([corner, corner + 1, corner + side, corner + side + 1])
    upper, lower = (1 - lower_share), lower_share
    shares = [upper * (1 - right_share), upper * right_share, lower * (1 - right_share), lower * right_share]
    kernel = np.bincount(places, np.concatenate(shares), side * side).reshape(side, side)[:-1, :-1]
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=_MIRRORED)


def _brightness(image: np.ndarray, amount: float, draw: _Draw) -> np.ndarray:
    return cv2.LUT(image, _grey(_LEVELS + 255 * amount))


def _darkness(image: np.ndarray, amount: float, draw: _Draw) -> np.ndarray:
    return cv2.LUT(image, _grey(_LEVELS * amount))


def _contrast(image: np.ndarray, amount: float, draw: _Draw) -> np.ndarray:
    mean = image.mean()
    return cv2.LUT(image, _grey((_LEVELS - mean) * amount + mean))


def _jpeg(image: np.ndarray, amount: float, draw: _Draw) -> np.ndarray:
    encoded = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, int(amount)))[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE))


def _pixelation(image: np.ndarray, amount: float, draw: _Draw) -> np.ndarray:
    return _resampled(image, amount, cv2.INTER_NEAREST)


def _low_resolution(image: np.ndarray, amount: float, draw: _Draw) -> np.ndarray:
    return _resampled(image, amount, cv2.INTER_CUBIC)


def _resampled(image: np.ndarray, side: float, enlarging: int) -> np.ndarray:
    """Averaged down until its shorter side has `side` pixels, and back to its size; as it is if it has no more."""
    height, width = image.shape
    share = min(side / min(height, width), 1)
    size = max(1, round(share * width)), max(1, round(share * height))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=enlarging)


def _rotation(image: np.ndarray, amount: float, draw: _Draw) -> np.ndarray:
    """About the centre, to the side that is drawn."""
    height, width = image.shape
    angle = amount if draw().random() < 0.5 else -amount
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1)
    return cv2.warpAffine(image, matrix, (width, height), None, cv2.INTER_LINEAR, _MIRRORED)


def _occlusion(image: np.ndarray, amount: float, draw: _Draw) -> np.ndarray:
    """A rectangle of the image's proportions in one grey; its place and the grey are drawn."""
    height, width = image.shape
    rows, columns = max(1, round(np.sqrt(amount) * height)), max(1, round(np.sqrt(amount) * width))
    generator = draw()
    top, left = generator.integers(0, height - rows + 1), generator.integers(0, width - columns + 1)
    covered = image.copy()
    covered[top : top + rows, left : left + columns] = generator.integers(0, 256)
    return covered


CORRUPTIONS: dict[Kind, Corruption] = {
    "gaussian_noise": Corruption(
        "noise", _gaussian_noise, (0.03, 0.06, 0.09, 0.13, 0.18), "standard deviation, of white"
    ),
    "shot_noise": Corruption("noise", _shot_noise, (200, 80, 40, 20, 10), "photons a white pixel gets"),
    "impulse_noise": Corruption(
        "noise", _impulse_noise, (0.01, 0.03, 0.06, 0.1, 0.17), "share of pixels, black or white"
    ),
    "defocus_blur": Corruption("blur", _defocus_blur, (0.02, 0.03, 0.042, 0.056, 0.075), "radius, of the side"),
    "motion_blur": Corruption("blur", _motion_blur, (0.06, 0.1, 0.15, 0.21, 0.29), "length, of the side"),
    "brightness": Corruption("light", _brightness, (0.1, 0.2, 0.3, 0.4, 0.5), "added, of white"),
    "darkness": Corruption("light", _darkness, (0.7, 0.5, 0.35, 0.22, 0.12), "share of the light that is left"),
    "contrast": Corruption("light", _contrast, (0.7, 0.5, 0.35, 0.22, 0.12), "share of the contrast that is left"),
    "jpeg": Corruption("digital", _jpeg, (40, 25, 15, 10, 6), "quality, of 100"),
    "pixelation": Corruption("digital", _pixelation, (26, 22, 17, 13, 10), "blocks along the side"),
    "low_resolution": Corruption(
        "digital", _low_resolution, (29, 22, 16, 12, 9), "pixels along the side that are left"
    ),
    "rotation": Corruption("pose", _rotation, (6, 12, 18, 26, 36), "degrees, to either side"),
    "occlusion": Corruption("pose", _occlusion, (0.04, 0.08, 0.14, 0.2, 0.28), "share of the area that is covered"),
}
