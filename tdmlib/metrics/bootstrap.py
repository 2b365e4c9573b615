"""Which of two generators is closer to the data, and how sure are we? Both see the same images."""

import numpy as np

from tdmlib.metrics.frechet import frechet_distance
from tdmlib.metrics.kid import across, within


def frechet_gap(ours, theirs, reference, resamples: int = 500, seed: int = 0) -> np.ndarray:
    """Resampled Fréchet(ours) − Fréchet(theirs), shape (resamples,).

    All three sets of features are drawn anew with replacement, the reference once for both sides.
    """
    rng, gaps = np.random.default_rng(seed), []
    for _ in range(resamples):
        real, a, b = (x[rng.integers(len(x), size=len(x))] for x in (reference, ours, theirs))
        gaps.append(frechet_distance(a, real) - frechet_distance(b, real))
    return np.array(gaps)


def kernel_gap(ours, theirs, reference, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """Resampled MMD²(ours) − MMD²(theirs), shape (resamples,).

    The term within the reference cancels, so the gap is linear in the real images and these are
    what is resampled; the generated sets should be large.
    """
    rng = np.random.default_rng(seed)
    own = within(ours) - within(theirs)
    each = across(ours, reference) - across(theirs, reference)
    means = each[rng.integers(len(each), size=(resamples, len(each)))].mean(axis=1)
    return own - 2 * means


def interval(values, level: float = 0.95) -> tuple[float, float]:
    """The central percentile interval of resampled values."""
    tail = 50 * (1 - level)
    return tuple(float(v) for v in np.percentile(values, [tail, 100 - tail]))
