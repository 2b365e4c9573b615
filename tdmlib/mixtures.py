"""Gaussian mixtures: density, score, posterior mean and samples in closed form.

One code for NumPy and torch arrays (array API). With alpha and sigma every function speaks of the
diffused variable z = αx + σε; the defaults α = 1, σ = 0 give the data themselves.
"""

import math
from copy import copy

import numpy as np
from array_api_compat import array_namespace, device, to_device

from tdmlib.errors import InputError, check_number


class GaussianMixture:
    """Σ_m w_m N(μ_m, Σ_m) with M components in d dimensions.

    Parameters
    ----------
    weights : array, shape (M,), positive, divided by their sum.
    means : array, shape (M, d).
    covariances : array, shape (M, d, d), symmetric and positive definite.

    Raises InputError when shapes disagree, numbers are not floating or not finite, a weight is not
    positive, or a covariance is not symmetric and positive definite. Every function of z raises it
    unless z is floating and of shape (B, d).
    """

    def __init__(self, weights, means, covariances):
        xp = array_namespace(weights, means, covariances)
        shape = tuple(means.shape)
        if (
            len(shape) != 2
            or 0 in shape
            or tuple(weights.shape) != shape[:1]
            or tuple(covariances.shape) != (*shape, shape[1])
        ):
            raise InputError(
                f"weights {tuple(weights.shape)}, means {shape} and covariances "
                f"{tuple(covariances.shape)} disagree; expected (M,), (M, d), (M, d, d)"
            )
        if not all(xp.isdtype(a.dtype, "real floating") for a in (weights, means, covariances)):
            raise InputError("weights, means and covariances must be of a floating type")
        if not all(bool(xp.all(xp.isfinite(a))) for a in (weights, means, covariances)):
            raise InputError("weights, means and covariances must be finite; some are not")
        off = xp.abs(covariances - xp.matrix_transpose(covariances))
        off, size = (xp.max(a, axis=(-2, -1)) for a in (off, xp.abs(covariances)))
        if not bool(xp.all(off <= 1e-6 * size)):
            worst = float(xp.max(off))
            raise InputError(f"covariances must be symmetric; they are off by {worst:g}")
        if not bool(xp.all(weights > 0)):
            raise InputError("weights must all be positive; leave out components without weight")
        self.weights, self.means = weights / xp.sum(weights), means
        self._spectrum, self._axes = xp.linalg.eigh(covariances)  # (M, d), (M, d, d)
        if not bool(xp.all(self._spectrum > 0)):
            raise InputError("covariances must be positive definite")

    @classmethod
    def round_modes(cls, means, variance: float, weights=None):
        """Components of covariance λI, λ the variance, at `means` (M, d); of equal weight for None.

        Raises InputError for a variance that is no positive number, and as the class.
        """
        xp, (M, d) = array_namespace(means), means.shape if means.ndim == 2 else (0, 0)
        variance = check_number("variance", variance, 0)
        kind = dict(dtype=means.dtype, device=device(means))
        weights = xp.ones(M, **kind) if weights is None else weights
        return cls(weights, means, xp.broadcast_to(variance * xp.eye(d, **kind), (M, d, d)))

    def numpy(self) -> "GaussianMixture":
        """The same mixture, of NumPy arrays in float64."""
        return GaussianMixture(*map(_numpy, (self.weights, self.means, self.covariances)))

    def to(self, where) -> "GaussianMixture":
        """The same mixture on another device."""
        twin = copy(self)
        for name in ("weights", "means", "_spectrum", "_axes"):
            setattr(twin, name, to_device(getattr(self, name), where))
        return twin

    @property
    def dim(self) -> int:
        """The dimension d."""
        return self.means.shape[1]

    @property
    def covariances(self):
        """Σ_m, shape (M, d, d)."""
        xp = array_namespace(self.means)
        return (self._axes * self._spectrum[:, None, :]) @ xp.matrix_transpose(self._axes)

    def moments(self):
        """Mean and covariance of the data, shapes (d,) and (d, d)."""
        xp = array_namespace(self.means)
        mean = xp.sum(self.weights[:, None] * self.means, axis=0)
        off = self.means - mean
        second = self.covariances + off[:, :, None] * off[:, None, :]
        return mean, xp.sum(self.weights[:, None, None] * second, axis=0)

    def _components(self, z, alpha, sigma):
        """Principal coordinates and variances (B, M, d) and log w_m p_m(z), shape (B, M)."""
        xp = array_namespace(z)
        if z.ndim != 2 or z.shape[1] != self.dim or not xp.isdtype(z.dtype, "real floating"):
            raise InputError(
                f"z has shape {tuple(z.shape)} and type {z.dtype}; expected (B, {self.dim}) and a "
                "floating type"
            )
        alpha, sigma = (_level(xp, level, z) for level in (alpha, sigma))
        offset = z[:, None, :] - alpha * self.means
        coordinates = xp.sum(offset[..., :, None] * self._axes, axis=-2)
        variance = alpha**2 * self._spectrum + sigma**2
        log_density = -0.5 * xp.sum(
            coordinates**2 / variance + xp.log(2 * math.pi * variance), axis=-1
        )
        return coordinates, variance, xp.log(self.weights) + log_density

    def log_density(self, z, alpha=1.0, sigma=0.0):
        """log p(z), shape (B,), for z of shape (B, d); alpha, sigma scalars or of B entries."""
        xp = array_namespace(z)
        logs = self._components(z, alpha, sigma)[2]
        top = xp.max(logs, axis=-1, keepdims=True)
        return xp.log(xp.sum(xp.exp(logs - top), axis=-1)) + top[:, 0]

    def responsibilities(self, z, alpha=1.0, sigma=0.0):
        """P(component m | z), shape (B, M)."""
        xp = array_namespace(z)
        return _softmax(xp, self._components(z, alpha, sigma)[2])

    def score(self, z, alpha=1.0, sigma=0.0):
        """∇ log p(z), shape (B, d)."""
        xp = array_namespace(z)
        coordinates, variance, logs = self._components(z, alpha, sigma)
        pulls = xp.sum(self._axes * (-coordinates / variance)[..., None, :], axis=-1)
        return xp.sum(_softmax(xp, logs)[..., None] * pulls, axis=1)

    def component_means(self, z, alpha=1.0, sigma=0.0):
        """E[x | z, component m], shape (B, M, d): M affine maps of z."""
        return self._affine(z, alpha, *self._components(z, alpha, sigma)[:2])

    def _affine(self, z, alpha, coordinates, variance):
        xp = array_namespace(z)
        inner = _level(xp, alpha, z) * self._spectrum / variance * coordinates
        return self.means + xp.sum(self._axes * inner[..., None, :], axis=-1)

    def posterior_mean(self, z, alpha=1.0, sigma=0.0):
        """E[x | z = αx + σε], shape (B, d): a softmax-gated mixture of affine maps."""
        xp = array_namespace(z)
        *maps, logs = self._components(z, alpha, sigma)
        return xp.sum(_softmax(xp, logs)[..., None] * self._affine(z, alpha, *maps), axis=1)

    def posterior_covariance(self, z, alpha=1.0, sigma=0.0):
        """Cov(x | z = αx + σε), shape (B, d, d): within the components and between their means.

        Second-order Tweedie: with σ > 0 the posterior mean has the Jacobian α/σ² Cov(x | z).
        """
        xp = array_namespace(z)
        variance = self._components(z, alpha, sigma)[1]
        weights = self.responsibilities(z, alpha, sigma)
        left = self._spectrum * _level(xp, sigma, z) ** 2 / variance
        within = (self._axes * left[..., None, :]) @ xp.matrix_transpose(self._axes)
        means = self.component_means(z, alpha, sigma)
        off = means - xp.sum(weights[..., None] * means, axis=1, keepdims=True)
        between = off[..., :, None] * off[..., None, :]
        return xp.sum(weights[..., None, None] * (within + between), axis=1)

    def sample(self, n: int, seed: int = 0):
        """n ≥ 0 samples of the data, shape (n, d), in the array library of the means.

        Raises InputError for another n, or a seed that is no whole number ≥ 0.
        """
        n = check_number("n", n, 0, whole=True)
        rng = np.random.default_rng(check_number("seed", seed, 0, whole=True))
        xp = array_namespace(self.means)
        weights = _numpy(self.weights)  # in float32 they add up to one only nearly
        component = rng.choice(len(weights), size=n, p=weights / weights.sum())
        noise = rng.standard_normal((n, self.dim)) * np.sqrt(_numpy(self._spectrum))[component]
        x = _numpy(self.means)[component] + np.einsum(
            "nij,nj->ni", _numpy(self._axes)[component], noise
        )
        return xp.asarray(x, dtype=self.means.dtype, device=device(self.means))


def _level(xp, level, z):
    """α or σ, a scalar or B of them, ready to broadcast over (B, M, d)."""
    return xp.reshape(xp.asarray(level, dtype=z.dtype, device=device(z)), (-1, 1, 1))


def _softmax(xp, logs):
    weights = xp.exp(logs - xp.max(logs, axis=-1, keepdims=True))
    return weights / xp.sum(weights, axis=-1, keepdims=True)


def _numpy(array) -> np.ndarray:
    return np.asarray(array.cpu() if hasattr(array, "cpu") else array, dtype=np.float64)
