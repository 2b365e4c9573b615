"""One plan for a spectrum, against every plan there is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from tdmlib.errors import InputError
from tdmlib.linear import (
    STRATEGIES,
    all_plans,
    canonical_plan,
    evaluate,
    jump_then_boot,
    optimal_plan,
    optimal_student,
    residual,
    step_operators,
    w2_error,
)
from tdmlib.linear.pareto import BLOCK, ParetoFront, front
from tdmlib.schedules import cosine

spectra = st.lists(st.floats(0.05, 20), min_size=2, max_size=5).map(np.array)
UNLIMITED = 10**6


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 3 * BLOCK))
def test_the_front_is_what_nothing_else_equals_or_undercuts(seed, d, n):
    costs = np.random.default_rng(seed).integers(0, 5 + n // 8, (d, n)).astype(float)
    kept = set(front(costs).tolist())
    for k in range(n):
        no_worse = (costs <= costs[:, k : k + 1]).all(axis=0)
        better = no_worse & (costs < costs[:, k : k + 1]).any(axis=0)
        twins = no_worse & ~better
        assert (k in kept) == (not better.any() and twins.argmax() == k)


@given(st.integers(1, 4 * BLOCK), strategies.seeds)
def test_a_front_has_no_length_of_its_own(n, seed):
    """Where each gain in one cost is a loss in the other, nothing goes."""
    gains = np.random.default_rng(seed).permutation(n).astype(float)
    assert sorted(front(np.stack([gains, -gains]))) == list(range(n))


@given(strategies.schedules(least=3), strategies.seeds, st.data())
def test_a_full_front_keeps_what_counts_most_after_the_other_steps(schedule, seed, data):
    """Every other step is taken to be merged into A_T, one by one: f(A_t) each."""
    i = data.draw(st.integers(0, schedule.T - 2))
    j = data.draw(st.integers(i + 2, schedule.T))
    (lam, _), rng = strategies.instances(schedule, seed, 4), np.random.default_rng(seed)
    steps, gamma = step_operators(schedule, lam), residual(schedule, lam, 0.3)[-1]
    weights, values = rng.random(4), rng.random((4, 4))
    direction = rng.choice([-1, 1], 4)
    keep = ParetoFront(steps, gamma, direction, weights[None], cap=1)
    others = np.delete(steps, range(i, j), axis=0)
    rest = np.prod((1 - gamma) * others + gamma, axis=0)
    assert keep(values, i, j).tolist() == [(direction * weights * rest @ values).argmax()]


@settings(max_examples=150)
@given(strategies.schedules(), spectra, strategies.times, st.sampled_from(["teacher", "flow"]))
def test_unthinned_fronts_find_the_best_of_all_plans(schedule, lam, s, reference):
    errors = [
        w2_error(evaluate(plan, schedule, lam, s), schedule, lam, reference)
        for plan in strategies.PLANS[schedule.T]
    ]
    found = optimal_plan(schedule, lam, s, method="pareto", reference=reference, cap=UNLIMITED)
    scale = 1e-13 * (1 + np.linalg.norm(lam))
    assert found.certified and found.cap is None
    assert abs(found.error - min(errors)) < scale
    short = optimal_plan(schedule, lam, s, method="pareto", reference=reference)
    assert short.lower_bound - scale < min(errors) < short.error + scale
    assert not short.certified or short.error < min(errors) + scale


@pytest.mark.parametrize("T", [7, 8, 9])
def test_up_to_nine_steps_it_agrees_with_exhaustion(T):
    rng = np.random.default_rng(T)
    for _ in range(3):
        lam, s = 10 ** rng.uniform(-1, 1, 4), 10 ** rng.uniform(-1.5, 0.5)
        best = optimal_plan(cosine(T), lam, s, method="exhaustive").error
        found = optimal_plan(cosine(T), lam, s, method="pareto", cap=UNLIMITED)
        assert found.certified and np.isclose(found.error, best, rtol=1e-11)


def test_exhaustive_on_a_spectrum_tries_every_plan():
    schedule, lam = cosine(7), np.array([0.3, 1.2, 1.7, 4.0])
    errors = {p: w2_error(evaluate(p, schedule, lam, 0.4), schedule, lam) for p in all_plans(7)}
    found = optimal_plan(schedule, lam, 0.4, method="exhaustive")
    assert found.error == pytest.approx(min(errors.values()), rel=1e-12)
    assert errors[found.plan] == pytest.approx(found.error, rel=1e-12)


@pytest.mark.parametrize(
    ("T", "d", "K", "budget"),
    [(32, 20, 1, "merge"), (32, 100, 1, "merge"), (16, 8, 1, "total"), (12, 5, 2, "merge"),
     (60, 12, 1, "merge"), (60, 12, 3, "merge")],
)  # fmt: skip
def test_larger_ones_keep_within_their_bound_and_beat_the_canonical_strategies(T, d, K, budget):
    schedule, lam, s = cosine(T), np.geomspace(0.05, 8, d), 2.0
    found = optimal_student(schedule, lam, s, K, budget=budget)
    merges = sum(len(plan.merges) for plan in found.plans)
    time = s / merges if budget == "total" else s
    operator = np.prod([evaluate(plan, schedule, lam, time) for plan in found.plans], axis=0)
    assert found.error == pytest.approx(w2_error(operator, schedule, lam), rel=1e-12)
    assert found.lower_bound <= found.error and found.cap
    low, high = found.bounds if T < 60 else (0, np.inf)
    assert (low <= operator * (1 + 1e-12)).all() and (operator <= high * (1 + 1e-12)).all()
    if K == 1 and budget == "merge":
        known = [*(canonical_plan(name, T) for name in STRATEGIES),
                 *(jump_then_boot(m, T) for m in range(T - 1))]  # fmt: skip
        errors = [w2_error(evaluate(plan, schedule, lam, s), schedule, lam) for plan in known]
        assert found.error <= min(errors) * (1 + 1e-12)


def test_a_method_for_one_variance_refuses_a_spectrum():
    for method in ("interval", "breakpoints"):
        with pytest.raises(InputError, match="one variance, not 3; use 'pareto'"):
            optimal_plan(cosine(5), [0.5, 1.0, 2.0], 1.0, method=method)
