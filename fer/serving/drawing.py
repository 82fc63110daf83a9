"""Pictures with what was found in them: a box around each face, its emotion above."""

from collections.abc import Sequence

import cv2
import numpy as np

from fer.serving.results import Box, FaceResult

cv2.setNumThreads(0)  # as `fer.images.decode`, whose pixels these are

_SURE, _UNSURE, _INK = (80, 200, 80), (60, 180, 240), (0, 0, 0)  # BGR: green, amber, black
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_PX = 22  # of a capital letter of this font at scale 1
_TEXT_SHARE = 0.022  # of the picture's longer side: the height of a letter
_TEXT_OF_FACE = 0.2  # likewise of a face's box, at most
_LEAST_TEXT_PX, _MOST_TEXT_PX = 8, 60


def annotated(image: np.ndarray, faces: Sequence[FaceResult], names: Sequence[str] = ()) -> np.ndarray:
    """A copy of grey (H, W) or BGR (H, W, 3) uint8 with the faces drawn, as BGR (H, W, 3) uint8.

    Each has its box, and above it the label and its probability; of an unsure face the other classes of its set, with a
    question mark. What was taken whole is framed as a whole. `names` stand before the labels, such as "1: ".
    """
    drawn = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image.copy()
    height, width = drawn.shape[:2]
    text_px = min(max(_TEXT_SHARE * max(height, width), _LEAST_TEXT_PX), _MOST_TEXT_PX)
    thickness = max(1, round(text_px / 8))
    named = list(zip(faces, names or [""] * len(faces), strict=True))
    for face, name in reversed(named):  # the largest one's label is drawn last, over the others
        x, y, face_width, face_height = face.box or (0, 0, width, height)
        colour = _UNSURE if face.unsure or face.unlike else _SURE
        cv2.rectangle(drawn, (x, y), (x + face_width - 1, y + face_height - 1), colour, thickness, cv2.LINE_AA)
        for eye in face.eyes or ():
            cv2.circle(drawn, (round(eye[0]), round(eye[1])), thickness + 1, colour, cv2.FILLED, cv2.LINE_AA)
        fitting_px = min(text_px, max(_LEAST_TEXT_PX, _TEXT_OF_FACE * face_height))
        _write(drawn, name + words(face), (x, y, face_width, face_height), fitting_px, colour)
    return drawn


def words(face: FaceResult) -> str:
    """What stands above a face's box: "happy 0.91", "fear 0.44? surprise", "unlike the training: sad 0.35"."""
    said = f"{face.label} {face.probabilities[face.label]:.2f}"
    if face.unsure:
        said += "? " + " ".join(name for name in face.set or () if name != face.label)
    return f"unlike the training: {said}" if face.unlike else said.rstrip()


def _write(image: np.ndarray, text: str, box: Box, text_px: float, colour: tuple[int, int, int]) -> None:
    """Write `text` on a bar of `colour` on top of the box, or inside where there is no room above it."""
    text = "".join(letter if " " <= letter <= "~" else "?" for letter in text)  # all that the font has
    scale, thickness = text_px / _FONT_PX, max(1, round(text_px / 10))
    (width, height), below = cv2.getTextSize(text, _FONT, scale, thickness)
    bar, pad = height + 2 * below, below // 2
    left = min(max(0, box[0]), max(0, image.shape[1] - width - 2 * pad))
    top = box[1] - bar if box[1] >= bar else max(0, box[1])
    cv2.rectangle(image, (left, top), (left + width + 2 * pad, top + bar), colour, cv2.FILLED)
    cv2.putText(image, text, (left + pad, top + bar - below), _FONT, scale, _INK, thickness, cv2.LINE_AA)
