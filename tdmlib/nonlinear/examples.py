"""Mixtures as data to try things on: at random, and on a circle."""

import numpy as np
import torch

from tdmlib.errors import check_number
from tdmlib.mixtures import GaussianMixture


def random_mixture(components: int, d: int, seed: int, width: float = 0.35) -> GaussianMixture:
    """Components of equal weight at random places, each of its own random covariance, in torch.

    The mean is 0, the variance per coordinate 1 on average, of which the components' own variance
    has about the share `width` squared. Raises InputError for fewer than two components, d < 1 or
    a width outside (0, 1).
    """
    M = check_number("components", components, 2, whole=True)
    d = check_number("d", d, 1, whole=True)
    width = check_number("width", width, 1e-3, 0.999)
    rng = np.random.default_rng(check_number("seed", seed, 0, whole=True))
    means = rng.standard_normal((M, d))
    means -= means.mean(axis=0)
    roots = rng.standard_normal((M, d, d))
    covariances = 0.3 * np.eye(d) + 0.7 * roots @ roots.transpose(0, 2, 1) / d
    means *= np.sqrt((1 - width**2) * d * M / np.square(means).sum())
    covariances *= width**2 * d * M / np.trace(covariances, axis1=1, axis2=2).sum()
    return GaussianMixture(*map(torch.from_numpy, (np.ones(M), means, covariances)))


def modes_on_circle(
    components: int, radius: float, variance: float, turn: float = 0.0
) -> GaussianMixture:
    """Round modes of equal weight at equal distances on a circle about 0, in torch; d = 2.

    The first lies at the angle 2π · `turn`. Raises InputError for fewer than two components, a
    negative radius, a variance that is not positive, or a turn that is not finite.
    """
    M = check_number("components", components, 2, whole=True)
    radius = check_number("radius", radius, 0)
    angle = 2 * np.pi * (np.arange(M) / M + check_number("turn", turn))
    means = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return GaussianMixture.round_modes(torch.from_numpy(means), variance)
