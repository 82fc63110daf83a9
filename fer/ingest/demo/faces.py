"""Grey faces that the project draws itself.

Identity, light, pose, blur and noise vary; `expressions` says what the emotion moves. Points are (x, y) in units of
half the head's height: x to the viewer's right, y down, (0, 0) between the eyes and the tip of the nose.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np

from fer.ingest.demo import expressions

SIZE_PX = 48
CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")

_SCALE = 3  # drawn at 144 px and averaged down: edges finer than a pixel
_CANVAS = SIZE_PX * _SCALE
_BITS = 4  # OpenCV's fixed-point fraction


def draw(label: str, rng: np.random.Generator) -> np.ndarray:
    """Draw one face of the emotion `label`, one of CLASSES, as (48, 48) uint8."""
    return _Light(rng).expose(_Face(_Pose(rng), expressions.effects(label, rng), rng), rng)


# What stays the same in a person -> its range. Lengths in face units, greys 0-255, the rest shares.
_IDENTITY: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "skin": (95, 205), "lip": (0.60, 0.82), "iris": (20, 90), "crease": (0.4, 1.0),
        "width": (0.68, 0.80), "jaw": (0.72, 0.95), "chin": (0.25, 0.42), "hairline": (-0.80, -0.60),
        "eye_x": (0.28, 0.34), "eye_y": (-0.18, -0.10), "eye_width": (0.135, 0.175), "eye_open": (0.055, 0.08),
        "eye_tilt": (-0.02, 0.03), "brow_y": (-0.21, -0.16), "brow_thickness": (0.03, 0.075),
        "nose_width": (0.10, 0.15), "nose_y": (0.17, 0.24),
        "mouth_y": (0.50, 0.57), "mouth_width": (0.23, 0.30), "lip_thickness": (0.04, 0.08),
    }
)  # fmt: skip


class _Pose:
    """Turns points on an ellipsoid by yaw, pitch and roll (radians), and projects them onto the canvas."""

    def __init__(self, rng: np.random.Generator):
        yaw = min(0.3, max(-0.3, rng.normal(0, 0.12)))
        pitch = min(0.15, max(-0.15, rng.normal(0, 0.06)))
        roll = rng.normal(0, 0.07)
        self.scale = rng.uniform(0.96, 1.14) * 0.485  # canvases in a face unit
        self.centre = rng.normal(0, 0.02, 2) + 0.5
        cos, sin = math.cos(yaw), math.sin(yaw)
        yawed = np.array([(cos, 0, -sin), (0, 1, 0), (sin, 0, cos)])  # rows: where x, y and z go
        cos, sin = math.cos(pitch), math.sin(pitch)
        pitched = np.array([(1, 0, 0), (0, cos, -sin), (0, sin, cos)])
        cos, sin = math.cos(roll), math.sin(roll)
        rolled = np.array([(cos, sin), (-sin, cos), (0, 0)])
        self._turn = yawed @ pitched @ rolled * self.scale * _CANVAS  # (3, 2)

    def project(self, points: np.ndarray, on_face: np.ndarray) -> np.ndarray:
        """(n, 2) face units -> (n, 2) canvas pixels; `on_face` (n,) 1.0, or 0.0 in the plane of the head's outline."""
        x, y = points[:, 0] / 0.9, points[:, 1] / 1.2
        depth = on_face * 0.75 * np.sqrt(np.maximum(0.0, 1.0 - (x * x + y * y)))
        return points @ self._turn[:2] + self.centre * _CANVAS + depth[:, None] * self._turn[2]

    def px(self, length: float) -> int:
        """A line's thickness in canvas pixels."""
        return max(1, round(length * self.scale * _CANVAS))


class _Light:
    """A lamp and some ambient light, then the camera with its exposure, blur and noise."""

    def __init__(self, rng: np.random.Generator):
        lamp = np.array([rng.normal(0, 0.6), rng.normal(-0.35, 0.35), 0.8])
        self.lamp = lamp / np.linalg.norm(lamp)
        self.ambient, self.gain, self.gamma = rng.uniform(0.45, 0.85), rng.uniform(0.85, 1.15), rng.uniform(0.7, 1.1)
        self.blur_px, self.noise = rng.uniform(0.0, 0.7), rng.uniform(1.0, 4.5)

    def expose(self, face: "_Face", rng: np.random.Generator) -> np.ndarray:
        """A painted face's layers -> (48, 48) uint8."""
        layers = (face.albedo, cv2.GaussianBlur(face.relief, (0, 0), 1.6), face.mask)
        image, relief, person = (
            cv2.resize(layer, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA).astype(np.float32) for layer in layers
        )
        centre, unit_px = face.pose.centre * SIZE_PX, face.pose.scale * SIZE_PX
        x = (np.arange(SIZE_PX) - centre[0]) / (unit_px * 0.86)
        y = ((np.arange(SIZE_PX) - centre[1]) / (unit_px * 1.12))[:, None]
        z = np.sqrt(np.maximum(0.12, 1.0 - x**2 - y**2))  # normals of a sphere stretched over the head
        lit = np.maximum(0.0, x * self.lamp[0] + y * self.lamp[1] + z * self.lamp[2])
        shade = (self.ambient + (1.15 - self.ambient) * lit) * (relief / 128.0)
        image = image * (1.0 + (person / 255.0) * (shade - 1.0))
        image = 255.0 * np.clip(image * self.gain / 255.0, 0.0, 1.0) ** self.gamma
        if self.blur_px > 0.2:
            image = cv2.GaussianBlur(image, (0, 0), self.blur_px)
        image += rng.normal(0, self.noise, image.shape)
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)


class _Stroke(NamedTuple):
    """A polygon of `points`, (n, 2) face units, on a layer: filled, or its line of a `width`.

    One that is `flat` lies in the plane of the head's outline and is part of the person, any other on the face.
    """

    layer: np.ndarray
    points: np.ndarray
    grey: float
    width: float | None = None
    closed: bool = False
    flat: bool = False


class _Face:
    """Paints one face in three layers: albedo, relief (creases and bulges), and the mask of the person."""

    def __init__(self, pose: _Pose, moved: dict[str, float], rng: np.random.Generator):
        self.pose, self.moved, self.rng = pose, moved, rng
        self.who = {name: rng.uniform(low, high) for name, (low, high) in _IDENTITY.items()}
        self.hair = rng.uniform(*rng.choice([(15, 60), (60, 120), (150, 215)], p=[0.6, 0.25, 0.15]))
        self.style = str(rng.choice(["long", "short", "bald"], p=[0.42, 0.48, 0.10]))
        self.beard = rng.uniform(0.15, 0.5) if self.style != "long" and rng.random() < 0.35 else 0.0
        self.glasses = str(rng.choice(["none", "round", "square"], p=[0.8, 0.1, 0.1]))
        coarse = (rng.uniform(30, 220) + rng.normal(0, 22, (3, 3))).astype(np.float32)
        smooth = cv2.resize(coarse, (_CANVAS, _CANVAS), interpolation=cv2.INTER_CUBIC)
        self.gaze = rng.normal(0, (0.02, 0.008))
        self.albedo = np.clip(smooth, 0, 255).astype(np.uint8)
        self.relief = np.full((_CANVAS, _CANVAS), 128, np.uint8)
        self.mask = np.zeros((_CANVAS, _CANVAS), np.uint8)
        self.strokes: list[_Stroke] = []

        self._head()
        self._creases()
        self._nose()
        self._mouth()
        for side in (-1, 1):
            self._eye(side)
            self._brow(side)
        self._fringe()
        self._glasses()
        self._paint()

    def _paint(self) -> None:
        """Make all strokes in their order. They are projected at once: one by one that took most of a face's time."""
        points = [stroke.points for stroke in self.strokes]
        lengths = [len(of_stroke) for of_stroke in points]
        on_face = np.repeat([float(not stroke.flat) for stroke in self.strokes], lengths)
        projected = self.pose.project(np.concatenate(points), on_face)
        fixed = np.rint(projected * (1 << _BITS)).astype(np.int32)  # what OpenCV's polygon functions take
        end = 0
        for stroke, length in zip(self.strokes, lengths, strict=True):
            start, end = end, end + length
            polygon = [fixed[start:end]]
            if stroke.width is None:
                cv2.fillPoly(stroke.layer, polygon, stroke.grey, cv2.LINE_AA, _BITS)
            else:
                thickness = self.pose.px(stroke.width)
                cv2.polylines(stroke.layer, polygon, stroke.closed, stroke.grey, thickness, cv2.LINE_AA, _BITS)
            if stroke.flat:
                cv2.fillPoly(self.mask, polygon, 255, cv2.LINE_AA, _BITS)

    def _fill(self, points: np.ndarray, grey: float) -> None:
        self.strokes.append(_Stroke(self.albedo, points, grey))

    def _line(self, points: np.ndarray, grey: float, width: float, closed: bool = False) -> None:
        self.strokes.append(_Stroke(self.albedo, points, grey, width, closed))

    def _body(self, points: np.ndarray, grey: float) -> None:
        """Fill in the plane of the head's outline; lit as part of the person."""
        self.strokes.append(_Stroke(self.albedo, points, grey, flat=True))

    def _crease(self, points: np.ndarray, depth: float, width: float) -> None:
        """A soft line in the relief: dark, or bright for a negative depth."""
        if abs(depth) > 0.03:
            grey = 128 * (1 - 0.7 * min(depth, 1.2))
            self.strokes.append(_Stroke(self.relief, points, grey, width))

    def _patch(self, points: np.ndarray, depth: float) -> None:
        self.strokes.append(_Stroke(self.relief, points, 128 * (1 - 0.7 * depth)))

    def _outline(self) -> np.ndarray:
        width, jaw, drop = self.who["width"], self.who["jaw"], self.moved["jaw"]
        half = _points(0, -1.05, 0.45, -0.95, width * 0.97, -0.5, width, -0.05, width * (0.6 + 0.4 * jaw), 0.35)
        chin = _points(width * jaw * 0.88, 0.66 + drop / 2, self.who["chin"], 0.93 + drop, 0, 1 + drop)
        half = np.concatenate([half, chin])
        return _spline(np.concatenate([half, (half * (-1, 1))[-2:0:-1]]))

    def _head(self) -> None:
        width, skin = self.who["width"], self.who["skin"]
        if self.style == "long":
            sway = self.rng.uniform(0.0, 0.2)
            half = _points(0.0, -1.18, 0.55, -1.05, width + 0.12, -0.55, width + 0.14, 0.1, width + 0.1 + sway, 1.4)
            self._body(_spline(np.concatenate([half, (half * (-1, 1))[:0:-1]])), self.hair * 0.8)
        self._body(_points(-0.4, 0.5, 0.4, 0.5, 0.45, 1.5, -0.45, 1.5), skin * 0.7)
        self._body(_points(-1.6, 1.3, -0.42, 1.1, 0, 1.3, 0.42, 1.1, 1.6, 1.3, 0, 2.5), self.rng.uniform(20, 230))
        if self.style != "long":
            for side in (-1, 1):
                self._body(_ellipse(side * (width + 0.02), -0.02, 0.07, 0.17), skin * 0.85)
        outline = self._outline()
        self._body(outline, skin)
        if self.beard:
            low = outline[outline[:, 1] > 0.3]  # from right to left along the jaw
            x = np.linspace(-0.95, 0.95, 9) * width * 0.9
            cheek = np.stack([x, 0.34 + 0.1 * np.cos(x * 7)], axis=1)
            self._body(np.concatenate([cheek, low]), skin * (1 - self.beard) + self.hair * self.beard)

    def _creases(self) -> None:
        who, moved, deep = self.who, self.moved, self.who["crease"]
        eye_y = who["eye_y"]
        for side in (-1, 1):
            mirror = np.array([side, 1.0])
            self._patch(_ellipse(side * who["eye_x"], eye_y - 0.03, 0.2, 0.12), 0.16)  # socket
            self._patch(_ellipse(side * 0.4, 0.2 - 0.04 * moved["cheek"], 0.17, 0.11), -0.10 - 0.14 * moved["cheek"])
            corner = np.array([0.27 + moved["corner_x"], who["mouth_y"] + moved["corner_y"]])
            fold = _points(0.16, who["nose_y"] - 0.05, 0.25, who["nose_y"] + 0.07, corner[0] + 0.07, corner[1] - 0.02)
            self._crease(fold * mirror, deep * (0.12 + 0.6 * moved["fold"]), 0.05)
            bag = _points(-0.13, 0.10, 0.0, 0.13, 0.14, 0.09) + np.array([who["eye_x"], eye_y])
            self._crease(bag * mirror, deep * (0.12 + 0.35 * moved["cheek"]), 0.03)
            for spread in (-0.05, 0.03):  # crow's feet
                start = who["eye_x"] + 0.19
                feet = _points(start, eye_y + spread / 2, start + 0.1, eye_y + spread * 2)
                self._crease(feet * mirror, deep * 0.45 * moved["cheek"], 0.025)
            self._crease(_points(0.05, -0.26, 0.045, -0.14) * mirror, deep * 0.8 * moved["furrow"], 0.03)
            for height in (-0.08, -0.02):  # bunny lines beside the nose
                line = _points(0.03, height - 0.03, 0.10, height, 0.16, height + 0.07)
                self._crease(line * mirror, 0.9 * moved["wrinkle"], 0.03)
        for height in (-0.62, -0.53, -0.44):
            brow_line = _points(-0.32, height + 0.03, -0.12, height, 0.12, height, 0.32, height + 0.03)
            self._crease(brow_line, deep * 0.55 * moved["lines"], 0.028)
        self._crease(_points(-0.06, -0.13, 0.06, -0.13), 0.9 * moved["wrinkle"], 0.03)
        chin = _points(-0.12, 0.75, 0, 0.725, 0.12, 0.75) + np.array([0.0, moved["jaw"]])
        self._crease(chin, 0.3 + 0.4 * moved["boss"], 0.05)
        self._patch(_ellipse(0, 0.85 + moved["jaw"], 0.13, 0.08), -0.08 - 0.2 * moved["boss"])

    def _nose(self) -> None:
        width, skin = self.who["nose_width"], self.who["skin"]
        y = self.who["nose_y"] + self.moved["nose"]
        flare = width * (1 + 0.15 * self.moved["wrinkle"])
        self._crease(_points(0, -0.15, 0, y - 0.06), -0.22, 0.06)
        for side in (-1, 1):
            mirror = np.array([side, 1.0])
            self._crease(_points(0.075, -0.12, 0.06, 0.0, flare * 0.8, y - 0.08) * mirror, 0.28, 0.05)
            self._line(_points(flare * 0.95, y - 0.08, flare, y - 0.02, flare * 0.7, y) * mirror, skin * 0.62, 0.022)
            self._fill(_ellipse(side * flare * 0.5, y + 0.005, flare * 0.27, 0.022), skin * 0.3)
        self._crease(_points(-flare * 0.5, y + 0.05, flare * 0.5, y + 0.05), 0.3, 0.04)

    def _mouth(self) -> None:
        who, moved = self.who, self.moved
        t = np.linspace(-1, 1, 15)
        bow = 1 - t**2
        x = t * max(0.12, who["mouth_width"] + moved["corner_x"])
        line = who["mouth_y"] + moved["mouth"] + moved["corner_y"] * (np.abs(t) ** 1.6 - 0.35)
        lifted = min(0.0, moved["upper_lip"])
        opening = max(0.0, moved["gap"] + moved["lower_lip"] - 0.5 * lifted - 0.02)
        upper = line + (lifted * 0.9 - 0.2 * opening) * bow**0.8
        lower = upper + opening * bow**0.6
        lips = max(0.015, who["lip_thickness"] * (1 + moved["thick"]))
        top = upper - lips * 0.8 * bow**0.7 * (1 - 0.3 * np.exp(-((t / 0.2) ** 2)))
        bottom = lower + lips * bow**0.7
        lip = who["skin"] * who["lip"]
        self._fill(_band(x, top, bottom), lip)
        if opening > 0.02:
            self._fill(_band(x, upper, lower), 28)
            teeth = min(1.0, max(0.0, moved["teeth"])) * min(0.08, 0.8 * opening)
            if teeth > 0.015:
                inner = slice(1, -1)
                self._fill(_band(x[inner], upper[inner], upper[inner] + teeth * bow[inner] ** 0.4), 225)
            self._line(np.stack([x, lower], axis=1), lip * 0.75, 0.012)
        self._line(np.stack([x, upper], axis=1), lip * 0.45, 0.02)
        for side in (0, -1):  # the corners' dimples
            end = np.array([x[side], upper[side]])
            self._crease(np.stack([end, end * (1.08, 1.0) + (0, moved["corner_y"] * 0.25)]), 0.5, 0.035)
        self._crease(np.stack([x[4:-4], bottom[4:-4] + 0.035], axis=1), 0.25, 0.04)

    def _eye(self, side: int) -> None:
        who, moved = self.who, self.moved
        t = np.linspace(-1, 1, 13)  # from the nose outwards
        away = who["eye_x"] + t * who["eye_width"]
        middle = who["eye_y"] - who["eye_tilt"] * t
        slant = 1 - 0.25 * t * (moved["brow_inner"] < -0.05)  # a raised inner brow takes the lid's inner end along
        upper = middle - max(0.012, who["eye_open"] + moved["eye_upper"]) * (1 - np.abs(t) ** 2.2) * slant
        lower = middle + max(0.006, who["eye_open"] * 0.65 + moved["eye_lower"]) * (1 - np.abs(t) ** 2.4)
        self._fill(_band(side * away, upper, lower), min(235.0, 175 + 0.25 * who["skin"]))
        for radius, grey in ((0.07, who["iris"]), (0.035, 8.0)):
            ball = _ellipse(who["eye_x"] + side * self.gaze[0], who["eye_y"] - 0.01 + self.gaze[1], radius, radius)
            seen = np.clip(ball[:, 1], np.interp(ball[:, 0], away, upper), np.interp(ball[:, 0], away, lower))
            self._fill(np.stack([side * ball[:, 0], seen], axis=1), grey)
        x = side * away
        self._line(np.stack([x, upper], axis=1), min(45.0, who["skin"] * 0.3), 0.03)
        self._line(np.stack([x, lower], axis=1), who["skin"] * 0.6, 0.014)
        lid = upper - 0.035 - 0.3 * max(0.0, moved["eye_upper"])
        self._crease(np.stack([x[1:-1], lid[1:-1]], axis=1), 0.35, 0.02)

    def _brow(self, side: int) -> None:
        who, moved = self.who, self.moved
        base = who["eye_y"] + who["brow_y"]
        x = side * np.array([0.125 + moved["brow_gap"] * 0.8, who["eye_x"] + 0.02, who["eye_x"] + 0.2])
        y = base + np.array([0.01 + moved["brow_inner"], -0.035 + moved["brow_mid"], 0.02 + moved["brow_outer"]])
        t = np.linspace(0, 2, 9)
        weights = np.stack([(t - 1) * (t - 2), -2 * t * (t - 2), t * (t - 1)], axis=1) / 2  # Lagrange's, through all 3
        half = who["brow_thickness"] * np.linspace(0.6, 0.2, 9)
        curve_x, curve_y = weights @ x, np.minimum(weights @ y, who["eye_y"] - 0.05)
        self._fill(_band(curve_x, curve_y - half, curve_y + half), min(self.hair, who["skin"] * 0.6))

    def _fringe(self) -> None:
        if self.style == "bald":
            return
        t = np.linspace(-1, 1, 21)
        width, high = self.who["width"] + 0.04, self.who["hairline"]
        low, bend = (0.0, 6) if self.style == "short" else (0.55, 4)  # where the temples end, how round the line is
        parting = self.rng.uniform(-0.6, 0.6)
        line = high + (low - high) * np.abs(t) ** bend + 0.12 * np.minimum(1, np.abs(t - parting) * 2)
        skull = -1.15 * np.sqrt(np.maximum(0.0, 1 - 0.85 * t**2)) - 0.02
        self._body(_band(t * width, np.minimum(skull, line), line), self.hair)
        for start in np.linspace(-0.85, 0.85, 7):  # strands
            strand = _points((start + parting) * 0.5 * width, -1.05, start * width * 1.15, high - 0.08)
            self._crease(strand, self.rng.uniform(-0.35, 0.35), 0.05)
        if self.style == "long":
            for x in (0.06, 0.12):
                for side in (-1, 1):
                    strand = _points(width * 0.9 + x, -0.6, width + x, 0.0, width + x * 1.3, 0.9) * (side, 1)
                    self._crease(strand, self.rng.uniform(-0.4, 0.4), 0.04)

    def _glasses(self) -> None:
        if self.glasses == "none":
            return
        x, y, grey = self.who["eye_x"] + 0.01, self.who["eye_y"] + 0.02, 25.0
        for side in (-1, 1):
            if self.glasses == "round":
                rim = _ellipse(side * x, y, 0.2, 0.17)
            else:
                rim = _points(-0.21, -0.12, 0.21, -0.12, 0.18, 0.15, -0.18, 0.15) + np.array([side * x, y])
            self._line(rim, grey, 0.028, closed=True)
            self._line(_points(side * (x + 0.2), y - 0.04, side * self.who["width"], y - 0.06), grey, 0.025)
        self._line(_points(0.2 - x, y - 0.03, x - 0.2, y - 0.03), grey, 0.028)


def _points(*values: float) -> np.ndarray:
    """x, y, x, y, ... -> (n, 2)."""
    return np.array(values, dtype=np.float64).reshape(-1, 2)


def _band(x: np.ndarray, top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """The polygon between two curves over the same x."""
    return np.concatenate([np.stack([x, top], axis=1), np.stack([x, bottom], axis=1)[::-1]])


_TURN = np.linspace(0, 2 * np.pi, 16, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


def _ellipse(x: float, y: float, half_width: float, half_height: float) -> np.ndarray:
    return _CIRCLE * (half_width, half_height) + (x, y)


def _spline(points: np.ndarray) -> np.ndarray:
    """A closed Catmull-Rom spline through (n, 2) points, 5 samples a segment."""
    t = np.linspace(0, 1, 5, endpoint=False)[:, None, None]
    a, b, c, d = (np.roll(points, shift, axis=0) for shift in (1, 0, -1, -2))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return curve.transpose(1, 0, 2).reshape(-1, 2)
