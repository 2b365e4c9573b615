"""The kernel distance: unbiased squared MMD with the cubic kernel (Bińkowski et al., 2018)."""

import numpy as np


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _row_means(x: np.ndarray, y: np.ndarray, block: int = 2048) -> np.ndarray:
    """mean_j k(x_i, y_j) for each i, without the whole kernel matrix in memory."""
    return np.concatenate(
        [_kernel(x[k : k + block], y).mean(axis=1) for k in range(0, len(x), block)]
    )


def within(x) -> float:
    """The unbiased mean of k over pairs of different rows of x (n, d)."""
    x = np.asarray(x, dtype=np.float64)
    n, diagonal = len(x), ((x**2).mean(axis=1) + 1) ** 3
    return float((n * _row_means(x, x).sum() - diagonal.sum()) / (n * (n - 1)))


def across(x, y) -> np.ndarray:
    """mean_i k(x_i, y_j) for each row y_j, shape (m,)."""
    return _row_means(np.asarray(y, dtype=np.float64), np.asarray(x, dtype=np.float64))


def kernel_distance(features, reference) -> float:
    """The unbiased estimate of MMD² between features (n, d) and reference (m, d).

    Unlike the Fréchet distance it has no bias from few samples; it may be negative.
    """
    return within(features) + within(reference) - 2 * float(across(features, reference).mean())
