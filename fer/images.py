"""Encoded bytes to grey pixels, and grey pixels to a model's input. Images are (H, W) uint8, 0-255, throughout."""

import cv2
import numpy as np

# Our own pools run one process a core; OpenCV's threads below them would fight for the same cores.
cv2.setNumThreads(0)


class UndecodableImage(ValueError):
    """Bytes that are no image; the message is the reason, fit for a report."""


def decode(data: bytes) -> np.ndarray:
    """Decode an encoded image (JPEG, PNG, BMP, PGM, ...) to grey (H, W) uint8, turned as its EXIF says.

    Raises UndecodableImage.
    """
    if not data:
        raise UndecodableImage("the file is empty")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error as error:  # e.g. more pixels than OpenCV accepts
        raise UndecodableImage(f"the decoder refused it ({error.err})") from error
    if image is None:
        raise UndecodableImage("not an image that can be decoded")
    return image


def encode_png(image: np.ndarray) -> bytes:
    """Encode a grey (H, W) or colour (H, W, 3) BGR uint8 image as PNG."""
    return cv2.imencode(".png", image)[1].tobytes()


def prepare(image: np.ndarray, height: int, width: int, blur_kernel: int, blur_sigma: float) -> np.ndarray:
    """Resize grey (H, W) uint8 to (height, width) uint8, then Gaussian blur with an odd kernel (0: none).

    Shrinking averages areas, enlarging interpolates linearly.
    """
    if image.shape != (height, width):
        shrinks = image.shape[0] >= height and image.shape[1] >= width
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if blur_kernel:
        image = cv2.GaussianBlur(image, (blur_kernel, blur_kernel), blur_sigma)
    return image
