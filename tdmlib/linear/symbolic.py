"""The propositions and theorems of Part I, derived in SymPy.

Each function derives one statement and returns the identities that it has asserted, as a dict
from a short name to `sympy.Eq`. A failed derivation raises AssertionError.
"""

import sympy as sp

lam, s = sp.symbols("lambda s", positive=True)
x, z, gamma = sp.symbols("x z gamma", real=True)
alpha, sigma = sp.symbols("alpha_t sigma_t", positive=True)
alpha_, sigma_ = sp.symbols(r"\alpha_{t-1} \sigma_{t-1}", positive=True)

V = alpha**2 * lam + sigma**2  # ‖v_t‖²
V_ = alpha_**2 * lam + sigma_**2  # ‖v_{t−1}‖²
INNER = alpha_ * alpha * lam + sigma_ * sigma  # ⟨v_{t−1}, v_t⟩


def asserted(simplify=sp.simplify, **sides: tuple) -> dict[str, sp.Eq]:
    """Each named pair (left, right) as an equation, once left − right has simplified to zero.

    A triple (symbol, left, right) asserts the same and is returned as symbol = right.
    """
    for name, (*_, left, right) in sides.items():
        assert simplify(left - right) == 0, f"{name}: {left} ≠ {right}"
    return {name: sp.Eq(pair[0], pair[-1], evaluate=False) for name, pair in sides.items()}


def optimal_denoiser() -> dict[str, sp.Eq]:
    """Prop. 3.1: the posterior mean of x given z = αx + σε is αλz / (α²λ + σ²)."""
    log_posterior = -((z - alpha * x) ** 2) / (2 * sigma**2) - x**2 / (2 * lam)
    (x_hat,) = sp.solve(sp.diff(log_posterior, x), x)  # a Gaussian's mean is its mode
    posterior_variance = -1 / sp.diff(log_posterior, x, 2)
    return asserted(
        denoiser=(sp.Symbol(r"\hat{x}"), x_hat, alpha * lam / V * z),
        remaining_variance=(
            sp.Symbol(r"\operatorname{Var}[x|z]"),
            posterior_variance,
            lam * sigma**2 / V,
        ),
    )


def ddim_step() -> dict[str, sp.Eq]:
    """Cor. 3.1: one DDIM step with that denoiser is z_{t−1} = ⟨v_{t−1}, v_t⟩ / ‖v_t‖² z_t."""
    x_hat = alpha * lam / V * z
    eps_hat = (z - alpha * x_hat) / sigma
    stepped = alpha_ * x_hat + sigma_ * eps_hat
    return asserted(step=(sp.Symbol("z_{t-1}"), stepped, INNER / V * z))


def contraction() -> dict[str, sp.Eq]:
    """Prop. 3.2: what one step loses in variance is a squared area, so it never gains."""
    area = alpha_ * sp.sqrt(lam) * sigma - alpha * sp.sqrt(lam) * sigma_  # v_{t−1} × v_t
    cos_squared = INNER**2 / (V * V_)
    return asserted(
        output_variance=(
            sp.Symbol(r"A_t^2\lVert v_t\rVert^2"),
            (INNER / V) ** 2 * V,
            V_ * cos_squared,
        ),
        sine=(1 - cos_squared, area**2 / (V * V_)),
    )


def student_flow() -> dict[str, sp.Eq]:
    """Prop. 3.3: gradient flow on E(az − bz)² is exponential interpolation from a(0) to b."""
    a, start, b, variance = sp.Function("a"), *sp.symbols("a_0 b v", positive=True)
    loss = variance * (sp.Symbol("u") - b) ** 2  # E(uz − bz)² with E z² = v
    velocity = -sp.diff(loss, sp.Symbol("u")).subs(sp.Symbol("u"), a(s))
    solution = sp.dsolve(sp.Eq(a(s).diff(s), velocity), a(s), ics={a(0): start}).rhs
    left = sp.exp(-2 * s * variance)
    return asserted(student=(solution, (1 - left) * b + left * start))


def merge_identity() -> dict[str, sp.Eq]:
    """The identity behind Thms. 4.2 and 4.3: what splitting L = ab into two merges changes."""
    a, b = sp.symbols("a b", positive=True)

    def f(value):
        return (1 - gamma) * value + gamma

    return asserted(
        split=(f(a) * f(b) - f(a * b), -gamma * (1 - gamma) * (1 - a) * (1 - b)),
        error=(f(a) - a, gamma * (1 - a)),
    )


def step_below_one() -> dict[str, sp.Eq]:
    """A_j ≤ 1 exactly when λ ≤ ρ_j, and ρ_j > 1: the sign of 1 − A_j, and ρ_j by its angles."""
    rho = sigma * (sigma - sigma_) / (alpha * (alpha_ - alpha))
    theta, theta_ = sp.symbols(r"\theta_j \theta_{j-1}", positive=True)
    angles = {
        alpha: sp.cos(theta),
        sigma: sp.sin(theta),
        alpha_: sp.cos(theta_),
        sigma_: sp.sin(theta_),
    }
    return {
        **asserted(sign=(1 - INNER / V, alpha * (alpha_ - alpha) / V * (rho - lam))),
        **asserted(
            simplify=_simplify_trigonometric,
            angles=(rho.subs(angles), sp.tan(theta) / sp.tan((theta + theta_) / 2)),
        ),
    }


def cosine_boundaries() -> dict[str, sp.Eq]:
    """Cosine schedule, δ = π/2T: λ_BOOT = tan(π/4 + π/4T) and λ_van = 1 + 1/cos(π/2T).

    ρ_j depends on j only through y = sin(2jδ − δ/2) and falls in y. So its maximum is at j = 1,
    where y is least, and its minimum at j = T/2 or (T + 1)/2, where y = cos(δ/2).
    """
    delta, u = sp.symbols("delta u", positive=True)  # u = jδ
    rho = (
        sp.sin(u) * (sp.sin(u) - sp.sin(u - delta)) / (sp.cos(u) * (sp.cos(u - delta) - sp.cos(u)))
    )
    half, y = sp.sin(delta / 2), sp.sin(2 * u - delta / 2)
    at_middle = (sp.cos(delta / 2) + half) / (sp.cos(delta / 2) - half)
    return asserted(
        simplify=_simplify_trigonometric,
        tangents=(rho, sp.tan(u) / sp.tan(u - delta / 2)),
        through_y=(sp.tan(u) / sp.tan(u - delta / 2), (y + half) / (y - half)),
        boot=(at_middle, sp.tan(sp.pi / 4 + delta / 2)),
        vanilla=(sp.tan(delta) / sp.tan(delta / 2), 1 + 1 / sp.cos(delta)),
    )


def _simplify_trigonometric(expression):
    """Rational in p = e^{iφ/2} for each angle φ, so that zero is decidable."""
    halves = {angle: 2 * sp.log(sp.Symbol(f"p{k}")) / sp.I
              for k, angle in enumerate(sorted(expression.free_symbols, key=str))}  # fmt: skip
    exponentials = expression.rewrite(sp.exp).subs(halves)
    return sp.simplify(sp.powsimp(sp.expand_power_exp(exponentials.rewrite(sp.exp))))
