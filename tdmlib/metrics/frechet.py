"""The Fréchet distance between Gaussian fits of two sets of features (Heusel et al., 2017)."""

import numpy as np


def _moments(features) -> tuple[np.ndarray, np.ndarray]:
    features = np.asarray(features, dtype=np.float64)
    return features.mean(axis=0), np.cov(features, rowvar=False)


def frechet_distance(features, reference) -> float:
    """‖m − m′‖² + tr(C + C′ − 2 (C C′)^½) for features of shape (n, d) and (m, d).

    The square root's trace is that of (R C′ R)^½ with R = C^½, which is symmetric, so that
    rank-deficient covariances do no harm.
    """
    (mean, cov), (mean_, cov_) = _moments(features), _moments(reference)
    values, vectors = np.linalg.eigh(np.atleast_2d(cov))
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ np.atleast_2d(cov_) @ root).clip(0)).sum()
    return float(((mean - mean_) ** 2).sum() + np.trace(cov) + np.trace(cov_) - 2 * cross)
