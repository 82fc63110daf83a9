"""What `explanations.json` holds: the record `Explanations`. No picture of a person is in it, nor beside it.

The mistakes are computed from the predictions Parquet alone.
"""

import numpy as np

from fer.curation import confident_learning
from fer.engine.records import Record
from fer.evaluation.predictions import Predictions


class ClassExplanation(Record):
    """Where the model looks for a class: `heat` is the mean of the Grad-CAM maps, each from 0 to 1, of `n_images` that
    it has right, as rows of places; `picture` the file that shows it on the mean of these images.

    Without both there is a reason, `why_not`.
    """

    name: str
    n_images: int
    heat: tuple[tuple[float, ...], ...] | None = None
    picture: str | None = None
    why_not: str = ""


class Mistake(Record):
    """An image that the model takes for another class than its label says, with the probabilities of both."""

    image_id: str
    label: str
    predicted: str
    label_probability: float
    predicted_probability: float


class Mistakes(Record):
    """Of `n` mistakes those listed: the most confident ones, and those whose label is in doubt, the least probable
    label first.

    Labels are doubted by confident learning on the model's probabilities of images that it was not trained on. Where a
    model is often wrong, many of them are right: they are for a person to look at.
    """

    n: int
    most_confident: tuple[Mistake, ...]
    n_labels_in_doubt: int
    labels_in_doubt: tuple[Mistake, ...]


class Explanations(Record):
    """Of one model on one split. `layer` is the one whose maps the heat is of; None if the model has no convolution."""

    split: str
    layer: str | None
    classes: tuple[ClassExplanation, ...]
    mistakes: Mistakes


def mistakes(rows: Predictions, listed: int) -> Mistakes:
    """The mistakes among predictions, at most `listed` of each kind."""
    labels, probabilities = rows.class_indexes, rows.probabilities.astype(np.float64)
    of_label = probabilities[np.arange(len(labels)), labels]
    of_predicted = probabilities.max(axis=1)
    wrong = np.flatnonzero(rows.predicted != labels)
    in_doubt = np.flatnonzero((rows.predicted != labels) & labels_in_doubt(labels, probabilities))

    def listing(places: np.ndarray, order: np.ndarray) -> tuple[Mistake, ...]:
        first = sorted(places.tolist(), key=lambda place: (order[place], rows.image_ids[place]))[:listed]
        return tuple(_mistake(rows, place, of_label[place], of_predicted[place]) for place in first)

    return Mistakes(
        n=len(wrong),
        most_confident=listing(wrong, -of_predicted),
        n_labels_in_doubt=len(in_doubt),
        labels_in_doubt=listing(in_doubt, of_label),
    )


def labels_in_doubt(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(N,) bool: the labels that confident learning doubts, by (N, classes) probabilities of a model that learned none
    of them. Classes without an image are left out.
    """
    present, places = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return np.zeros(len(labels), bool)
    shares = np.clip(probabilities[:, present], 1e-12, None)
    return confident_learning.doubted(places, shares / shares.sum(axis=1, keepdims=True))


def _mistake(rows: Predictions, place: int, of_label: float, of_predicted: float) -> Mistake:
    return Mistake(
        image_id=rows.image_ids[place],
        label=rows.classes[rows.class_indexes[place]],
        predicted=rows.classes[rows.predicted[place]],
        label_probability=float(of_label),
        predicted_probability=float(of_predicted),
    )


def right_by_class(rows: Predictions) -> list[list[str]]:
    """By class index the images that the model has right, of the split's de-duplicated version."""
    right = (rows.predicted == rows.class_indexes) & rows.is_clean
    return [
        [rows.image_ids[place] for place in np.flatnonzero(right & (rows.class_indexes == index))]
        for index in range(len(rows.classes))
    ]


def picture_names(n_classes: int) -> list[str]:
    """The file name of each class's picture: class names may hold what file names may not."""
    return [f"grad_cam_{index:03}.png" for index in range(n_classes)]
