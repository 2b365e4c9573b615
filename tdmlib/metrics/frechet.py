"""The Fréchet distance between Gaussian fits of two sets of features (Heusel et al., 2017)."""

import numpy as np

from tdmlib.metrics.inputs import matrices


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False))


def frechet_distance(features, reference) -> float:
    """‖m − m′‖² + tr(C + C′ − 2 (C C′)^½) for features of shape (n, d) and (m, d).

    The square root's trace is that of (R C′ R)^½ with R = C^½, which is symmetric, so that
    rank-deficient covariances do no harm. Raises InputError for other shapes, fewer than 2 rows,
    or features that are not finite and real.
    """
    sets = matrices(2, features=features, reference=reference)
    (mean, cov), (mean_, cov_) = map(_moments, sets)
    values, vectors = np.linalg.eigh(cov)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_ @ root).clip(0)).sum()
    return float(((mean - mean_) ** 2).sum() + np.trace(cov) + np.trace(cov_) - 2 * cross)
