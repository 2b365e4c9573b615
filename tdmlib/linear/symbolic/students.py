"""The student under gradient flow (Prop. 3.3), and what its rate depends on."""

import sympy as sp

from tdmlib.linear.symbolic.identities import V, alpha, alpha_, asserted, s, sigma, sigma_

B = sp.Symbol("B", positive=True)


def _trained(loss, weight, start):
    """The weight after gradient flow on `loss` for time s, from `start`."""
    w = sp.Function("w")
    flow = sp.Eq(w(s).diff(s), -sp.diff(loss, weight).subs(weight, w(s)))
    return sp.dsolve(flow, w(s), ics={w(0): start}).rhs


def student_flow() -> dict[str, sp.Eq]:
    """Prop. 3.3: gradient flow on E(az − bz)² is exponential interpolation from a(0) to b."""
    a, start = sp.symbols(r"a {\hat{A}(0)}", positive=True)
    left = sp.exp(-2 * s * V)
    trained = _trained(V * (a - B) ** 2, a, start)  # E(az − Bz)² with E z² = V
    return asserted(student=(r"\hat{A}(s)", trained, (1 - left) * B + left * start))


def student_rates() -> dict[str, sp.Eq]:
    """What γ_t becomes with ½ before the loss, and for a student that predicts x̂ = c z_t.

    That student's step is z_{t−1} = κ x̂ + (σ_{t−1}/σ_t) z_t with slope κ = α_{t−1} −
    σ_{t−1} α_t/σ_t, so the chain rule brings κ in twice.
    """
    weight, start, kappa = sp.symbols("c {c(0)} kappa", positive=True)
    slope = {kappa: alpha_ - sigma_ * alpha / sigma}

    def step(c):
        return kappa * c + sigma_ / sigma

    def left(trained, start):
        return (trained - B) / (start - B)

    half = _trained(V * (weight - B) ** 2 / 2, weight, start)
    predicted = _trained(V * (step(weight) - B) ** 2, weight, start)
    return asserted(
        where=slope,
        half=(r"\gamma_t^{\mathrm{half}}", left(half, start), sp.exp(-s * V)),
        x_hat=(
            r"\gamma_t^{\hat{x}}",
            left(step(predicted), step(start)),
            sp.exp(-2 * s * kappa**2 * V),
        ),
    )
