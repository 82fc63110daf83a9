"""What a face shows over a while: calibrated probabilities of its frames, averaged so that answers don't jump.

The mean is that of the logarithms, the geometric one, weighted: after `time_constant_s` a frame counts e times less,
and the more a new frame disagrees with the mean, the more is forgotten at once, so that a new expression is seen within
a few frames. As the normaliser of a geometric mean is at most 1, its log loss is never above the mean of the frames'
log losses, weighted alike: while an expression lasts, smoothing costs no calibration, whatever the weights are.
`benchmarks/smoothing.py` chooses the constants and says what the answers are worth.
"""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

TIME_CONSTANT_S = 0.5
_FORGETTING = 4  # the power of the agreement, 0-1, that the frames before are multiplied by
_LEAST = np.finfo(np.float32).tiny  # a probability of 0 has no logarithm


@dataclasses.dataclass
class _Mean:
    """Weighted sums over a face's frames: of the logarithms, (classes,), and of the weights, up to `seen_s`."""

    logarithms: np.ndarray
    weight: float
    seen_s: float

    def probabilities(self) -> np.ndarray:
        averaged = self.logarithms / self.weight
        raised = np.exp(averaged - averaged.max())
        return np.asarray(raised / raised.sum())


class Smoother:
    """The means of several faces, by their numbers."""

    def __init__(self, time_constant_s: float = TIME_CONSTANT_S) -> None:
        self._time_constant_s = time_constant_s
        self._means: dict[int, _Mean] = {}

    def smoothed(self, number: int, probabilities: np.ndarray, time_s: float) -> np.ndarray:
        """(classes,) float32 that sum to 1: the mean over the face `number` with its (classes,) at `time_s` added.

        A time constant of 0 gives the frame's own.
        """
        own = np.maximum(np.asarray(probabilities, np.float64), _LEAST)
        mean = self._means.get(number)
        if mean is None or self._time_constant_s <= 0:
            mean = self._means[number] = _Mean(np.log(own), 1.0, time_s)
        else:
            # The Bhattacharyya coefficient: 1 for the same probabilities, 0 for none in common.
            agreement = min(1.0, float(np.sqrt(own / own.sum() * mean.probabilities()).sum()))
            kept = math.exp(-max(0.0, time_s - mean.seen_s) / self._time_constant_s) * agreement**_FORGETTING
            mean.logarithms = kept * mean.logarithms + np.log(own)
            mean.weight, mean.seen_s = kept * mean.weight + 1.0, time_s
        return mean.probabilities().astype(np.float32)

    def keep(self, numbers: Iterable[int]) -> None:
        """Forget all faces but these."""
        kept = set(numbers)
        self._means = {number: mean for number, mean in self._means.items() if number in kept}
