"""The kernel distance: unbiased squared MMD with the cubic kernel (Bińkowski et al., 2018)."""

import numpy as np

from tdmlib.metrics.inputs import classes_of, matrices

__all__ = ["kernel_distance", "within"]

WIDE = 128  # features beyond which d³ numbers are too many


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _blocks(x: np.ndarray, rows: int = 2048):
    return (x[k : k + rows] for k in range(0, len(x), rows))


def across(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """mean_i k(x_i, y_j) for each row y_j, shape (m,)."""
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


def within(x, labels=None) -> float:
    """An unbiased estimate of E k(x, x′) over independent draws from the law behind x (n, d).

    Rows drawn independently: the mean over pairs of different rows. Rows drawn with a fixed number
    of each class, which `labels` (n,) names: pairs of one class are then rarer among different rows
    than among independent draws, so each pair of classes counts by its share.
    Raises InputError unless x is a finite real matrix, n ≥ 2, and for labels of another length, or
    a class of one row.
    """
    (x,) = matrices(2, features=x)
    n, own = len(x), ((x**2).mean(axis=1) + 1) ** 3
    if labels is None:
        return float((n * across(x, x).sum() - own.sum()) / (n * (n - 1)))
    labels = classes_of(x, labels, least=2)
    total = n * across(x, x).sum()
    for c in np.unique(labels):
        rows = labels == c
        m = int(rows.sum())
        same = m * across(x[rows], x[rows]).sum()
        total += (same - own[rows].sum()) * m / (m - 1) - same
    return float(total / n**2)


def kernel_distance(features, reference, labels=None, reference_labels=None) -> float:
    """The unbiased estimate of MMD² between features (n, d) and reference (m, d).

    Name the classes of a set that was drawn with a fixed number of each: see `within`.
    Unlike the Fréchet distance it has no bias from few samples; it may be negative.
    Raises InputError as `within`, and for other columns.
    """
    features, reference = matrices(2, features=features, reference=reference)
    inner = within(features, labels) + within(reference, reference_labels)
    return inner - 2 * float(across(features, reference).mean())
