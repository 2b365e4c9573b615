"""Mixtures as data to try things on: at random, on a circle, and three in the plane."""

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


def planar_mixtures() -> dict[str, GaussianMixture]:
    """Three mixtures in d = 2 about 0, in torch, single precision, deviation 0.1 unless said.

    "circle": eight equal modes at radius √2. "grid": 5 × 5 equal modes, 1/√2 apart; both have
    variance 1 along each axis. "uneven": five modes of weights 0.35, 0.3, 0.2, 0.1 and 0.05, four
    of them elongated, with deviations from 0.06 to 0.6; its variances are 0.9 and 1.
    """
    row = torch.arange(-2.0, 3.0) / 2**0.5
    circle = modes_on_circle(8, 2**0.5, 0.01)
    means = [[-1.35, 0.1], [0.25, 1.3], [1.25, 0.2], [-0.05, -1.0], [1.35, -1.4]]
    long, short = torch.tensor([[0.5, 0.35, 0.4, 0.6, 0.1], [0.1, 0.1, 0.06, 0.12, 0.1]])
    turn = torch.tensor([0.3, 1.2, 2.2, -0.4, 0.0])
    axes = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], dim=1).reshape(5, 2, 2)
    widths = torch.stack([long, short], dim=1)
    uneven = GaussianMixture(
        torch.tensor([0.35, 0.3, 0.2, 0.1, 0.05]), torch.tensor(means),
        (axes * widths[:, None] ** 2) @ axes.mT,
    )  # fmt: skip
    return {
        "circle": GaussianMixture.round_modes(circle.means.float(), 0.01),
        "grid": GaussianMixture.round_modes(torch.cartesian_prod(row, row), 0.01),
        "uneven": uneven,
    }
