"""Low-discrepancy samples: distances between laws with far less chance in them."""

import warnings

import numpy as np
import torch
from scipy.stats import norm, qmc
from torch import Tensor

from tdmlib.errors import check_number
from tdmlib.mixtures import GaussianMixture


def _uniform(n: int, d: int, seed: int) -> np.ndarray:
    n = check_number("n", n, 1, 2**30, whole=True)
    d = check_number("d", d, 1, qmc.Sobol.MAXDIM, whole=True)
    seed = check_number("seed", seed, 0, whole=True)
    with warnings.catch_warnings():  # balance is best at powers of two, good elsewhere
        warnings.simplefilter("ignore", UserWarning)
        u = qmc.Sobol(d, rng=np.random.default_rng(seed)).random(n)
    return np.clip(u, 1e-12, 1 - 1e-12)


def quasi_noise(n: int, d: int, seed: int = 0) -> Tensor:
    """n scrambled Sobol points as N(0, I) in d dimensions, shape (n, d), float32.

    Raises InputError unless n within 1 … 2³⁰, d within 1 … 21,201 and seed ≥ 0 are whole numbers.
    """
    return torch.from_numpy(norm.ppf(_uniform(n, d, seed))).float()


def quasi_sample(mixture: GaussianMixture, n: int, seed: int = 0) -> Tensor:
    """n samples of a mixture by scrambled Sobol points, shape (n, d), float32.

    Each component has its share of them up to a few. Raises InputError as `quasi_noise`.
    """
    plain = mixture.numpy()
    u = _uniform(n, plain.dim + 1, seed)
    component = np.searchsorted(np.cumsum(plain.weights)[:-1], u[:, 0], side="right")
    roots = np.linalg.cholesky(plain.covariances)[component]
    x = plain.means[component] + np.einsum("nij,nj->ni", roots, norm.ppf(u[:, 1:]))
    return torch.from_numpy(x).float()
