"""Matching of linear students: divergences, flows and fake scores as identities (the bridge).

x_{t_i} = b z with Var z = V is diffused to x_τ = r x_{t_i} + β ε, of variance p = r² b² V + β²; the
teacher's law there has variance q. Expectations are those of jointly Gaussian variables.
"""

import sympy as sp

from tdmlib.linear.symbolic.identities import alpha, asserted, lam, sigma

b, h, e, m, r, beta = sp.symbols("b h e m r beta", positive=True)
V, p, q, a, ell = sp.symbols(r"V p q a \ell", positive=True)
eta, rho = sp.symbols("eta rho", positive=True)
z, noise = sp.symbols("z epsilon", real=True)
alpha_tau, sigma_tau = sp.symbols(r"\alpha_\tau \sigma_\tau", positive=True)
alpha_i, sigma_i = sp.symbols(r"\alpha_i \sigma_i", positive=True)
alpha_u, sigma_u = sp.symbols(r"\alpha_u \sigma_u", positive=True)
wanted = sp.Symbol("{m_*}", positive=True)  # ‖v_{t_i}‖²
X_TAU = r * b * z + beta * noise
P = r**2 * b**2 * V + beta**2
FORWARD = {p: P, sigma_tau: sp.sqrt(beta**2 + r**2 * sigma_i**2), alpha_tau: r * alpha_i}
KL = (p / q - 1 - sp.log(p / q)) / 2


def _mean(expression):
    """E of a quadratic form in z and ε, independent, of variances V and 1."""
    form = sp.Poly(sp.expand(expression), z, noise)
    return V * form.coeff_monomial(z**2) + form.coeff_monomial(noise**2)


def _expand_logs(gap):
    return sp.simplify(sp.expand_log(gap, force=True))


def diffused_kl() -> dict[str, sp.Eq]:
    """KL of two centred Gaussians, and its slope in the variance m = Var(x_{t_i}).

    The slope has the sign of m less the right variance at every τ: all levels agree on the minimum.
    """
    x = sp.Symbol("x", real=True)
    log_p, log_q = (-(x**2) / (2 * k) - sp.log(2 * sp.pi * k) / 2 for k in (p, q))
    at = {p: r**2 * m + beta**2, q: r**2 * wanted + beta**2}
    return asserted(
        {},
        _expand_logs,
        kl=(r"\mathrm{KL}", sp.expand(log_p - log_q).subs(x**2, p), KL),
    ) | asserted(
        at,
        slope=(
            r"\partial_m \mathrm{KL}",
            sp.diff(KL, p) * r**2,
            r**4 * (m - wanted) / (2 * p * q),
        ),
    )


def score_difference() -> dict[str, sp.Eq]:
    """The gradient of KL as an expectation over samples, in scores and in clean predictions."""
    gap = X_TAU / q - X_TAU / p  # score_ψ − score_φ = −x/p + x/q
    clean = sigma_tau**2 / alpha_tau * gap  # of x̂ = (x + σ² score)/α
    slope = r**2 * b * V * (p - q) / (p * q)
    return asserted(
        FORWARD,
        by_samples=(
            r"\mathbb{E}[\Delta\mathrm{score}\; \partial_b x_\tau]",
            _mean(gap * sp.diff(X_TAU, b)),
            slope,
        ),
        by_divergence=(r"\partial_b \mathrm{KL}", sp.diff(KL.subs(p, P), b), slope),
        in_predictions=(
            r"\mathbb{E}[\Delta\hat x\; z]",
            _mean(clean * z),
            alpha_i * sigma_tau**2 / alpha_tau**2 * slope,
        ),
    )


def matching_flow() -> dict[str, sp.Eq]:
    """Gradient flows of matching, solved: what changes at a constant speed.

    `one_level`: db/ds = −∂_b KL at one τ, m = b² V. `one_step`: K = 1 with the library's loss, τ
    uniform on the cosine schedule; there a = |b| √V, ℓ = √λ, and `mean` is the mean over τ.
    """
    q_tau, p_tau = (r**2 * k + beta**2 for k in (wanted, m))
    m_speed = -2 * V * r**4 * m * (m - wanted) / (p * q)
    a_speed = -2 * V * a * (a - ell) / ((1 + a) * (1 + ell))
    # cos² sin² / ((a² cos² + sin²)(l² cos² + sin²)) dθ is rational in x = tan² θ, with three poles
    x, roots = sp.Symbol("x"), (1, a, ell)
    mean = sum(
        sp.limit(x * (x + k**2) / sp.prod([x + n**2 for n in roots]), x, -(k**2)) / k for k in roots
    )
    level = q * sp.log(m - wanted) - beta**2 * sp.log(m)
    step = (1 + ell) * sp.log(a - ell) - sp.log(a)
    return asserted(
        {p: p_tau, q: q_tau},
        speed=("dm/ds", -4 * m * V * r**4 * (m - wanted) / (2 * p * q), m_speed),
        one_level=(
            r"\tfrac{d}{ds} \ln \bigl((m - m_*)^q m^{-\beta^2}\bigr)",
            sp.diff(level, m) * m_speed,
            -2 * V * r**4 * wanted / q,
        ),
        mean=(
            r"\mathbb{E}_\tau[\alpha_\tau^2 \sigma_\tau^2 / pq]",
            mean,
            1 / ((1 + a) * (1 + ell) * (a + ell)),
        ),
        one_step=(
            r"\tfrac{d}{ds} \ln \bigl((a - \ell)^{1 + \ell} / a\bigr)",
            sp.diff(step, a) * a_speed,
            -2 * V * ell / (1 + ell),
        ),
        rate=(
            r"-\partial_a (da/ds)",
            -sp.diff(a_speed, a).subs(a, ell),
            2 * V * ell / (1 + ell) ** 2,
        ),
    )


def fake_targets() -> dict[str, sp.Eq]:
    """The best linear fake score x̂_ψ = c x_τ under each target, by regression on x_τ.

    x_{t_i} = α_i x̂ + σ_i ε̂ with x̂ = h z and ε̂ = e z. The denoised target is off by how far the
    covariance of ε̂ and x_{t_i} is from σ_i, what fresh noise would have.
    """
    step = alpha_i * h + sigma_i * e
    after = sp.sqrt(beta**2 + r**2 * sigma_i**2)
    where = FORWARD | {b: step, p: P.subs(b, step), rho: r * sigma_i / after}
    transition = b * z / alpha_i - alpha_tau * sigma_i**2 / (alpha_i**2 * beta) * noise
    exact = (1 - sigma_tau**2 / p) / alpha_tau

    def best(target):
        return _mean(target * X_TAU) / p

    mix = sp.Matrix([rho * e, beta / sigma_tau])  # ε_mix in z and ε
    tilted = (sp.diag(1 / V, 0) + mix * mix.T).inv()  # covariance under the density ratio, η = 1
    x_tau = sp.Matrix([r * b, beta])
    return asserted(
        where,
        transition=(r"c_{\mathrm{transition}}", best(transition), exact),
        denoised=(
            r"c_{\mathrm{denoised}} - c_{\mathrm{transition}}",
            best(h * z) - exact,
            alpha_tau * sigma_i / (alpha_i**2 * p) * (sigma_i - e * b * V),
        ),
        exact_weight=(
            r"c_{\mathrm{weighted}}",
            h * (tilted * x_tau)[0] / (x_tau.T * tilted * x_tau)[0],
            alpha_tau * h**2 * V / (alpha_tau**2 * h**2 * V + sigma_tau**2),
        ),
    )


def clean_matching() -> dict[str, sp.Eq]:
    """Where each x̂ = h z has the data's variance, h² V = λ, and what x_{t_i} has then.

    The first identity telescopes over the steps. From pure noise it leaves the deviation α√λ + σ at
    every level, so the variance is above that of diffused data by the second.
    """
    kappa = alpha_i - sigma_i * alpha_u / sigma_u
    factor = kappa * sp.sqrt(lam / V) + sigma_i / sigma_u
    return asserted(
        {},
        deviation=(
            r"\operatorname{sd}(x_{t_i}) / \sigma_i",
            factor * sp.sqrt(V) / sigma_i,
            sp.sqrt(V) / sigma_u + sp.sqrt(lam) * (alpha_i / sigma_i - alpha_u / sigma_u),
        ),
        inflation=(
            r"\operatorname{Var}(x_{t_i}) / \lVert{v_{t_i}}\rVert^2",
            (alpha * sp.sqrt(lam) + sigma) ** 2 / (alpha**2 * lam + sigma**2),
            1 + 2 * alpha * sp.sqrt(lam) * sigma / (alpha**2 * lam + sigma**2),
        ),
    )


def shared_fake() -> dict[str, sp.Eq]:
    """One fake score for several laws at τ: it sees the mean of their variances.

    The second identity is the error that this makes in E[Δx̂ z], for the student of variance p_1.
    """
    first, second = sp.symbols("p_1 p_2", positive=True)
    share = sp.Symbol("pi", positive=True)
    pooled = sp.Symbol(r"{\bar p}", positive=True)
    where = {pooled: share * first + (1 - share) * second}
    slopes = [(1 - sigma_tau**2 / k) / alpha_tau for k in (first, second)]
    mixed = share * slopes[0] * first + (1 - share) * slopes[1] * second
    own, shared = slopes[0], (1 - sigma_tau**2 / pooled) / alpha_tau
    return asserted(
        where,
        slope=(r"c_{\mathrm{shared}}", mixed / pooled, shared),
        error=(
            r"\mathrm{error}",
            (shared - own) * r * b * V,
            r * b * V * sigma_tau**2 / alpha_tau * (1 / first - 1 / pooled),
        ),
    )


def weight_moments() -> dict[str, sp.Eq]:
    """Moments of ω = exp(½η(ε² − ε_mix²)), ε_mix = ρε̂ + √(1 − ρ²) ε, for ε̂ ~ N(0, 1).

    A Gaussian integral is the determinant of a precision to the power −½, while that is positive:
    E[ω²] of the density ratio, η = 1, where ρ² < ¼, and given ε̂ where 1 − 2ρ² > 0. At η = 1/d the
    variance of the product over d coordinates falls like ρ²/d.
    """
    share = sp.sqrt(1 - rho**2)
    small = sp.Symbol("x", positive=True)  # 1/d

    def precision(power):
        mix = sp.Matrix([rho, share])
        return sp.eye(2) + power * (mix * mix.T - sp.diag(0, 1))

    def log_ratio(power):  # ln E[ω²]/E[ω]² of one coordinate
        return sp.log(1 - power**2 * rho**2) - sp.log(1 - 4 * power**2 * rho**2) / 2

    variance = sp.limit((sp.exp(log_ratio(small) / small) - 1) / small, small, 0)
    return asserted(
        {},
        mean=(r"\mathbb{E}[\omega]^{-2}", precision(eta).det(), 1 - eta**2 * rho**2),
        square=(r"\mathbb{E}[\omega^2]^{-2}", precision(2 * eta).det(), 1 - 4 * eta**2 * rho**2),
        given=(r"J_{\varepsilon\varepsilon}", precision(2)[1, 1], 1 - 2 * rho**2),
        many=(r"\lim_{d \to \infty} d \operatorname{Var}(\omega)", variance, rho**2),
    )
