"""Whether answers averaged over a moment of video are better than those of single frames, and over how long a moment.

A release is asked about drawn faces that it never saw, filmed as by an unsteady hand: moved, zoomed, lit otherwise and
noisy in each frame; after about two seconds, as long as expressions last, comes another one. On one half of the films
the time constant of least log loss is looked for, the other half tells what the default one is worth: with expressions
that last, and with those that change. FER_BENCH_RELEASE names a release's folder; without it the champion is asked.
"""

import os
from collections.abc import Iterator

import cv2
import numpy as np

from benchmarks import Row
from fer.ingest.demo import faces as demo_faces
from fer.serving.predictor import Predictor
from fer.serving.smoothing import TIME_CONSTANT_S, Smoother
from fer.shards import preprocessing

_FPS = 25
_FILMS = 60  # of either half
_LASTS_S = (1.2, 3.0)
_EXPRESSIONS = 3  # a film
_TIME_CONSTANTS_S = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)


def run() -> Iterator[Row]:
    folder = os.environ.get("FER_BENCH_RELEASE")
    predictor = Predictor.from_folder(folder) if folder else Predictor.from_release()
    validation, test = ([_Film(predictor, seed) for seed in range(start, start + _FILMS)] for start in (0, 10_000))
    losses = {seconds: float(np.mean([film.losses(seconds) for film in validation])) for seconds in _TIME_CONSTANTS_S}
    for seconds, loss in losses.items():
        yield Row(f"validation: log loss at {seconds:g} s; reference: single frames", loss, "", losses[0.0])
    best = min(losses, key=losses.__getitem__)
    at_default = float(np.mean([film.losses(TIME_CONSTANT_S) for film in validation]))
    yield Row("validation: log loss at the default; reference: at the best", at_default, "", losses[best], at_most=1.02)
    for what, of_film in (("changing", _Film.all), ("lasting", _Film.first)):
        smoothed, single = ([of_film(film, seconds) for film in test] for seconds in (TIME_CONSTANT_S, 0.0))
        for measure, index, bound in (("accuracy", 0, {"at_least": 1.0}), ("log loss", 1, {"at_most": 1.0})):
            figures = [float(np.mean([film[index] for film in films])) for films in (smoothed, single)]
            yield Row(f"test, {what} expressions: {measure}; reference: single frames", figures[0], "", figures[1],
                      **bound)  # fmt: skip
    changes = [float(np.mean([film.jumps(seconds) for film in test])) for seconds in (TIME_CONSTANT_S, 0.0)]
    yield Row("test: changes of the answer a second; reference: single frames", changes[0], "", changes[1], at_most=0.5)


class _Film:
    """One film: the class index of each frame, and what the release says of it alone."""

    def __init__(self, predictor: Predictor, seed: int):
        draw = np.random.default_rng(seed)
        known = [name for name in demo_faces.CLASSES if name in predictor.classes]
        pictures, truth = [], []
        for name in draw.choice(known, _EXPRESSIONS, replace=False):
            n_frames = round(_FPS * draw.uniform(*_LASTS_S))
            pictures += _filmed(demo_faces.draw(str(name), draw), n_frames, draw)
            truth += [predictor.classes.index(str(name))] * n_frames
            self.first_ends = n_frames if not truth[:-n_frames] else self.first_ends
        prepared = [preprocessing.prepare_pixels(picture, predictor.config) for picture in pictures]
        self.truth = np.array(truth)
        self.single = predictor.calibrated(predictor.raw(np.stack(prepared)))

    def smoothed(self, seconds: float) -> np.ndarray:
        smoother = Smoother(seconds)
        return np.stack([smoother.smoothed(1, row, index / _FPS) for index, row in enumerate(self.single)])

    def losses(self, seconds: float) -> float:
        return self.all(seconds)[1]

    def all(self, seconds: float) -> tuple[float, float]:
        """The accuracy and the log loss over all of the film."""
        return _scores(self.smoothed(seconds), self.truth)

    def first(self, seconds: float) -> tuple[float, float]:
        """The same while the first expression lasts."""
        return _scores(self.smoothed(seconds)[: self.first_ends], self.truth[: self.first_ends])

    def jumps(self, seconds: float) -> float:
        answers = self.smoothed(seconds).argmax(axis=1)
        return float((answers[1:] != answers[:-1]).sum() / (len(answers) / _FPS))


def _scores(probabilities: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    of_truth = probabilities[np.arange(len(truth)), truth]
    return float((probabilities.argmax(axis=1) == truth).mean()), float(-np.log(np.maximum(of_truth, 1e-30)).mean())


def _filmed(face: np.ndarray, n_frames: int, draw: np.random.Generator) -> list[np.ndarray]:
    """Frames of one (48, 48) uint8 face: light and place drift, and the box that is cut out trembles."""
    drift = np.zeros(5)
    frames = []
    for _ in range(n_frames):
        drift = 0.92 * drift + draw.normal(0, 0.4, 5)
        right, down, zoom, light, turn = drift + draw.normal(0, 0.5, 5)
        matrix = cv2.getRotationMatrix2D((23.5, 23.5), 2 * turn, 1 + 0.03 * zoom)
        matrix[:, 2] += (right, down)
        moved = cv2.warpAffine(face, matrix, face.shape[::-1], None, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        noisy = moved * (1 + 0.06 * light) + draw.normal(0, 5, moved.shape)
        frames.append(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    return frames
