"""What importance weights do to a linear fake score on Gaussian data, in closed form.

x_τ is diffused from x_{t_i} = α_i x̂ + σ_i ε̂ by the noise ε. The weights are powers of one ratio,
ω = exp(½ η (ε² − ε_mix²)) in each coordinate, ε_mix = ρ ε̂ + (β/σ_τ) ε with ρ² = 1 − β²/σ_τ²:
η = 0 is no weight, 1/d the public script's, 1 the density ratio of N(α_τ x̂, σ_τ²) to q(x_τ | x_i).
"""

from math import log1p

import numpy as np

from tdmlib.errors import check_number
from tdmlib.schedules import Schedule


def weighted_moments(signal, beta, rho, noise, tilt):
    """E[x_τ ζ] and E[x_τ²] under the weight, where x_τ = signal ζ + β ε and ε̂ = noise ζ.

    ζ and ε are independent N(0, 1), the weight has exponent `tilt` = η and is normalised. All are
    arrays that broadcast, |ρ| ≤ 1; both results have their common shape. At η = 0 these are the
    plain moments. Nothing is checked: at η > 1 the weight may have no mean.
    """
    share = np.sqrt(1 - rho**2)  # β/σ_τ
    # a weighted Gaussian is a Gaussian of another precision
    J = 1 + tilt * (rho * noise) ** 2, tilt * rho * share * noise, 1 - tilt * rho**2
    det = J[0] * J[2] - J[1] ** 2
    cross = (signal * J[2] - beta * J[1]) / det
    return cross, (signal**2 * J[2] - 2 * signal * beta * J[1] + beta**2 * J[0]) / det


def weight_variance(
    schedule: Schedule, i: int, tau: int, tilt: float = 1.0, d: int = 1, noise_variance: float = 1.0
) -> float:
    """Var(ω)/E[ω]² of the weight with exponent η = `tilt` in d dimensions; ∞ where it is infinite.

    ε̂ has `noise_variance` in every coordinate, 1 if it were fresh noise. There the formula is
    ((1 − η²ρ²) / √(1 − 4η²ρ²))^d − 1: finite for the density ratio, η = 1, where β² > ¾ σ_τ².
    Raises InputError unless 0 ≤ i < τ ≤ T, α_i > 0, η ≥ 0, d ≥ 1 and the variance is ≥ 0.
    """
    i = check_number("i", i, 0, schedule.T - 1, whole=True)
    tau = check_number("tau", tau, i + 1, schedule.T, whole=True)
    d, eta = check_number("d", d, 1, whole=True), check_number("tilt", tilt, 0)
    v = check_number("noise_variance", noise_variance, 0)
    square = (
        schedule.alpha[tau] / schedule.alpha[i] * schedule.sigma[i] / schedule.sigma[tau]
    ) ** 2

    def excess(eta):  # E[ω] = (1 + excess)^(−d/2), while both factors of the determinant are > 0
        return eta * square * (v - 1) - eta**2 * square * v

    if 2 * eta * square >= 1 or excess(2 * eta) <= -1:
        return np.inf
    with np.errstate(over="ignore"):
        exponent = d * (log1p(excess(eta)) - log1p(excess(2 * eta)) / 2)
        return float(np.expm1(exponent))
