"""The Fréchet distance between Gaussian fits of two sets of features (Heusel et al., 2017)."""

import numpy as np

from tdmlib.errors import InputError


def _moments(features) -> tuple[np.ndarray, np.ndarray]:
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise InputError(f"features have shape {features.shape}; expected (n, d), n ≥ 2")
    if not np.isfinite(features).all():
        raise InputError("features hold NaN or infinite values; remove those rows")
    return features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False))


def frechet_distance(features, reference) -> float:
    """‖m − m′‖² + tr(C + C′ − 2 (C C′)^½) for features of shape (n, d) and (m, d).

    The square root's trace is that of (R C′ R)^½ with R = C^½, which is symmetric, so that
    rank-deficient covariances do no harm. Raises InputError for other shapes, fewer than 2 rows,
    or features that are not finite.
    """
    (mean, cov), (mean_, cov_) = _moments(features), _moments(reference)
    if len(mean) != len(mean_):
        raise InputError(f"features of {len(mean)} and {len(mean_)} columns cannot be compared")
    values, vectors = np.linalg.eigh(cov)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_ @ root).clip(0)).sum()
    return float(((mean - mean_) ** 2).sum() + np.trace(cov) + np.trace(cov_) - 2 * cross)
