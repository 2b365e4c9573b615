import numpy as np
import pytest
from hypothesis import given

import strategies
from tdmlib.errors import InputError
from tdmlib.linear import (
    composite,
    flow_map,
    marginal_variance,
    residual,
    signal_noise,
    step_operators,
)
from tdmlib.schedules import cosine


@given(strategies.schedules(), strategies.variances)
def test_a_step_is_ddim_with_the_posterior_mean(schedule, lam):
    for t in range(1, schedule.T + 1):
        alpha, sigma = schedule.alpha[t], schedule.sigma[t]
        z = np.array([1.7])
        x_hat = np.linalg.solve([[alpha**2 * lam + sigma**2]], alpha * lam * z)
        eps_hat = (z - alpha * x_hat) / sigma
        stepped = schedule.alpha[t - 1] * x_hat + schedule.sigma[t - 1] * eps_hat
        assert np.isclose(step_operators(schedule, lam)[t - 1] * z, stepped, rtol=1e-12)


@given(strategies.schedules(), strategies.variances)
def test_a_step_projects_and_the_teacher_contracts(schedule, lam):
    v = signal_noise(schedule, lam)
    length = np.linalg.norm(v, axis=-1)
    cosines = (v[:-1] * v[1:]).sum(-1) / (length[:-1] * length[1:])
    assert np.allclose(step_operators(schedule, lam), length[:-1] / length[1:] * cosines)
    assert np.allclose(length**2, marginal_variance(schedule, lam))
    output = composite(schedule, lam) ** 2 * length[-1] ** 2
    assert np.isclose(output, length[0] ** 2 * np.prod(cosines**2))
    assert output <= length[0] ** 2 * (1 + 1e-12)


@given(strategies.schedules(least=3), strategies.variances)
def test_composites_multiply_and_bound_by_the_flow(schedule, lam):
    whole = composite(schedule, lam)
    for k in range(schedule.T + 1):
        parts = composite(schedule, lam, 0, k) * composite(schedule, lam, k)
        assert np.isclose(parts, whole, rtol=1e-12)
        flow = flow_map(schedule, lam, 0, k) * flow_map(schedule, lam, k)
        assert np.isclose(flow, flow_map(schedule, lam))
    assert whole <= flow_map(schedule, lam) * (1 + 1e-12)


def test_the_teacher_tends_to_the_flow_at_rate_one_over_T():
    gap = [flow_map(cosine(T), 3.0) - composite(cosine(T), 3.0) for T in (500, 1000, 2000)]
    assert np.allclose(np.divide(gap[:-1], gap[1:]), 2, rtol=0.01)


@pytest.mark.parametrize("lam", [0.0, 1e-12, 1.0, 1e12])
@pytest.mark.parametrize("s", [0.0, 6.4, 1e3])
def test_extreme_variances_and_times_stay_finite(lam, s):
    schedule = cosine(64)
    steps, gamma = step_operators(schedule, lam), residual(schedule, lam, s)
    assert steps.shape == gamma.shape == (64,)
    assert np.isfinite(steps).all() and (steps >= 0).all()
    assert ((gamma >= 0) & (gamma <= 1)).all()


def test_residual_follows_a_small_step_gradient_descent():
    schedule, lam, s, dt = cosine(6), 1.7, 0.8, 1e-5
    variance = marginal_variance(schedule, lam)[1:]
    share = np.ones(6)
    for _ in range(round(s / dt)):
        share -= dt * 2 * variance * share
    assert np.allclose(residual(schedule, lam, s), share, rtol=1e-4)
    assert np.allclose(residual(schedule, lam, s, rate=1.0) ** 2, residual(schedule, lam, s))


@pytest.mark.parametrize("shape", [(), (3,), (2, 5)])
def test_every_function_keeps_the_shape_of_lam(shape):
    lam, schedule = np.full(shape, 0.7), cosine(5)
    assert step_operators(schedule, lam).shape == (5, *shape)
    assert residual(schedule, lam, 1.0).shape == (5, *shape)
    assert composite(schedule, lam).shape == shape
    assert signal_noise(schedule, lam).shape == (6, *shape, 2)


@pytest.mark.parametrize("lam", [-1.0, np.nan, np.inf, [1.0, -0.1], "one", "1", 1j, [1 + 0j], True,
                                 np.datetime64(1, "s"), np.timedelta64(1, "s"), None, [[1], [1, 2]],
                                 10**400, [10**5000]])  # fmt: skip
def test_bad_variances_are_refused(lam):
    with pytest.raises(InputError, match="λ"):
        step_operators(cosine(4), lam)


def test_bad_times_rates_and_levels_are_refused():
    for s in (-1.0, np.nan, np.inf, 10**400):
        with pytest.raises(InputError, match=r"s = .* ≥ 0"):
            residual(cosine(4), 1.0, s)
    for rate in (0, -1, np.nan, "2", 10**400):
        with pytest.raises(InputError, match="rate"):
            residual(cosine(4), 1.0, 1.0, rate=rate)
    for i, j in ((-1, 2), (3, 2), (0, 5)):
        with pytest.raises(InputError, match="0 ≤ i ≤ j ≤ T = 4"):
            composite(cosine(4), 1.0, i, j)
    for i, j, says in ((0.5, 2, "i = 0.5"), (0, "2", "j = '2'"), (True, 2, "i = True")):
        for f in (composite, flow_map):
            with pytest.raises(InputError, match=f"{says}: must be a whole number"):
                f(cosine(4), 1.0, i, j)


def test_what_is_whole_or_long_is_a_number_all_the_same():
    schedule = cosine(4)
    assert composite(schedule, 2, 1.0, np.int64(3)) == composite(schedule, 2.0, 1, 3)
    assert np.array_equal(step_operators(schedule, 10**30), step_operators(schedule, 1e30))
    assert (residual(schedule, 1.0, 10**300, rate=10**300) == 0).all()


def test_the_flow_from_a_level_to_itself_is_the_identity():
    lam = np.array([0.0, 3.0])
    for t in (0, 2, 4):
        assert np.array_equal(flow_map(cosine(4), lam, t, t), np.ones(2))
    assert np.array_equal(flow_map(cosine(4), lam, 0, 1) > 0, lam > 0)
