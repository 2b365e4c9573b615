"""The kernel distance: unbiased squared MMD with the cubic kernel (Bińkowski et al., 2018)."""

import numpy as np

WIDE = 128  # features beyond which d³ numbers are too many


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _blocks(x: np.ndarray, rows: int = 2048):
    return (x[k : k + rows] for k in range(0, len(x), rows))


def across(x, y) -> np.ndarray:
    """mean_i k(x_i, y_j) for each row y_j, shape (m,)."""
    x, y = (np.asarray(a, dtype=np.float64) for a in (x, y))
    n, d = x.shape
    if d > WIDE:
        return np.concatenate([_kernel(block, x).mean(axis=1) for block in _blocks(y)])
    # (x·y/d + 1)³ needs only the means of x, x⊗x and x⊗x⊗x: linear in n, not quadratic
    third = sum(_squares(block).T @ block for block in _blocks(x)) / n
    squares = np.concatenate([_squares(block) @ third for block in _blocks(y)])
    second = x.T @ x / n
    first, quadratic, cubic = y @ x.mean(axis=0), (y @ second * y).sum(1), (squares * y).sum(1)
    return 1 + 3 * first / d + 3 * quadratic / d**2 + cubic / d**3


def _squares(x: np.ndarray) -> np.ndarray:
    """x ⊗ x as rows, (n, d²)."""
    return (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)


def within(x) -> float:
    """The unbiased mean of k over pairs of different rows of x (n, d)."""
    x = np.asarray(x, dtype=np.float64)
    n, diagonal = len(x), ((x**2).mean(axis=1) + 1) ** 3
    return float((n * across(x, x).sum() - diagonal.sum()) / (n * (n - 1)))


def kernel_distance(features, reference) -> float:
    """The unbiased estimate of MMD² between features (n, d) and reference (m, d).

    Unlike the Fréchet distance it has no bias from few samples; it may be negative.
    """
    return within(features) + within(reference) - 2 * float(across(features, reference).mean())
