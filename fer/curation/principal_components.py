"""What thumbnails have in common: their main directions, as far as brightness and contrast play no part."""

import numpy as np

N_DIRECTIONS = 47  # with these and one more number an image is 48 float32: three cache lines
_SAMPLE = 2_048


def unit(thumbnails: np.ndarray) -> np.ndarray:
    """(n, pixels) uint8, none of one grey -> float32, mean 0, length 1: products are Pearson's correlation."""
    centred = thumbnails - thumbnails.mean(axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
    centred /= np.sqrt(np.einsum("ij,ij->i", centred, centred))[:, None]
    return centred


def main(thumbnails: np.ndarray, rows: np.ndarray, n_directions: int = N_DIRECTIONS) -> np.ndarray:
    """An orthonormal basis, (pixels, directions) float32, near the main directions of the thumbnails at `rows`.

    By two rounds of subspace iteration on 2 thousand of them (Halko, Martinsson, Tropp 2011, algorithm 4.4), in 0.1 s.
    """
    sample = unit(thumbnails[rows[:: -(-len(rows) // _SAMPLE)]])
    n_directions = min(n_directions, sample.shape[1])
    basis = np.random.default_rng(0).standard_normal((sample.shape[1], n_directions), dtype=np.float32)
    for _ in range(2):
        basis, _ = np.linalg.qr(sample.T @ (sample @ basis))
    return basis


def varied(thumbnails: np.ndarray) -> np.ndarray:
    """Whether each thumbnail has more than one grey: (n,) bool."""
    different: np.ndarray = thumbnails.max(axis=1) > thumbnails.min(axis=1)
    return different
