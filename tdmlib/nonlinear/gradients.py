"""How far a planar map is from every gradient field, and so from every exact step.

Each exact step, of any data, is the gradient of a convex function. In L²(p) the plane's fields
split at right angles into gradients ∇φ and fields ∇^⊥(pu)/p, ∇^⊥ = (−∂_2, ∂_1), since
∫ ∇φ · ∇^⊥(pu) = 0. Projecting on some of the second kind gives a lower bound, and what projecting
on some of the first leaves an upper one.
"""

from collections.abc import Callable

import numpy as np
from numpy.polynomial import hermite_e

from tdmlib.errors import InputError, check_number
from tdmlib.mixtures import GaussianMixture


def distance_to_gradients(
    field: Callable,
    mixture: GaussianMixture,
    alpha: float,
    sigma: float,
    degree: int = 12,
    points: int = 101,
) -> tuple[float, float]:
    """(lower, upper) bounds on the least (E‖field(z) − ∇φ(z)‖²)^½ over all φ, z = αx + σε.

    `mixture` is of NumPy arrays in d = 2, `field` maps (B, 2) to (B, 2). Expectations are
    sums over a grid of `points` × `points` on eight standard deviations to each side, u and
    φ polynomials up to `degree`.

    Raises InputError for another dimension or array library, numbers out of range (α and σ are
    not both 0), a field that is not finite, and where sums differ from integrals so much that
    fields of the two kinds, which are at right angles, have a cosine above 0.1: high degrees reach
    beyond the grid, and narrow components fall between its points.
    """
    if mixture.dim != 2 or not isinstance(mixture.means, np.ndarray):
        raise InputError(
            f"d = {mixture.dim}, {type(mixture.means).__name__}: gradients are told apart "
            "in the plane, d = 2, for a mixture of NumPy arrays"
        )
    alpha = check_number("alpha", alpha, 0, 1e6)
    sigma = check_number("sigma", sigma, 0 if alpha > 1e-6 else 1e-6, 1e6)
    degree = check_number("degree", degree, 1, 40, whole=True)
    points = check_number("points", points, 2, 400, whole=True)
    mean, covariance = mixture.moments()
    scale = np.sqrt(alpha**2 * np.diag(covariance) + sigma**2)
    grid = np.stack(np.meshgrid(*[np.linspace(-8, 8, points)] * 2, indexing="ij"), -1)
    unit = grid.reshape(-1, 2)
    z = alpha * mean + scale * unit
    log_p = mixture.log_density(z, alpha, sigma)
    root = np.exp(0.5 * (log_p - log_p.max()))
    root /= np.linalg.norm(root)
    keep = root > 1e-12
    z, unit, root = z[keep], unit[keep], root[keep]
    u, slopes = _polynomials(unit, degree)
    slopes = slopes / scale[:, None]  # by z, not by the grid's unit
    score = mixture.score(z, alpha, sigma)
    across = [-slopes[:, 1] - u * score[:, 1, None], slopes[:, 0] + u * score[:, 0, None]]
    along = [slopes[:, 0], slopes[:, 1]]
    image = field(z)
    if image.shape != z.shape:
        raise InputError(f"field maps {z.shape} to {image.shape}; it must keep the shape (B, 2)")
    if not np.isfinite(image).all():
        raise InputError("field gives NaN or infinite numbers on the grid")
    values = (root[:, None] * image).T.reshape(-1)
    parts = []
    for basis in (across, along):
        basis = np.concatenate(basis) * np.tile(root, 2)[:, None]
        basis /= np.linalg.norm(basis, axis=0) + 1e-300
        left, size, _ = np.linalg.svd(basis, full_matrices=False)
        parts.append(left[:, size > 1e-10 * size[0]])
    cosine = np.linalg.norm(parts[0].T @ parts[1], 2)
    if cosine > 0.1:
        raise InputError(
            f"degree = {degree}, points = {points}: gradients and the fields at right angles to "
            f"them have a cosine of {cosine:.1g}; lower the degree or take more points"
        )
    lower = np.linalg.norm(parts[0].T @ values)
    upper = np.linalg.norm(values - parts[1] @ (parts[1].T @ values))
    return float(lower), float(upper)


def _polynomials(x, degree: int):
    """Products of Hermite polynomials of total degree ≤ `degree`, (B, n), and slopes (B, 2, n)."""
    one = np.eye(degree + 1)
    value = [hermite_e.hermeval(c, one) for c in x.T]  # (degree + 1, B) each
    slope = [np.stack([hermite_e.hermeval(c, hermite_e.hermeder(row)) for row in one]) for c in x.T]
    pairs = [(a, b) for a in range(degree + 1) for b in range(degree + 1 - a)]
    a, b = np.array(pairs).T
    u = value[0][a] * value[1][b]
    slopes = np.stack([slope[0][a] * value[1][b], value[0][a] * slope[1][b]])
    return u.T, slopes.transpose(2, 0, 1)
