"""The teacher on a Gaussian mixture: its DDIM steps as maps, with Jacobians and Lipschitz bounds.

NumPy and torch alike: points are arrays of the library that the mixture was made in.
"""

import numpy as np
from array_api_compat import array_namespace, device

from tdmlib.denoisers import MixtureDenoiser
from tdmlib.errors import InputError, check_number
from tdmlib.mixtures import GaussianMixture
from tdmlib.sampling import ddim_step
from tdmlib.schedules import Schedule


class MixtureTeacher:
    """DDIM steps with the exact denoiser of a mixture, z_t ↦ z_{t−1} (Cor. 3.1 beyond Gaussians).

    Every method raises InputError for levels outside the schedule, or points that are not floating
    and of shape (B, d).
    """

    def __init__(self, mixture: GaussianMixture, schedule: Schedule):
        self.mixture, self.schedule = mixture, schedule
        self.denoiser = MixtureDenoiser(schedule, mixture)

    def coefficients(self, t: int) -> tuple[float, float]:
        """(a, b) of the step z_{t−1} = a z_t + b x̂: a = σ_{t−1}/σ_t, b = α_{t−1} − a α_t > 0."""
        t = check_number("t", t, 1, self.schedule.T, whole=True)
        alpha, sigma = self.schedule.alpha, self.schedule.sigma
        a = sigma[t - 1] / sigma[t]
        return float(a), float(alpha[t - 1] - a * alpha[t])

    def step(self, z, t: int):
        """From z at level t to level t − 1, shape (B, d)."""
        t = check_number("t", t, 1, self.schedule.T, whole=True)
        return ddim_step(self.denoiser(z, t), z, t, t - 1, self.schedule)[0]

    def hard_step(self, z, t: int):
        """The step of the likeliest component alone, and which it is: shapes (B, d) and (B,).

        The limit of well-separated components. It is affine where the component stays the same.
        """
        xp, (a, b) = array_namespace(z), self.coefficients(t)
        levels = self.schedule.at(t, z)
        component = xp.argmax(self.mixture.responsibilities(z, *levels), axis=1)
        means = self.mixture.component_means(z, *levels)
        rows = xp.arange(z.shape[0], device=device(z))
        return a * z + b * means[rows, component], component

    def composite(self, z, i: int = 0, j: int | None = None):
        """P_{i,j}: from z at level j (None: T) to level i, shape (B, d)."""
        T = self.schedule.T
        j = T if j is None else check_number("j", j, 0, T, whole=True)
        i = check_number("i", i, 0, j, whole=True)
        for t in range(j, i, -1):
            z = self.step(z, t)
        return z

    def jacobian(self, z, t: int):
        """∂z_{t−1}/∂z_t = a I + b α_t/σ_t² Cov(x | z_t), shape (B, d, d).

        Symmetric and positive definite: a, b > 0, or a = 0 and the covariance is definite.
        """
        xp, (a, b) = array_namespace(z), self.coefficients(t)
        alpha, sigma = self.schedule.at(t, z)
        covariance = self.mixture.posterior_covariance(z, alpha, sigma)
        one = xp.eye(z.shape[1], dtype=z.dtype, device=device(z))
        return a * one + b * alpha / sigma**2 * covariance

    def lipschitz(self, t: int) -> float:
        """A bound on the largest eigenvalue of the step's Jacobian, for components that share Σ.

        Given z, x has the covariance σ²ΣS⁻¹ within components, S = α²Σ + σ²I, and means apart by
        σ²S⁻¹(μ_m − μ_n), the furthest D: a variance of at most D²/4 (Popoviciu). Two components of
        covariance λI reach it midway. Raises InputError when covariances differ: then the slope is
        unbounded in general, since x̂ jumps ever further along a gate.
        """
        a, b = self.coefficients(t)
        means, C = (np.asarray(x) for x in (self.mixture.means, self.mixture.covariances))
        if not np.allclose(C, C[0], rtol=1e-9, atol=1e-12 * np.abs(C).max()):
            raise InputError("a bound on the slope needs components with one common covariance")
        alpha, sigma = self.schedule.alpha[t], self.schedule.sigma[t]
        lam, axes = np.linalg.eigh(C[0])
        left = sigma**2 / (alpha**2 * lam + sigma**2)
        apart = left * ((means[:, None] - means) @ axes)
        within, between = (left * lam).max(), np.square(apart).sum(-1).max() / 4
        return float(a + b * alpha / sigma**2 * (within + between))

    def marginal(self, n: int, t: int, seed: int = 0):
        """n samples of z_t = α_t x + σ_t ε, shape (n, d)."""
        x = self.mixture.sample(n, seed)
        alpha, sigma = self.schedule.at(t, x)
        noise = np.random.default_rng((seed, t)).standard_normal(tuple(x.shape))
        return alpha * x + sigma * array_namespace(x).asarray(
            noise, dtype=x.dtype, device=device(x)
        )
