"""Images unlike all the others: those that the principal components of the images describe badly.

Drawings, error pages and writing have their structure elsewhere than photographs of faces have. Of FER2013's 60 images
of the highest score about three quarters are no photograph of a face, most others are under writing or half hidden;
the distance within the principal components (Mahalanobis) finds unusual light and poses instead.
"""

import numpy as np

from fer.curation import principal_components

_AT_ONCE = 4_096
_FEWEST = 200  # images: of fewer, the components would describe each one


def scores(thumbnails: np.ndarray) -> np.ndarray:
    """How unlike the others each of `thumbnails`, (n, pixels) uint8, is: (n,) float32 of 2 decimals.

    In robust standard deviations from the median (of the log odds of the share of an image's variance that lies outside
    the components), so that a threshold serves any dataset: from 3.5 on it is 60 of FER2013's 35,887.
    NaN for thumbnails of one grey, and for all where fewer than 200 are not.
    """
    import threadpoolctl

    all_scores = np.full(len(thumbnails), np.nan, np.float32)
    rows = np.flatnonzero(principal_components.has_contrast(thumbnails))
    if len(rows) < _FEWEST:
        return all_scores
    # Each half is described by the components of the other: a strange image must not be one of its own yardsticks.
    inside = np.empty(len(rows))
    with threadpoolctl.threadpool_limits(1, user_api="blas"):  # half a second; on busy cores more threads take longer
        for own, other in ((0, 1), (1, 0)):
            inside[own::2] = _inside(thumbnails, rows[own::2], principal_components.basis(thumbnails, rows[other::2]))
    inside = np.clip(inside, 1e-6, 1 - 1e-6)
    log_odds = np.log((1 - inside) / inside)
    middle = np.median(log_odds)
    deviation = 1.4826 * np.median(np.abs(log_odds - middle))  # equals the standard one where errors are normal
    if deviation < 1e-6:  # half of the images are alike: nothing to measure by
        return all_scores
    all_scores[rows] = ((log_odds - middle) / deviation).round(2)
    return all_scores


def _inside(thumbnails: np.ndarray, rows: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The share of the variance of each thumbnail at `rows` that lies in the basis, (len(rows),) float64."""
    shares = np.empty(len(rows))
    for start in range(0, len(rows), _AT_ONCE):
        at = slice(start, start + _AT_ONCE)
        low = principal_components.normalised(thumbnails[rows[at]]) @ basis
        shares[at] = np.einsum("ij,ij->i", low, low)
    return shares
