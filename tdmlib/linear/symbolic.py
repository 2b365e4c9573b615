"""The propositions and theorems of Part I, derived in SymPy.

Each function derives one statement and returns the identities that it has asserted, as a dict
from a short name to `sympy.Eq`. A failed derivation raises AssertionError.
"""

import sympy as sp

lam, s = sp.symbols("lambda s", positive=True)
x, z, gamma = sp.symbols("x z gamma", real=True)
alpha, sigma = sp.symbols("alpha_t sigma_t", positive=True)
alpha_, sigma_ = sp.symbols(r"\alpha_{t-1} \sigma_{t-1}", positive=True)

INNER = alpha_ * alpha * lam + sigma_ * sigma  # ⟨v_{t−1}, v_t⟩
V, V_ = sp.symbols(  # how the squared lengths are shown
    r"{\lVert{v_t}\rVert^2} {\lVert{v_{t-1}}\rVert^2}", positive=True
)
LENGTHS = {V: alpha**2 * lam + sigma**2, V_: alpha_**2 * lam + sigma_**2}


def asserted(where=LENGTHS, simplify=sp.simplify, **sides: tuple) -> dict[str, sp.Eq]:
    """Each triple (LaTeX name, left, right) as "name = right", once left − right is zero.

    Abbreviations in `where` are written out for the check and stay in what is shown.
    """
    for name, (_, left, right) in sides.items():
        gap = simplify((left - right).subs(where))
        assert gap == 0, f"{name}: {left} ≠ {right}"
    return {
        name: sp.Eq(sp.Symbol(f"{{{shown}}}"), right, evaluate=False)
        for name, (shown, _, right) in sides.items()
    }


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
    x_hat = alpha * lam / V * z
    eps_hat = (z - alpha * x_hat) / sigma
    stepped = alpha_ * x_hat + sigma_ * eps_hat
    return asserted(step=("z_{t-1}", stepped, INNER / V * z))


def contraction() -> dict[str, sp.Eq]:
    """Prop. 3.2: what one step loses in variance is a squared area, so it never gains."""
    area = alpha_ * sigma - alpha * sigma_  # v_{t−1} × v_t over √λ
    cos = sp.Symbol(r"{\cos\angle}", positive=True)
    return asserted(
        where={cos: (INNER / sp.sqrt(V * V_)).subs(LENGTHS), **LENGTHS},
        output_variance=(r"A_t^2\, \lVert{v_t}\rVert^2", (INNER / V) ** 2 * V, V_ * cos**2),
        sine=(r"\sin^2\angle", 1 - cos**2, lam * area**2 / (V * V_)),
    )


def student_flow() -> dict[str, sp.Eq]:
    """Prop. 3.3: gradient flow on E(az − bz)² is exponential interpolation from a(0) to b."""
    a, u = sp.Function("a"), sp.Symbol("u")
    start, b = sp.symbols(r"{\hat{A}(0)} B", positive=True)
    velocity = -sp.diff(V * (u - b) ** 2, u)  # the loss is E(uz − bz)² with E z² = V
    flow = sp.Eq(a(s).diff(s), velocity.subs(u, a(s)))
    solution = sp.dsolve(flow, a(s), ics={a(0): start}).rhs
    left = sp.exp(-2 * s * V)
    return asserted(student=(r"\hat{A}(s)", solution, (1 - left) * b + left * start))


def merge_identity() -> dict[str, sp.Eq]:
    """The identity behind Thms. 4.2 and 4.3: what splitting ab into two merges does."""
    a, b = sp.symbols("a b", positive=True)

    def f(value):
        return (1 - gamma) * value + gamma

    return asserted(
        split=(
            "f(a)f(b) - f(ab)",
            f(a) * f(b) - f(a * b),
            -gamma * (1 - gamma) * (1 - a) * (1 - b),
        ),
        error=("f(a) - a", f(a) - a, gamma * (1 - a)),
    )


def step_below_one() -> dict[str, sp.Eq]:
    """A_j ≤ 1 exactly when λ ≤ ρ_j, and ρ_j > 1: the sign of 1 − A_j, and ρ_j by its angles."""
    rho, theta, theta_ = sp.symbols(r"\rho_j \theta_j \theta_{j-1}", positive=True)
    formula = sigma * (sigma - sigma_) / (alpha * (alpha_ - alpha))
    angles = {
        alpha: sp.cos(theta),
        sigma: sp.sin(theta),
        alpha_: sp.cos(theta_),
        sigma_: sp.sin(theta_),
    }
    middle = sp.Symbol(r"{\tfrac{\theta_j + \theta_{j-1}}{2}}", positive=True)
    sign = asserted(
        where={rho: formula, **LENGTHS},
        sign=("1 - A_j", 1 - INNER / V, alpha * (alpha_ - alpha) / V * (rho - lam)),
    )
    named_by_j = {
        symbol: sp.Symbol(symbol.name.replace("_t", "_j").replace("_{t", "_{j"), positive=True)
        for symbol in (alpha, alpha_, V)
    }
    return {name: equation.xreplace(named_by_j) for name, equation in sign.items()} | asserted(
        where={middle: (theta + theta_) / 2},
        simplify=_simplify_trigonometric,
        angles=(r"\rho_j", formula.subs(angles), sp.tan(theta) / sp.tan(middle)),
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
        _simplify_trigonometric,
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


def _simplify_trigonometric(expression):
    """Rational in p = e^{iφ/2} for each angle φ, so that zero is decidable."""
    halves = {angle: 2 * sp.log(sp.Symbol(f"p{k}")) / sp.I
              for k, angle in enumerate(sorted(expression.free_symbols, key=str))}  # fmt: skip
    exponentials = expression.rewrite(sp.exp).subs(halves)
    return sp.simplify(sp.powsimp(sp.expand_power_exp(exponentials.rewrite(sp.exp))))
