"""Where a step crosses 1, and the phase boundaries that schedules have in closed form."""

import sympy as sp

from tdmlib.linear.symbolic.identities import (
    INNER,
    LENGTHS,
    V,
    alpha,
    alpha_,
    asserted,
    lam,
    sigma,
    sigma_,
    simplify_trigonometric,
)

T, j = sp.symbols("T j", positive=True)
theta, theta_ = sp.symbols(r"\theta_j \theta_{j-1}", positive=True)
RHO = sigma * (sigma - sigma_) / (alpha * (alpha_ - alpha))
RHO_BY_ANGLES = sp.tan(theta) / sp.tan((theta + theta_) / 2)


def step_below_one() -> dict[str, sp.Eq]:
    """A_j ≤ 1 exactly when λ ≤ ρ_j, and ρ_j > 1: the sign of 1 − A_j, and ρ_j by its angles."""
    rho = sp.Symbol(r"\rho_j", positive=True)
    angles = {
        alpha: sp.cos(theta),
        sigma: sp.sin(theta),
        alpha_: sp.cos(theta_),
        sigma_: sp.sin(theta_),
    }
    middle = sp.Symbol(r"{\tfrac{\theta_j + \theta_{j-1}}{2}}", positive=True)
    sign = asserted(
        where={rho: RHO, **LENGTHS},
        sign=("1 - A_j", 1 - INNER / V, alpha * (alpha_ - alpha) / V * (rho - lam)),
    )
    named_by_j = {
        symbol: sp.Symbol(symbol.name.replace("_t", "_j").replace("_{t", "_{j"), positive=True)
        for symbol in (alpha, alpha_, V)
    }
    return {name: equation.xreplace(named_by_j) for name, equation in sign.items()} | asserted(
        where={middle: (theta + theta_) / 2},
        simplify=simplify_trigonometric,
        angles=(r"\rho_j", RHO.subs(angles), sp.tan(theta) / sp.tan(middle)),
    )


def cosine_boundaries() -> dict[str, sp.Eq]:
    """Cosine schedule, δ = π/2T: λ_BOOT = tan(π/4 + π/4T) and λ_van = 1 + 1/cos(π/2T).

    ρ_j depends on j only through y = sin(2jδ − δ/2) and falls in y. So its maximum is at j = 1,
    where y is least, and its minimum at j = T/2 or (T + 1)/2, where y = cos(δ/2).
    """
    delta, angle = sp.symbols(r"delta {j\delta}", positive=True)
    between, half, y = sp.symbols(
        r"{j\delta-\tfrac{\delta}{2}} {\sin\tfrac{\delta}{2}} y", positive=True
    )
    where = {
        between: angle - delta / 2,
        half: sp.sin(delta / 2),
        y: sp.sin(2 * angle - delta / 2),
    }
    rho = (
        sp.sin(angle) * (sp.sin(angle) - sp.sin(angle - delta))
        / (sp.cos(angle) * (sp.cos(angle - delta) - sp.cos(angle)))
    )  # fmt: skip
    by_tangents, by_y = sp.tan(angle) / sp.tan(between), (y + half) / (y - half)
    return asserted(
        where,
        simplify_trigonometric,
        tangents=(r"\rho_j", rho, by_tangents),
        through_y=(r"\rho_j", by_tangents, by_y),
        boot=(
            r"\lambda_{\mathrm{BOOT}}",
            by_y.subs(y, sp.cos(delta / 2)),
            sp.tan(sp.pi / 4 + delta / 2),
        ),
        vanilla=(
            r"\lambda_{\mathrm{van}}",
            by_tangents.subs({angle: delta, between: delta / 2}),
            1 + 1 / sp.cos(delta),
        ),
    )


def clean_end() -> dict[str, sp.Eq]:
    """The first step's ρ_1 bounds λ_van from below: 1 + 1/α_1 > 2 where σ_0 = 0.

    Where σ_0 > 0 it is less: near the clean end ρ_1 = tan θ_1 / tan ½(θ_0 + θ_1) tends to
    2 / (1 + σ_0/σ_1).
    """
    first, ratio, small = sp.symbols(r"alpha_1 {\tfrac{\sigma_0}{\sigma_1}} x", positive=True)
    clean = {alpha_: 1, sigma_: 0, sigma: sp.sqrt(1 - first**2), alpha: first}
    near = sp.limit(RHO_BY_ANGLES.subs({theta: small, theta_: ratio * small}), small, 0)
    return asserted(
        first_step=(r"\rho_1", RHO.subs(clean), 1 + 1 / first),
        noisy_start=(r"\lim_{\theta_1 \to 0} \rho_1", near, 2 / (1 + ratio)),
    )


def many_steps() -> dict[str, sp.Eq]:
    """Inside the schedule ρ_j = 1 + Δθ / sin 2θ_j + O(Δθ²), so λ_BOOT falls to 1 like 1/T.

    With β_j = 1 − α_j²/α_{j−1}² a step turns the angle by β / 2 tan θ + O(β²), and the excess is
    β / 4σ².
    """
    step, beta = sp.symbols(r"{\Delta\theta} beta", positive=True)
    rho = RHO_BY_ANGLES.subs(theta_, theta - step)
    excess = sp.diff(rho, step).subs(step, 0)
    before = sp.cos(theta) / sp.sqrt(1 - beta)  # α_{j−1} = cos(θ_j − Δθ), so dα_{j−1} = sin θ_j dΔθ
    turn = sp.diff(before, beta).subs(beta, 0) / sp.sin(theta)
    noise = sp.Symbol(r"{\sigma_j^2}", positive=True)
    return asserted(
        where={noise: sp.sin(theta) ** 2},
        by_angle=(r"\partial\rho_j / \partial\Delta\theta", excess, 1 / sp.sin(2 * theta)),
        by_beta=(r"\partial\rho_j / \partial\beta_j", excess * turn, 1 / (4 * noise)),
    )


def flow_matching_boundaries() -> dict[str, sp.Eq]:
    """Flow matching on T equal steps, z = (1 − u) x + u ε divided by its length n_j, u = j/T.

    ρ_1 is λ_van. λ_BOOT is the ρ_j whose two levels lie evenly about u = ½, or the one with u_j = ½
    if T is even. (That these are the extremes is tested, not derived.)
    """
    n, n_ = sp.symbols("n_j n_{j-1}", positive=True)
    lengths = {
        n: sp.sqrt(sp.expand(j**2 + (T - j) ** 2)),
        n_: sp.sqrt(sp.expand((j - 1) ** 2 + (T - j + 1) ** 2)),
    }
    rho = RHO.subs(
        {alpha: (T - j) / n, sigma: j / n, alpha_: (T - j + 1) / n_, sigma_: (j - 1) / n_}
    )

    def at(level):
        return rho.subs(lengths).subs(j, level)

    return asserted(
        lengths,
        lambda gap: sp.expand(sp.numer(sp.together(gap))),
        every=(r"\rho_j", rho, 1 + T * n / ((T - j) * (j * n_ + (j - 1) * n))),
        odd=(r"\rho_{(T+1)/2}", at((T + 1) / 2), (T + 1) / (T - 1)),
        even=(r"\rho_{T/2}", at(T / 2), (2 + sp.sqrt(T**2 + 4)) / T),
        first=(r"\rho_1", at(1), 1 + sp.sqrt((T - 1) ** 2 + 1) / (T - 1)),
    )
