"""Which of two generators is closer to the data, and how sure are we? Both see the same images.

The real images are resampled with replacement within each class: the split is stratified and the
generators are asked for all classes alike, so class counts are design, not chance.
"""

import numpy as np

from tdmlib.metrics.frechet import frechet_distance
from tdmlib.metrics.kid import across, classes_of, within

__all__ = ["frechet_gap", "interval", "kernel_gap"]


def resampled_rows(labels, rng: np.random.Generator) -> np.ndarray:
    """Row numbers drawn with replacement, as many of each class as `labels` (n,) has."""
    labels = np.asarray(labels)
    classes = (np.flatnonzero(labels == c) for c in np.unique(labels))
    return np.concatenate([rng.choice(rows, size=len(rows)) for rows in classes])


def frechet_gap(ours, theirs, reference, labels, resamples: int = 500, seed: int = 0) -> np.ndarray:
    """Resampled Fréchet(ours) − Fréchet(theirs), shape (resamples,).

    `ours`, `theirs` and `reference` are features; `labels` are the classes of the reference. All
    three sets are drawn anew, the reference once for both sides. Raises InputError for labels of
    another length than the reference.
    """
    labels = classes_of(reference, labels)
    rng, gaps = np.random.default_rng(seed), []
    for _ in range(resamples):
        real = reference[resampled_rows(labels, rng)]
        a, b = (x[rng.integers(len(x), size=len(x))] for x in (ours, theirs))
        gaps.append(frechet_distance(a, real) - frechet_distance(b, real))
    return np.array(gaps)


def kernel_gap(ours, theirs, reference, labels, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """Resampled MMD²(ours) − MMD²(theirs), shape (resamples,); arguments as in `frechet_gap`.

    The term within the reference cancels, so the gap is linear in the real images and these are
    what is resampled; the generated sets should be large.
    """
    labels = classes_of(reference, labels)
    rng = np.random.default_rng(seed)
    own = within(ours) - within(theirs)
    each = across(ours, reference) - across(theirs, reference)
    means = [each[resampled_rows(labels, rng)].mean() for _ in range(resamples)]
    return own - 2 * np.array(means)


def interval(values, level: float = 0.95) -> tuple[float, float]:
    """The central percentile interval of resampled values."""
    tail = 50 * (1 - level)
    return tuple(float(v) for v in np.percentile(values, [tail, 100 - tail]))
