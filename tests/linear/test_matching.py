from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import root
from scipy.stats import norm

import strategies
from tdmlib.errors import InputError
from tdmlib.linear import (
    LinearTDM,
    composite,
    flow_map,
    gaussian_kl,
    marginal_variance,
    matched_student,
    weight_variance,
)
from tdmlib.schedules import cosine, scaled_linear_beta

SCHEDULE, LAM = cosine(40), np.array([0.3, 1.0, 5.0])


def inflation(problem, b):
    wanted = marginal_variance(problem.schedule, problem.lam)
    return problem.point_variances(b) / wanted[[i for i, _ in problem.steps]]


@given(st.floats(0.2, 5), st.floats(0.2, 5))
@settings(max_examples=4)
def test_the_divergence_is_its_integral(p, q):
    one, other = norm(scale=p**0.5), norm(scale=q**0.5)
    found = quad(lambda x: one.pdf(x) * (one.logpdf(x) - other.logpdf(x)), -40, 40, limit=200)[0]
    assert np.isclose(gaussian_kl(p, q), found, atol=1e-9)


@given(strategies.schedules(3, 6), strategies.seeds, st.sampled_from(["separate", "full"]))
@settings(max_examples=25)
def test_an_exact_fake_score_descends_the_divergence_of_each_step(schedule, seed, interval):
    """The velocity is −dL/db by differences, L = Σ w_τ KL with w_τ = 2κ α_i σ_τ²/α_τ²."""
    rng = np.random.default_rng(seed)
    lam, T = rng.gamma(1, size=2) + 0.1, schedule.T
    grid = [0, *sorted(rng.choice(np.arange(1, T), rng.integers(0, 3), replace=False)), T]
    if interval == "full":  # a fake score that sees one step only
        grid = [0, T]
    problem = LinearTDM(
        schedule, lam, (grid,), interval, "transition", input_variance=rng.gamma(2, size=2) + 0.1
    )
    b = rng.uniform(0.2, 2, (len(grid) - 1, 2))
    below = problem.point_variances(b) / b**2
    for row, (i, u) in enumerate(pairwise(grid)):
        alpha, sigma = schedule.alpha, schedule.sigma
        tau = np.arange(i + 1, u + 1)
        tau = tau[alpha[tau] > 1e-9]  # at α_τ = 0 every law is the same
        kappa = alpha[i] - alpha[u] * sigma[i] / sigma[u]
        r = (alpha[tau] / alpha[i])[:, None]
        beta2 = (sigma[tau] ** 2)[:, None] - (r * sigma[i]) ** 2
        w = (2 * kappa * alpha[i] * sigma[tau] ** 2 / alpha[tau] ** 2)[:, None] / (u - i)
        q = marginal_variance(schedule, lam)[tau]

        def loss(x, r=r, beta2=beta2, w=w, q=q, row=row):
            return (w * gaussian_kl(r**2 * x**2 * below[row] + beta2, q)).sum(0)

        slope = (loss(b[row] + 1e-5) - loss(b[row] - 1e-5)) / 2e-5
        assert np.allclose(problem.velocity(b)[row], -slope, rtol=1e-4, atol=1e-7)


@given(strategies.schedules(2, 6), strategies.seeds)
@settings(max_examples=30)
def test_the_fixed_point_is_the_flow_for_every_k_and_weight(schedule, seed):
    rng = np.random.default_rng(seed)
    lam, T = rng.gamma(1, size=3) + 1e-3, schedule.T
    start = [None, rng.gamma(1, size=3) + 0.1][seed % 2]
    for K in range(1, T + 1):
        problem = LinearTDM(
            schedule, lam, (K,), fake_target="transition", level_weight=rng.gamma(1, size=T + 1),
            input_variance=start,
        )  # fmt: skip
        b = problem.matched_student()
        assert np.allclose(problem.velocity(b), 0, atol=1e-12)
        assert np.allclose(inflation(problem, b), 1)
        assert np.allclose(
            b.prod(0), np.sqrt(problem.point_variances(b)[0] / problem.input_variance)
        )
        if start is None:
            assert np.allclose(b.prod(0), flow_map(schedule, lam))
            assert (b.prod(0) >= composite(schedule, lam)).all()
        away = b * np.exp(rng.normal(size=b.shape))
        sign = np.sign(inflation(problem, away) - 1)  # rows by themselves: up where too narrow
        moves = problem.velocity(away) * sign
        blind = problem.steps[-1] == (T - 1, T) and schedule.alpha[-1] == 0  # τ = T is pure noise
        assert (moves[: K - blind] < 0).all() and (moves[K - blind :] == 0).all()


def test_the_flow_of_one_step_has_a_closed_form():
    """τ uniform on the cosine schedule: (1 + ℓ) ln|a − ℓ| − ln a falls at the speed 2Vℓ/(1 + ℓ)."""
    problem = LinearTDM(cosine(4000), LAM, (1,), fake_target="transition")
    ell, times = np.sqrt(LAM), np.linspace(0, 4, 9)
    for start in (0.05, 0.5, 3.0):
        a = problem.flow(start * ell[None], times)[:, 0]
        level = (1 + ell) * np.log(abs(a - ell)) - np.log(a)
        assert np.allclose(level - level[0], -2 * times[:, None] * ell / (1 + ell), atol=2e-3)
    b = problem.matched_student()
    rate = -problem.velocity(b * (1 + 1e-6)) / (b * 1e-6)
    assert np.allclose(rate, 2 * ell / (1 + ell) ** 2, rtol=1e-5)


def test_a_student_keeps_its_sign_and_leaves_zero():
    problem = LinearTDM(SCHEDULE, LAM, (2,), fake_target="transition")
    b = problem.matched_student()
    for signs in ([1, 1], [-1, 1], [1, -1], [-1, -1]):
        start = 0.01 * b * np.array(signs)[:, None]
        assert np.allclose(problem.flow(start, [200.0])[0], b * np.array(signs)[:, None], atol=1e-4)
    assert (problem.velocity(0 * b) == 0).all()
    assert (problem.velocity(1e-6 * b) > 0).all()


def brute(problem, b, tau):
    """c_τ from covariance matrices of (z, ε, …), each sample's step by itself."""
    schedule, top, bottom = problem.schedule, 0, 0
    alpha, sigma = schedule.alpha, schedule.sigma
    at = 0
    for grid in problem.grids:
        V, K = problem.input_variance, len(grid) - 1
        for k in range(K - 1, -1, -1):
            i, u, factor = grid[k], grid[k + 1], b[at + k]
            high = schedule.T if problem.interval == "full" else u
            if i + problem.margin <= tau <= high:
                h = (factor - sigma[i] / sigma[u]) / (alpha[i] - alpha[u] * sigma[i] / sigma[u])
                if problem.matched == "clean":
                    x, eps_mix = np.array([alpha[tau] * h, sigma[tau]]), np.array([0.0, 1])
                else:
                    r = alpha[tau] / alpha[i]
                    beta = np.sqrt(sigma[tau] ** 2 - (r * sigma[i]) ** 2)
                    x = np.array([r * factor, beta])
                    eps_mix = (x - [alpha[tau] * h, 0]) / sigma[tau]
                precision = np.diag([1 / V, 1.0])
                precision += problem.tilt * (np.outer(eps_mix, eps_mix) - np.diag([0, 1.0]))
                covariance = np.linalg.inv(precision)
                y = np.array([h, 0])
                if problem.fake_target == "transition" and problem.matched == "noisy":
                    y = (x - [0, sigma[tau] ** 2 / beta]) / alpha[tau]
                share = 1 / (K * (high - i - problem.margin + 1))
                top, bottom = top + share * y @ covariance @ x, bottom + share * x @ covariance @ x
            V = V * factor**2
        at += K
    return top / bottom


@pytest.mark.parametrize(
    "choices",
    [dict(fake_target="transition"), dict(), dict(tilt=0.3), dict(tilt=1.0), dict(matched="clean"),
     dict(matched="clean", fake_target="transition"), dict(interval="full", margin=3),
     dict(interval="full", fake_target="transition"), dict(students=(1, 2, 4)),
     dict(students=(1, 4), fake_target="transition", interval="full")],
)  # fmt: skip
def test_fake_slopes_are_regressions_on_every_sample(choices):
    problem = LinearTDM(SCHEDULE, np.array(2.0), **choices, input_variance=0.7)
    b = np.random.default_rng(0).uniform(0.4, 1.6, len(problem.steps))
    found = problem.fake_slopes(b)
    for tau in (4, 9, 17, 28, 39):
        assert np.isclose(found[tau], brute(problem, b, tau), rtol=1e-10)
    assert np.isnan(found[0])


def test_the_denoised_target_inflates_what_the_last_step_repairs():
    """The gradient ∂x_τ/∂θ brings the factor α_τ: then it is 1.56 to 1.65 at λ = 5, K = 4."""
    schedule = cosine(1000)
    for weight, expected in (
        (schedule.alpha, [1, 1.6492, 1.6438, 1.5567]),
        (None, [1, 1.5900, 1.5844, 1.5110]),
    ):
        problem = LinearTDM(schedule, 5.0, level_weight=weight)
        assert np.allclose(inflation(problem, problem.stationary()), expected, atol=1e-4)


@pytest.mark.parametrize("lam", [0.05, 0.3])
def test_training_ends_where_nothing_moves_and_not_at_a_point_that_repels(lam):
    """Newton's method from exact matching itself ends at points that the flow runs away from."""
    problem = LinearTDM(cosine(400), lam, tilt=1.0)
    b = problem.matched_student()
    end = problem.stationary()
    assert np.allclose(end, problem.flow(b, [400.0])[-1], atol=1e-6)
    repels = root(problem._pull, b).x
    assert np.allclose(problem.velocity(repels), 0, atol=1e-7) and not np.allclose(repels, end)
    with pytest.raises(InputError, match="repels"):
        problem.stationary(repels)


@given(strategies.schedules(3, 6), strategies.seeds)
@settings(max_examples=15)
def test_exact_weights_and_clean_matching_end_at_one_place(schedule, seed):
    """Deviations in units of σ are a line in α/σ, from the input on."""
    rng = np.random.default_rng(seed)
    lam, V, K = rng.gamma(2) + 0.1, rng.gamma(2) + 0.1, rng.integers(1, schedule.T + 1)
    for choices in (dict(tilt=1.0), dict(matched="clean")):
        problem = LinearTDM(schedule, lam, (int(K),), **choices, input_variance=V)
        i = np.array([i for i, _ in problem.steps])
        alpha, sigma = schedule.alpha, schedule.sigma
        deviation = sigma[i] / sigma[-1] * (np.sqrt(V) - alpha[-1] * np.sqrt(lam))
        deviation += alpha[i] * np.sqrt(lam)
        above = np.append(deviation[1:], np.sqrt(V))
        b = deviation / above
        if (deviation > 0).all():
            assert np.allclose(problem.velocity(b), 0, atol=1e-10)
    problem = LinearTDM(SCHEDULE, LAM, (4,), matched="clean")
    i = np.array([i for i, _ in problem.steps])
    deviation = SCHEDULE.alpha[i][:, None] * np.sqrt(LAM) + SCHEDULE.sigma[i][:, None]
    assert np.allclose(problem.point_variances(problem.stationary()), deviation**2)


@pytest.mark.parametrize("K", [1, 3])
def test_clean_matching_ends_at_the_variance_of_the_data_from_any_start(K):
    """dh/ds = −hV (h²V − λ) · 2 mean α²σ²/pq over τ: V is settled from the top step down."""
    problem, rng = LinearTDM(SCHEDULE, LAM, (K,), matched="clean"), np.random.default_rng(K)
    variance = marginal_variance(SCHEDULE, LAM)
    for size in (0.05, 1.0, 4.0):
        h = size * rng.uniform(0.5, 2, (K, 3))
        b = problem.factors(h)
        inputs = problem.point_variances(b) / b**2
        for row, (i, u) in enumerate(problem.steps):
            tau, V = np.arange(i + 1, u + 1), inputs[row]
            alpha, sigma = SCHEDULE.alpha[tau, None], SCHEDULE.sigma[tau, None]
            p = (alpha * h[row]) ** 2 * V + sigma**2
            rate = 2 * ((alpha * sigma) ** 2 / (p * variance[tau])).mean(0)
            kappa = SCHEDULE.alpha[i] - SCHEDULE.alpha[u] * SCHEDULE.sigma[i] / SCHEDULE.sigma[u]
            slope = -h[row] * V * (h[row] ** 2 * V - LAM) * rate
            assert np.allclose(problem.velocity(b)[row], kappa * slope)
        for choices in (dict(matched="clean"), dict(tilt=1.0)):  # the exact weight goes there too
            end = LinearTDM(SCHEDULE, LAM, (K,), **choices).flow(b, [300.0])[0]
            inputs = problem.point_variances(end) / end**2
            assert np.allclose(problem.predictions(end) ** 2 * inputs, LAM, rtol=1e-3)
            assert (problem.predictions(end) > 0).all()


def test_a_fake_score_blind_to_k_has_a_line_of_fixed_points():
    problem = LinearTDM(SCHEDULE, LAM, (1, 2), fake_target="transition")
    assert problem.steps == [(0, 40), (0, 20), (20, 40)]
    alpha, q = SCHEDULE.alpha[20], marginal_variance(SCHEDULE, LAM)
    for share in (0.4, 1.0, 1.6):
        one = share * LAM  # and the mean over K is right, at level 0 and where K = 2 lands between
        middle = q[20] + alpha**2 * (LAM - one)
        b = np.sqrt([one, (2 * LAM - one) / middle, middle])
        assert np.allclose(problem.velocity(b), 0, atol=1e-12)
    ends = [
        problem.point_variances(problem.flow(c * problem.matched_student(), [400.0])[0])
        for c in (np.array([[0.6], [1], [1]]), np.array([[1.5], [1], [1]]))
    ]
    assert not np.allclose(*ends, rtol=0.3)
    assert all(np.allclose(end[:2].mean(0), LAM, rtol=1e-3) for end in ends)


@pytest.mark.parametrize("K", [2, 4])
def test_overlapping_intervals_leave_one_attracting_fixed_point(K):
    problem = LinearTDM(SCHEDULE, LAM, (K,), "full", "transition")
    b = problem.matched_student()
    assert np.allclose(problem.velocity(b), 0, atol=1e-12)
    for n, lam in enumerate(LAM):
        one = LinearTDM(SCHEDULE, lam, (K,), "full", "transition")
        steps = np.eye(K) * 1e-6
        J = np.array(
            [(one.velocity(b[:, n] + d) - one.velocity(b[:, n] - d)) / 2e-6 for d in steps]
        )
        assert np.linalg.eigvals(J.T).real.max() < 0
    wrong = b * np.array([3.0, *[1.0] * (K - 1)])[:, None]  # only the last step is off
    assert (problem.velocity(wrong)[1:] < -1e-3).all()  # yet all others are pushed away
    away = b * np.exp(np.random.default_rng(K).normal(size=b.shape) / 2)
    assert np.allclose(problem.flow(away, [400.0])[0], b, rtol=0.03)


@given(st.integers(0, 38), st.integers(1, 40), st.floats(0, 1), st.floats(0.3, 2))
@settings(max_examples=40)
def test_the_weights_variance_is_a_gaussian_integral(i, above, eta, v):
    tau = min(i + above, 40)
    rho = SCHEDULE.alpha[tau] / SCHEDULE.alpha[i] * SCHEDULE.sigma[i] / SCHEDULE.sigma[tau]
    mix = np.array([rho, np.sqrt(1 - rho**2)])

    def moment(power):  # E exp(½ power (ε² − ε_mix²)) by the eigenvalues of its precision
        J = np.diag([1 / v, 1.0]) + power * (np.outer(mix, mix) - np.diag([0, 1.0]))
        low = np.linalg.eigvalsh(J)
        return np.inf if low[0] <= 1e-12 else 1 / np.sqrt(v * low.prod())

    square, once = moment(2 * eta), moment(eta)
    found = weight_variance(SCHEDULE, i, tau, eta, 1, v)
    assert np.isinf(found) if np.isinf(square) else np.isclose(1 + found, square / once**2)


def test_the_scripts_weight_does_nothing_and_the_exact_one_has_no_variance():
    schedule, d = scaled_linear_beta(), 16384
    for i in (225, 450, 675):
        previous = np.inf
        for tau in range(i + 1, min(i + 225, 891), 16):
            rho2 = (
                schedule.alpha[tau] / schedule.alpha[i] * schedule.sigma[i] / schedule.sigma[tau]
            ) ** 2
            spread = np.sqrt(weight_variance(schedule, i, tau, 1 / d, d))
            assert np.isclose(spread, np.sqrt(rho2 / d), rtol=1e-3) and spread < 0.008
            exact = weight_variance(schedule, i, tau)
            assert np.isinf(exact) == (1 - rho2 <= 0.75)  # β²/σ_τ² = 1 − ρ²
            assert exact <= previous or np.isinf(exact)
            previous = exact


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: gaussian_kl(0, 1), "a variance is 0"),
        (lambda: gaussian_kl(1, -1), "q = -1"),
        (lambda: gaussian_kl([1, 2], [1, 2, 3]), "does not fit"),
        (lambda: LinearTDM(SCHEDULE, 0.0).stationary(), "λ = 0"),
        (lambda: LinearTDM(SCHEDULE, 1.0).flow(np.ones(4), [np.nan]), "finite training times"),
        (lambda: matched_student(SCHEDULE, 1.0, 41), "K = 41"),
        (lambda: matched_student(SCHEDULE, 1.0, 2, 0.0), "nothing varies"),
        (lambda: LinearTDM(SCHEDULE, -1.0), "λ = -1"),
        (lambda: LinearTDM(SCHEDULE, 1.0, 4), "give a tuple"),
        (lambda: LinearTDM(SCHEDULE, 1.0, interval="all"), "interval 'all'"),
        (lambda: LinearTDM(SCHEDULE, 1.0, tilt=2), "tilt = 2"),
        (
            lambda: LinearTDM(SCHEDULE, 1.0, fake_target="transition", tilt=1.0),
            "tilt = 1: .* wants 0",
        ),
        (lambda: LinearTDM(SCHEDULE, 1.0, matched=None), "matched None .* noisy, clean"),
        (lambda: LinearTDM(SCHEDULE, 1.0, (1, 2)).stationary(), "is one of many"),
        (lambda: LinearTDM(SCHEDULE, 1.0).stationary([0.0, 1, 1, 1]), "where b = 0, .* start from"),
        (lambda: LinearTDM(SCHEDULE, 1.0).stationary([1e3] * 4), "no stationary point found"),
        (lambda: LinearTDM(SCHEDULE, 1.0).stationary([1e-30] * 4), "no stationary point found"),
        (lambda: LinearTDM(SCHEDULE, 1.0, (40,)).stationary(), "is one of many"),
        (lambda: LinearTDM(SCHEDULE, 1.0, margin=11), "margin = 11"),
        (lambda: LinearTDM(SCHEDULE, 1.0, level_weight=np.ones(3)), "level_weight has shape"),
        (lambda: LinearTDM(SCHEDULE, 1.0).velocity(np.ones(3)), "give 4 finite factors"),
        (lambda: LinearTDM(SCHEDULE, 1.0).flow(np.ones(4), [2, 1]), "do not fall"),
        (lambda: weight_variance(SCHEDULE, 5, 5), "tau = 5"),
        (lambda: weight_variance(SCHEDULE, 5, 9, -1), "tilt = -1"),
    ],
)
def test_bad_input_is_refused_in_one_line(make, says):
    with pytest.raises(InputError, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)


@given(st.floats(0.02, 9), st.integers(1, 8), strategies.seeds)
@settings(max_examples=30)
def test_the_first_prediction_follows_the_noise_less_the_more_steps_follow(lam, K, seed):
    schedule = cosine(40)
    problem = LinearTDM(schedule, lam, (K,))
    t = problem.grids[0][-2]
    u = schedule.sigma[t] / schedule.alpha[t]
    gain = problem.predictions(problem.matched_student())[-1]
    assert np.isclose(gain, np.sqrt(lam + u**2) - u)
    # any prediction with which the landing has the right variance follows the noise no more
    rng = np.random.default_rng(seed)
    z = np.linspace(-3, 3, 501)
    z /= z.std()
    x = rng.normal(gain, 1) * z + rng.normal(size=3) @ [z**2, np.sin(3 * z), np.sign(z)]
    x -= x.mean()
    half = u * (x * z).mean() / x.var()
    x *= np.sqrt(half**2 + lam / x.var()) - half  # so that Var x + 2u Cov(x, z) = λ
    landing = schedule.alpha[t] * x + schedule.sigma[t] * z
    assert np.isclose(landing.var(), marginal_variance(schedule, lam)[t])
    assert (x * z).mean() <= gain + 1e-9
