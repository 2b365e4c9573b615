"""Which of two generators is closer to the data, and how sure are we? Both see the same images.

The real images are resampled with replacement within each class: the split is stratified and the
generators are asked for all classes alike, so class counts are design, not chance.
"""

import numpy as np

from tdmlib.errors import InputError, check_number
from tdmlib.metrics.frechet import frechet_distance
from tdmlib.metrics.inputs import classes_of, matrices, real
from tdmlib.metrics.kid import across, within

__all__ = ["frechet_gap", "interval", "kernel_gap"]


def resampled_rows(labels, rng: np.random.Generator) -> np.ndarray:
    """Row numbers drawn with replacement, as many of each class as `labels` (n,) has."""
    labels = np.asarray(labels)
    classes = (np.flatnonzero(labels == c) for c in np.unique(labels))
    return np.concatenate([rng.choice(rows, size=len(rows)) for rows in classes])


def _checked(ours, theirs, reference, labels) -> list[np.ndarray]:
    sets = matrices(2, ours=ours, theirs=theirs, reference=reference)
    return [*sets, classes_of(sets[-1], labels)]


def _draws(resamples: int, seed: int) -> tuple[range, np.random.Generator]:
    seed = check_number("seed", seed, 0, whole=True)
    return range(check_number("resamples", resamples, 1, whole=True)), np.random.default_rng(seed)


def frechet_gap(ours, theirs, reference, labels, resamples: int = 500, seed: int = 0) -> np.ndarray:
    """Resampled Fréchet(ours) − Fréchet(theirs), shape (resamples,).

    `ours`, `theirs` and `reference` are features; `labels` are the classes of the reference. All
    three sets are drawn anew, the reference once for both sides. Raises InputError unless they are
    finite real matrices of the same columns and two rows or more, for labels of another length than
    the reference, resamples < 1, or a seed that is no whole number ≥ 0.
    """
    ours, theirs, reference, labels = _checked(ours, theirs, reference, labels)
    (draws, rng), gaps = _draws(resamples, seed), []
    for _ in draws:
        drawn = reference[resampled_rows(labels, rng)]
        a, b = (x[rng.integers(len(x), size=len(x))] for x in (ours, theirs))
        gaps.append(frechet_distance(a, drawn) - frechet_distance(b, drawn))
    return np.array(gaps)


def kernel_gap(ours, theirs, reference, labels, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """Resampled MMD²(ours) − MMD²(theirs), shape (resamples,); takes and refuses as `frechet_gap`.

    The term within the reference cancels, so the gap is linear in the real images and these are
    what is resampled; the generated sets should be large.
    """
    ours, theirs, reference, labels = _checked(ours, theirs, reference, labels)
    draws, rng = _draws(resamples, seed)
    own = within(ours) - within(theirs)
    each = across(ours, reference) - across(theirs, reference)
    means = [each[resampled_rows(labels, rng)].mean() for _ in draws]
    return own - 2 * np.array(means)


def interval(values, level: float = 0.95) -> tuple[float, float]:
    """The central percentile interval of resampled values, a share `level` of them.

    Raises InputError for no values, NaN or infinite ones, or a level that is not within (0, 1).
    """
    values = real("values", values)
    if not 0 < check_number("level", level) < 1:
        raise InputError(f"level = {level}: must lie between 0 and 1")
    tail = 50 * (1 - level)
    return tuple(float(v) for v in np.percentile(values, [tail, 100 - tail]))
