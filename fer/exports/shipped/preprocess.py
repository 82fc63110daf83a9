"""How images become the input of the models beside this file, and what their answers mean: NumPy and OpenCV alone.

grey = decode(Path("photo.jpg").read_bytes())  # or frame(grey, ...): one face of it
answers = calibrated(onnxruntime.InferenceSession("model.onnx").run(None, {"pixels": prepare([grey])})[0])
"""

import json
import math
from pathlib import Path

import cv2
import numpy as np

SERVING = json.loads(Path(__file__).with_name("serving.json").read_bytes())
INPUT, FACE = SERVING["preprocessing"], SERVING["face"]


def decode(data: bytes) -> np.ndarray | None:
    """(H, W) uint8 of a JPEG, PNG, BMP or WebP of 8 bits, not transparent; None of what is none."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)


def frame(grey: np.ndarray, centre: tuple, side: float, left_eye: tuple, right_eye: tuple) -> np.ndarray:
    """A face as in training, by the `centre` (x, y) and longer `side` of its box, and the eyes on either side."""
    around = side * FACE["frame_side"]
    x, y = (at - around / 2 + around / 2 for at in (centre[0], centre[1] - FACE["frame_raised"] * side))  # as rounded
    px = max(1, min(round(around * (1 + 2 * FACE["margin"])), *grey.shape))
    left, top = (min(max(round(at - px / 2), 0), most - px) for at, most in zip((x, y), grey.shape[::-1], strict=True))
    dx, dy = np.subtract(right_eye, left_eye)
    angle = math.degrees(math.atan2(dy, dx))
    if FACE["mode"] != "align" or not angle or math.hypot(dx, dy) < 0.2 * side or abs(angle) > 45:
        return grey[top : top + px, left : left + px].copy()
    turn = cv2.getRotationMatrix2D((left + px / 2 - 0.5, top + px / 2 - 0.5), angle, 1.0)
    turn[:, 2] -= (left, top)
    return cv2.warpAffine(grey, turn, (px, px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def prepare(images: list[np.ndarray]) -> np.ndarray:
    """The models' input, (N, height, width, 1) float32, of N grey images (H, W) uint8 of any size."""
    width, height = size = (INPUT["width"], INPUT["height"])
    pixels = np.empty((len(images), height, width, 1), np.float32)
    for place, grey in zip(pixels, images, strict=True):
        if grey.shape != size[::-1]:
            shrinks = grey.shape[0] >= height and grey.shape[1] >= width
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        if INPUT["contrast"] == "equalise":
            grey = cv2.equalizeHist(grey)
        elif INPUT["contrast"] == "clahe":
            grey = cv2.createCLAHE(2.0, [min(8, max(1, side // 24)) for side in size]).apply(grey)
        if INPUT["blur_kernel"]:
            grey = cv2.GaussianBlur(grey, (INPUT["blur_kernel"],) * 2, INPUT["blur_sigma"])
        place[..., 0] = grey
    return pixels


def calibrated(probabilities: np.ndarray) -> np.ndarray:
    """(N, classes) float64 of the (N, classes) that a model gives; the order of an image's classes stays."""
    logarithms = np.log(np.maximum(np.float64(probabilities), np.finfo(np.float32).tiny)) / SERVING["temperature"]
    raised = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
