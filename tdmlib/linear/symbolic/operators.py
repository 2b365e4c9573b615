"""The teacher: one step, many steps, and how far both stay behind the exact flow (Sec. 3)."""

import sympy as sp

from tdmlib.linear.symbolic.identities import (
    INNER,
    LENGTHS,
    V_,
    V,
    alpha,
    alpha_,
    asserted,
    lam,
    sigma,
    sigma_,
    x,
    z,
)

COS = sp.Symbol(r"{\cos\angle}", positive=True)
COSINE = {COS: (INNER / sp.sqrt(V * V_)).subs(LENGTHS), **LENGTHS}


def _ddim(state, now: tuple, then: tuple):
    """One DDIM step with the optimal denoiser, from levels (α, σ) `now` to `then`."""
    (a, s), (a_, s_) = now, then
    x_hat = a * lam / (a**2 * lam + s**2) * state
    return a_ * x_hat + s_ * (state - a * x_hat) / s


def optimal_denoiser() -> dict[str, sp.Eq]:
    """Prop. 3.1: the posterior mean of x given z = αx + σε is αλz / (α²λ + σ²)."""
    log_posterior = -((z - alpha * x) ** 2) / (2 * sigma**2) - x**2 / (2 * lam)
    (x_hat,) = sp.solve(sp.diff(log_posterior, x), x)  # a mean is a mode here
    remaining = -1 / sp.diff(log_posterior, x, 2)
    return asserted(
        denoiser=(r"\hat x", x_hat, alpha * lam / V * z),
        remaining_variance=(
            r"\operatorname{Var}[x \mid z]",
            remaining,
            lam * sigma**2 / V,
        ),
    )


def ddim_step() -> dict[str, sp.Eq]:
    """Cor. 3.1: one DDIM step with that denoiser is z_{t−1} = ⟨v_{t−1}, v_t⟩ / ‖v_t‖² z_t."""
    stepped = _ddim(z, (alpha, sigma), (alpha_, sigma_))
    return asserted(step=("z_{t-1}", stepped, INNER / V * z))


def composite() -> dict[str, sp.Eq]:
    """Def. 2.1: steps multiply, and with cosines their product telescopes.

    The second identity is the induction step: if P_{i,t−1} = ‖v_i‖ / ‖v_{t−1}‖ times the cosines
    so far, then P_{i,t} = ‖v_i‖ / ‖v_t‖ times one cosine more.
    """
    low = sp.symbols(r"\alpha_{t-2} \sigma_{t-2}", positive=True)
    first, second = sp.symbols("A_t A_{t-1}", positive=True)
    length, cosines = sp.symbols(r"{\lVert{v_i}\rVert} {\prod\cos\angle}", positive=True)
    twice = _ddim(_ddim(z, (alpha, sigma), (alpha_, sigma_)), (alpha_, sigma_), low)
    steps = {
        first: INNER / V,
        second: (low[0] * alpha_ * lam + low[1] * sigma_) / V_,
    }
    return asserted(
        where={key: step.subs(LENGTHS) for key, step in steps.items()},
        multiply=("z_{t-2}", twice, second * first * z),
    ) | asserted(
        where=COSINE,
        telescope=(
            "P_{i,t-1} A_t",
            length / sp.sqrt(V_) * cosines * INNER / V,
            length / sp.sqrt(V) * cosines * COS,
        ),
    )


def contraction() -> dict[str, sp.Eq]:
    """Prop. 3.2: what one step loses in variance is a squared area, so it never gains."""
    area = alpha_ * sigma - alpha * sigma_  # v_{t−1} × v_t over √λ
    return asserted(
        where=COSINE,
        output_variance=(r"A_t^2\, \lVert{v_t}\rVert^2", (INNER / V) ** 2 * V, V_ * COS**2),
        sine=(r"\sin^2\angle", 1 - COS**2, lam * area**2 / (V * V_)),
    )


def below_the_flow() -> dict[str, sp.Eq]:
    """The teacher's step A_t is at most the exact flow's F_t = ‖v_{t−1}‖ / ‖v_t‖, so P ≤ F.

    A plan whose S lies below P is therefore off from the flow by its error against the teacher plus
    F − P, which all plans share. One whose S lies above P has the two against each other.
    """
    area = alpha_ * sigma - alpha * sigma_
    return asserted(
        step=("F_t^2 - A_t^2", V_ / V - (INNER / V) ** 2, lam * area**2 / V**2),
    )
