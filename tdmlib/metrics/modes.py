"""Does a sampler find every mode of a mixture, in its share and at its width?"""

import numpy as np
from array_api_compat import array_namespace

from tdmlib.errors import InputError, check_number
from tdmlib.metrics.inputs import real
from tdmlib.mixtures import GaussianMixture


def mode_recovery(samples, mixture: GaussianMixture, radius: float = 3.0) -> dict[str, float]:
    """What became of the modes in `samples` (n, d); a sample belongs to its likeliest component.

    "found": components that hold at least half of their weight in samples near them, that is at a
    Mahalanobis distance of at most `radius`. "near": the share of samples that are near theirs, for
    true ones in d = 2 about 1 − exp(−radius²/2). "off": the total variation ½Σ|ŵ − w| between the
    shares of samples and the weights. "width": the mean squared Mahalanobis distance of the near
    ones over what it is for true samples in d = 2, so 1, below it where modes contracted; NaN where
    none is near.

    Raises InputError where d is not 2, for samples that are not finite or not (n, 2), or a radius
    that is not within 0.01 … 1000.
    """
    if mixture.dim != 2:
        raise InputError(f"d = {mixture.dim}: mode_recovery knows its shares for d = 2 alone")
    check_number("radius", radius, 0.01, 1000)
    samples, xp = real("samples", samples), array_namespace(mixture.means)
    owner = np.asarray(xp.argmax(mixture.responsibilities(xp.asarray(samples)), axis=1))
    means, covariances = (np.asarray(a, float) for a in (mixture.means, mixture.covariances))
    off = samples.astype(float) - means[owner]
    square = np.einsum("ni,nij,nj->n", off, np.linalg.inv(covariances)[owner], off)
    near, weights = square <= radius**2, np.asarray(mixture.weights, float)
    shares, held = (np.bincount(m, minlength=len(weights)) / len(off) for m in (owner, owner[near]))
    tail = np.exp(-(radius**2) / 2)
    within = 2 - radius**2 * tail / (1 - tail)  # E[χ²₂ | χ²₂ ≤ radius²]
    return {
        "found": int(np.sum(held >= weights / 2)),
        "near": float(near.mean()),
        "off": float(np.abs(shares - weights).sum() / 2),
        "width": float(square[near].mean() / within) if near.any() else float("nan"),
    }
