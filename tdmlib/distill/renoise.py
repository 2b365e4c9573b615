"""Trajectory points diffused to noisier levels, and what the noise that is added says of them.

A point x_i = α_i x̂ + σ_i ε̂ at level i is diffused to x_τ = (α_τ/α_i) x_i + β ε at a level τ ≥ i.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tdmlib.denoisers import Rows
from tdmlib.distill.losses import check_cap, vectors
from tdmlib.errors import InputError, check_shapes
from tdmlib.schedules import Schedule


@dataclass(frozen=True)
class Renoise(Rows):
    """The random numbers that diffuse a trajectory point to a level τ; one row a sample."""

    u: Tensor  #: uniform in [0, 1): where in its interval τ lies, (B,)
    noise: Tensor  #: (B, …)


class _Way(NamedTuple):
    """From level i to τ: q(x_τ | x_i) = N(scale · x_i, β²)."""

    scale: Tensor  #: α_τ/α_i
    beta: Tensor  #: √(σ_τ² − scale² σ_i²)
    alpha_i: Tensor
    sigma_i: Tensor
    sigma_tau: Tensor

    def sigma(self) -> Tensor:
        """σ_τ, to divide by. Raises InputError where it is 0."""
        if (self.sigma_tau == 0).any():
            raise InputError("tau = 0 with sigma_0 = 0: no noise is mixed there")
        return self.sigma_tau


def _forward(i, tau, schedule: Schedule, like: Tensor) -> _Way:
    """The way from i to τ for samples `like`.

    Raises InputError for τ < i, levels outside 0 … T or of another shape, or i where α_i = 0.
    """
    i, tau = torch.as_tensor(i, device=like.device), torch.as_tensor(tau, device=like.device)
    alpha_i, sigma_i = schedule.at(i, like)
    alpha_tau, sigma_tau = schedule.at(tau, like)
    if (tau < i).any():
        raise InputError(
            f"tau = {tau.tolist()} lies below i = {i.tolist()}: diffusing forward needs tau ≥ i"
        )
    if (alpha_i == 0).any():
        raise InputError("i = T with alpha_T = 0: nothing is left there to carry forward")
    scale = alpha_tau / alpha_i
    beta = (sigma_tau**2 - (scale * sigma_i) ** 2).clamp_min(0).sqrt()
    return _Way(scale, beta, alpha_i, sigma_i, sigma_tau)


def diffuse(
    x_i: Tensor, i: Tensor, tau: Tensor, noise: Tensor, schedule: Schedule
) -> Tensor:  # fmt: skip
    """Carry samples at levels i forward to levels τ ≥ i, x_τ = (α_τ/α_i) x_i + β · noise.

    x_i and noise have shape (B, …); i and tau are int tensors (B,). Raises InputError for
    τ < i, levels outside 0 … T, i where α_i = 0, or shapes that differ.
    """
    check_shapes(x_i.shape, noise=noise)
    way = _forward(i, tau, schedule, x_i)
    return way.scale * x_i + way.beta * noise


def mixed_noise(
    eps_hat: Tensor, noise: Tensor, i: Tensor, tau: Tensor, schedule: Schedule
) -> Tensor:
    """ε_mix with x_τ = α_τ x̂ + σ_τ ε_mix, for x_i = α_i x̂ + σ_i ε̂ diffused by `noise`.

    Shapes, and what it raises, as in `diffuse`; InputError also where σ_τ = 0.
    """
    check_shapes(eps_hat.shape, noise=noise)
    way = _forward(i, tau, schedule, noise)
    return (way.scale * way.sigma_i * eps_hat + way.beta * noise) / way.sigma()


def transition_target(
    x_i: Tensor, i: Tensor, tau: Tensor, noise: Tensor, schedule: Schedule
) -> Tensor:
    """The score −ε/β of q(x_τ | x_i) as a clean prediction, (x_τ − σ_τ² ε/β)/α_τ.

    That is x_i/α_i − α_τ σ_i²/(α_i² β) ε, finite at α_τ = 0; it equals x_i/α_i where σ_i = 0 < β.
    Shapes, and what it raises, as in `diffuse`; where τ = i, β = 0, it is NaN or infinite.
    """
    check_shapes(x_i.shape, noise=noise)
    way = _forward(i, tau, schedule, x_i)
    return x_i / way.alpha_i - way.scale * way.sigma_i**2 / (way.alpha_i * way.beta) * noise


def _laws(group: Tensor, i) -> Tensor:
    """The names in `group`. Raises InputError unless they are whole, each of one level i."""
    if group.is_floating_point() and not (group.isfinite() & (group == group.round())).all():
        raise InputError("group holds fractions, NaN or infinity; name laws by whole numbers")
    level = torch.as_tensor(i, device=group.device).expand_as(group)
    laws, law = group.unique(return_inverse=True)
    last = level.new_empty(len(laws)).scatter_(0, law, level)  # the level of some sample of each
    if (last[law] != level).any():
        raise InputError("group names one law for samples at several levels i; give each its own")
    return laws


def stable_target(
    x_i: Tensor, i: Tensor, tau: Tensor, noise: Tensor, schedule: Schedule, group: Tensor
) -> Tensor:
    """The mean `transition_target` of all points that x_τ may have come from, shape of x_i.

    x_τ was made of its own x_i, and might have been of every other that has the same
    law, with odds q(x_τ | x_i). In few coordinates the mean over them varies far less
    (Xu, Tong and Jaakkola, 2023). `group`, whole numbers (B,), names the law of each
    sample; those of one law lie at one level. It takes time and memory B² at most.
    x_i and noise have shape (B, d, …). Raises as `diffuse`, and InputError for one law at
    several levels or names that are not whole; NaN where τ = i.
    """
    check_shapes(x_i.shape, noise=noise)
    check_shapes(x_i.shape[:1], group=group)
    with torch.autocast(x_i.device.type, enabled=False):
        scale, beta, *_ = _forward(i, tau, schedule, x_i)
        x_tau, mean = scale * x_i + beta * noise, torch.empty_like(x_i)
        for law in _laws(group, i):
            rows = (group == law).nonzero()[:, 0]
            points = vectors(x_i[rows])
            center = points.mean(0)  # squares far from zero would cancel badly
            points = points - center
            s, b = (v.expand_as(x_i)[rows].flatten(1)[:, :1] for v in (scale, beta))
            z = x_tau[rows].flatten(1) - s * center
            odds = s / b**2 * (z @ points.T - s / 2 * points.square().sum(1))
            mean[rows] = (odds.softmax(1) @ points + center).reshape(x_i[rows].shape)
        return transition_target(mean, i, tau, (x_tau - scale * mean) / beta, schedule)


def transition_precision(i: Tensor, tau: Tensor, schedule: Schedule, like: Tensor) -> Tensor:
    """(α_i β/σ_τ²)², one over the variance of `transition_target` at given x_τ, shape (B,).

    The variance is that of each coordinate, for x_i ~ N(μ, I). Where σ_i = 0 the precision is
    1/σ_τ² = SNR + 1, the weight that a v-prediction gives. i and tau are int (B,), `like` samples
    (B, …) of the type and device wanted; raises as `diffuse`, InputError where σ_τ = 0.
    """
    way = _forward(i, tau, schedule, like)
    return (way.alpha_i * way.beta / way.sigma() ** 2).square().flatten()


def importance_weight(mixed: Tensor, noise: Tensor) -> Tensor:
    """The public script's weight exp(−½ mean ε_mix²) / exp(−½ mean ε²), shape (B,).

    A ratio of means over dimensions, not the density ratio, whose exponents are sums.
    Raises InputError for shapes that differ or have one axis.
    """
    check_shapes(mixed.shape, noise=noise)
    return torch.exp(0.5 * vectors(noise**2 - mixed**2).mean(1))


def density_ratio(
    mixed: Tensor, noise: Tensor, i: Tensor, tau: Tensor, schedule: Schedule,
    cap: float | None = None,
) -> Tensor:  # fmt: skip
    """N(x_τ; α_τ x̂, σ_τ²)/q(x_τ | x_i) = (β/σ_τ)^d exp(½‖ε‖² − ½‖ε_mix‖²), shape (B,).

    Weighted by it, draws of x_τ around x_i count as draws around x̂. Its mean is one; its variance
    is infinite where β² ≤ ½ σ_τ² for given ε̂, ≤ ¾ σ_τ² over ε̂ ~ N(0, I). `cap` bounds it. Shapes,
    and what it raises, as in `mixed_noise`; InputError also for one axis, or a `cap` ≤ 0.
    """
    check_shapes(mixed.shape, noise=noise)
    if cap is not None:
        check_cap("cap", cap)
    d, way = vectors(noise).shape[1], _forward(i, tau, schedule, noise)
    exponent = 0.5 * vectors(noise**2 - mixed**2).sum(1)
    ratio = (d * (way.beta / way.sigma()).log().flatten() + exponent).exp()
    return ratio if cap is None else ratio.clamp_max(cap)
