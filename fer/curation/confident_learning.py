"""Labels in doubt: confident learning on out-of-fold predictions of a small, quick model of the thumbnails.

The model: responses of patches of the images themselves, whitened, pooled over a 4x4 grid, then ridge regression with
its scores calibrated (A. Coates, A. Ng, H. Lee, An analysis of single-layer networks in unsupervised feature learning,
AISTATS 2011; patches drawn at random serve here as well as clustered ones). A face and its mirror image are the same to
it. On FER2013 it is right out of fold in 51 % of cases, after 5 s on 2 cores; duplicates are always in one fold.

The method: C. Northcutt, L. Jiang, I. Chuang, Confident learning, JAIR 70 (2021), as cleanlab does it.
"""

import concurrent.futures
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_contracts.manifest import THUMBNAIL_SIDE
from fer.engine.processes import process_pool
from fer.progress import Progress, silent

_PATCH, _STEP, _GRID = 8, 2, 4  # pixels, pixels, cells per side
_PLACES = (THUMBNAIL_SIDE - _PATCH) // _STEP // _GRID * _GRID  # of a patch along a side
_MARGIN = (THUMBNAIL_SIDE - _PATCH - _STEP * (_PLACES - 1)) // 2
_FILTERS = 48  # and as many mirrored: with 64 it is right in 1 % more cases, and takes a third longer
_FLAT = 10.0  # variance of grey levels below which a patch's contrast counts for less
_LEVELS = 127  # of a quantised feature: products of 1,024 images then add up exactly in float32
_EXACT_ROWS = 1_024
_AT_ONCE = 100  # images
_SAMPLE = 2_000  # images that filters are drawn from and features are scaled by
_RIDGE = 0.02  # of the features' mean variance
_DECIMALS = 4
_NO_FOLD = -1


@dataclass(frozen=True)
class Doubts:
    """Per image, (n,): the likeliest class (int64), the probability of its label (float32), and whether that is wrong
    (bool).
    """

    suggested: np.ndarray
    quality: np.ndarray
    is_error: np.ndarray


def find(
    thumbnails: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str],
    *,
    learned: np.ndarray | None = None,
    folds: int,
    max_share: float,
    seed: int,
    progress: Progress = silent,
) -> Doubts | None:
    """The labels in doubt of `thumbnails`, (n, pixels) uint8, of the classes `labels`, (n,) integers from 0 on.

    The model learns from the images `learned`, (n,) bool, alone, or from all; its predictions of them are out of fold.
    The others change nothing of that: their labels are only compared with the model.

    A label is called wrong where confident learning says so and its own probability is at most `max_share` of the mean
    of its class. With a model that is often wrong itself confident learning alone doubts a third of FER2013's labels,
    and a bound that is the same for all classes doubts most of those of a small class.
    Images of one of the `groups` are in one fold. None where a class is in fewer groups than there are folds, or where
    there is one class only: too little to learn from.
    Sums over images are exact, and probabilities are rounded to 4 decimals before anything is decided by them, so that
    the number of cores changes nothing; other builds of BLAS may tip a few last digits.
    """
    import scipy.linalg  # noqa: F401 - the limit below holds for libraries that are loaded: this one's BLAS
    import sklearn.linear_model  # noqa: F401 - and those that this one loads
    import threadpoolctl

    is_learned = np.ones(len(labels), bool) if learned is None else learned
    classes, labels = np.unique(labels, return_inverse=True)
    to_learn = np.flatnonzero(is_learned)
    folds_learned = None
    if len(classes) > 1 and len(np.unique(labels[to_learn])) == len(classes):
        folds_learned = _folds(labels[to_learn], [groups[at] for at in to_learn.tolist()], folds, seed)
    if folds_learned is None:
        return None
    fold_of = np.full(len(labels), _NO_FOLD)
    fold_of[to_learn] = folds_learned
    # Threads of ours, one per core: those of BLAS below them would take twice as long on busy cores.
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        features = _features(thumbnails, to_learn, seed, progress)
        progress(1, 3, "label errors: images described")
        scores = _out_of_fold(features, labels, fold_of)
        progress(2, 3, "label errors: labels predicted")
        probabilities = _calibrated(scores, labels, is_learned)
    own = probabilities[np.arange(len(labels)), labels]
    usual = np.bincount(labels[is_learned], own[is_learned]) / np.bincount(labels[is_learned])
    is_error = np.zeros(len(labels), bool)
    is_error[is_learned] = doubted(labels[is_learned], probabilities[is_learned])
    if not is_learned.all():
        is_error[~is_learned] = doubted(labels, probabilities)[~is_learned]
    is_error &= own <= max_share * usual[labels]
    progress(3, 3, "label errors: labels compared")
    return Doubts(classes[probabilities.argmax(axis=1)], own.astype(np.float32), is_error)


def _folds(labels: np.ndarray, groups: Sequence[str], folds: int, seed: int) -> np.ndarray | None:
    """A fold for each image, the same within a group; each class's groups are dealt out in turn, in hashed order."""
    first: dict[str, int] = {}
    for at, group in enumerate(groups):
        first.setdefault(group, at)
    by_class: defaultdict[int, list[tuple[bytes, str]]] = defaultdict(list)
    for group, at in first.items():
        by_class[int(labels[at])].append((hashlib.sha256(f"{seed}\0{group}".encode()).digest(), group))
    if len(by_class) <= labels.max() or min(map(len, by_class.values())) < folds:
        return None
    fold = {group: at % folds for ranked in by_class.values() for at, (_, group) in enumerate(sorted(ranked))}
    return np.array([fold[group] for group in groups])


def _features(thumbnails: np.ndarray, to_learn: np.ndarray, seed: int, progress: Progress) -> np.ndarray:
    """(n, features) uint8 of 0.._LEVELS; filters and scales are those of the rows `to_learn`."""
    images = thumbnails.reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    sample = images[to_learn[:: max(1, len(to_learn) // _SAMPLE)]]
    filters = _filters(sample, np.random.default_rng(seed))
    of_sample = np.concatenate([_pooled(sample[at : at + _AT_ONCE], filters) for at in range(0, len(sample), _AT_ONCE)])
    middle, spread = of_sample.mean(axis=0), of_sample.std(axis=0) + 1e-3
    features = np.empty((len(images), of_sample.shape[1]), np.uint8)

    def describe(rows: np.ndarray) -> None:
        pooled = _pooled(images[rows], filters)
        scaled = (pooled - middle) * (16 / spread) + (_LEVELS + 1) / 2
        features[rows] = np.clip(np.rint(scaled), 0, _LEVELS)

    # A product of other rows may be rounded otherwise: those learned from are together only with their like.
    others = np.setdiff1d(np.arange(len(images)), to_learn)
    batches = [rows[at : at + _AT_ONCE] for rows in (to_learn, others) for at in range(0, len(rows), _AT_ONCE)]
    with concurrent.futures.ThreadPoolExecutor(process_pool.usable_cores()) as threads:  # NumPy works without the GIL
        for done, _ in enumerate(threads.map(describe, batches), start=1):
            if done % 20 == 0:
                progress(min(done * _AT_ONCE, len(images)), len(images), "images described for label errors")
    return features


def _filters(images: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Patches of the images, whitened, and their mirror images: (_PATCH * _PATCH, 2 * _FILTERS) float32."""
    n_drawn = 20_000
    which = draw.integers(0, len(images), n_drawn)
    top, left = draw.integers(0, THUMBNAIL_SIDE - _PATCH + 1, (2, n_drawn))
    windows = np.lib.stride_tricks.sliding_window_view(images, (_PATCH, _PATCH), axis=(1, 2))
    patches = windows[which, top, left].reshape(n_drawn, -1).astype(np.float64)
    patches -= patches.mean(axis=1, keepdims=True)
    patches /= np.sqrt(patches.var(axis=1, keepdims=True) + _FLAT)
    variances, components = np.linalg.eigh(patches.T @ patches / n_drawn)
    whiten = (components / np.sqrt(variances + 0.1)) @ components.T
    chosen = patches[:_FILTERS] @ whiten
    chosen /= np.linalg.norm(chosen, axis=1, keepdims=True) + 1e-9
    filters = whiten @ chosen.T
    filters -= filters.mean(axis=0)
    mirrored = filters.reshape(_PATCH, _PATCH, -1)[:, ::-1].reshape(filters.shape)
    return np.concatenate([filters, mirrored], axis=1).astype(np.float32)


def _pooled(images: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """How strongly each filter answers, with either sign, in each cell of the grid: (n, features) float32."""
    n, end = len(images), _MARGIN + _STEP * (_PLACES - 1) + _PATCH
    inner = images[:, _MARGIN:end, _MARGIN:end].astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(inner, (_PATCH, _PATCH), axis=(1, 2))[:, ::_STEP, ::_STEP]
    patches = windows.reshape(-1, _PATCH * _PATCH)
    variance = np.einsum("ij,ij->i", patches, patches) / patches.shape[1] - patches.mean(axis=1) ** 2
    patches /= np.sqrt(np.maximum(variance, 0) + _FLAT)[:, None]
    answers = (patches @ filters).reshape(n, _GRID, _PLACES // _GRID, _GRID, _PLACES // _GRID, -1)
    signed = answers.sum(axis=(2, 4))
    strength = np.abs(answers, out=answers).sum(axis=(2, 4))
    both = np.stack([strength + signed, strength - signed], axis=-1)  # (n, grid, grid, 2 * filters, 2)
    # A mirrored image has the mirrored filters' answers in the mirrored cells: the sum is the same for both.
    symmetric = both[:, :, :, :_FILTERS] + both[:, :, ::-1, _FILTERS:]
    return np.sqrt(np.maximum(symmetric, 0)).reshape(n, -1)


def _out_of_fold(features: np.ndarray, labels: np.ndarray, fold_of: np.ndarray) -> np.ndarray:
    """Scores, (n, classes) float64, by ridge regression on the images of the other folds; without a fold by all folds.

    The products of all folds are added up once; leaving one out is to subtract its own.
    """
    import scipy.linalg

    targets = np.eye(labels.max() + 1, dtype=np.float32)[labels]
    folds = [np.flatnonzero(fold_of == fold) for fold in range(fold_of.max() + 1)]
    with concurrent.futures.ThreadPoolExecutor(process_pool.usable_cores()) as threads:
        sums = list(threads.map(lambda rows: _sums(features[rows], targets[rows]), folds))
    total = [sum(parts) for parts in zip(*sums, strict=True)]
    scores = np.empty(targets.shape)

    def predict(rows: np.ndarray, own: list[np.ndarray]) -> None:
        squares, products, added, counts = (whole - part for whole, part in zip(total, own, strict=True))
        n = counts.sum()
        squares -= np.outer(added, added / n)
        products -= np.outer(added, counts / n)
        squares[np.diag_indices_from(squares)] += _RIDGE * np.trace(squares) / len(squares) + 1e-6
        weights = scipy.linalg.solve(squares, products, assume_a="pos", overwrite_a=True)
        offset = (counts - added @ weights) / n
        for start in range(0, len(rows), _EXACT_ROWS):
            some = rows[start : start + _EXACT_ROWS]
            scores[some] = features[some].astype(np.float64) @ weights + offset

    others = np.flatnonzero(fold_of == _NO_FOLD)
    if len(others):
        folds, sums = [*folds, others], [*sums, [np.zeros_like(sums_of) for sums_of in total]]
    with concurrent.futures.ThreadPoolExecutor(process_pool.usable_cores()) as threads:
        list(threads.map(predict, folds, sums))
    return scores


def _sums(features: np.ndarray, targets: np.ndarray) -> list[np.ndarray]:
    """FᵀF, FᵀT, ΣF and ΣT in float64; all of them whole numbers, so exact."""
    width = features.shape[1]
    squares, products = np.zeros((width, width)), np.zeros((width, targets.shape[1]))
    for start in range(0, len(features), _EXACT_ROWS):
        some = features[start : start + _EXACT_ROWS].astype(np.float32)
        squares += some.T @ some
        products += some.T @ targets[start : start + _EXACT_ROWS]
    return [squares, products, features.sum(axis=0, dtype=np.float64), targets.sum(axis=0, dtype=np.float64)]


def _calibrated(scores: np.ndarray, labels: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """Probabilities, (n, classes) float64 of 4 decimals, by multinomial regression on the scores of the `learned`."""
    from sklearn import linear_model

    own = scores[learned]
    scaled = (scores - own.mean(axis=0)) / (own.std(axis=0) + 1e-9)
    model = linear_model.LogisticRegression(C=10.0, max_iter=200, tol=1e-6)
    return model.fit(scaled[learned], labels[learned]).predict_proba(scaled).round(_DECIMALS)


def doubted(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Whether each label is likely wrong. One process: cleanlab would fork."""
    from cleanlab import filter as cleanlab_filter

    is_issue: np.ndarray = cleanlab_filter.find_label_issues(labels, probabilities, filter_by="both", n_jobs=1)
    return is_issue
