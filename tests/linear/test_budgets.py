"""A total training time shared by a plan's merges, instead of one time for each merge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

import strategies
from tdmlib.linear import (
    canonical_plan,
    composite,
    evaluate,
    flow_map,
    marginal_variance,
    optimal_student,
    phase_boundaries,
    step_operators,
)
from tdmlib.linear.symbolic.every_plan import operator
from tdmlib.schedules import cosine, flow_matching, linear_beta


def shared(plan, schedule, lam, s):
    return evaluate(plan, schedule, lam, s / len(plan.merges))


@given(st.data(), strategies.schedules(least=3), st.booleans(), strategies.times)
def test_however_the_time_is_split_no_plan_beats_vanilla_in_a_pure_phase(data, schedule, below, s):
    boot, van = phase_boundaries(schedule)
    lam = data.draw(st.floats(0, boot)) if below else van * data.draw(st.floats(1, 100))
    plan = data.draw(st.sampled_from(strategies.PLANS[schedule.T]))
    weights = data.draw(st.lists(st.floats(0.01, 1), min_size=6, max_size=6))[: len(plan.merges)]
    variance, P = marginal_variance(schedule, lam), composite(schedule, lam)
    left = {
        (i, j): np.exp(-2 * s * share * variance[j])
        for (i, j), share in zip(plan.merges, np.divide(weights, sum(weights)), strict=True)
    }
    S = operator(plan, list(step_operators(schedule, lam)), left)
    vanilla = evaluate(canonical_plan("vanilla", schedule.T), schedule, lam, s)
    assert abs(vanilla - P) <= abs(S - P) + 1e-14 * max(P, 1)
    assert (S - vanilla) * (1 if below else -1) >= -1e-14 * max(P, 1)


@pytest.mark.parametrize("T", [3, 4, 5, 6])
@pytest.mark.parametrize("s", [0.01, 0.5, 2.0])
def test_equal_shares_leave_vanilla_best_outside_a_part_of_the_mixed_phase(T, s):
    schedule, (boot, van) = cosine(T), phase_boundaries(cosine(T))
    lams = np.concatenate(
        [np.linspace(0, boot, 60), np.linspace(boot, van, 401), np.geomspace(van, 60, 60)]
    )
    P = composite(schedule, lams)
    error = {p: abs(shared(p, schedule, lams, s) - P) for p in strategies.PLANS[T]}
    excess = error[canonical_plan("vanilla", T)] - np.min(list(error.values()), axis=0)
    beaten = excess > 1e-14 * (1 + P)
    mixed = (lams > boot) & (lams < van)
    assert not beaten[~mixed].any()
    assert 0.01 < beaten[mixed].mean() < 0.2  # the exceptions that the book shows
    assert excess.max() < 0.003


def test_the_exception_of_three_steps():
    """Where A_1 A_2 = 1 vanilla is exact and BOOT errs upward, so BOOT's zero is at a larger λ."""
    schedule, s = cosine(3), 0.5
    between = phase_boundaries(schedule)
    vanilla, boot = (canonical_plan(name, 3) for name in ("vanilla", "sequential_boot"))

    def error(plan, lam):
        return shared(plan, schedule, lam, s) - composite(schedule, lam)

    lam = brentq(lambda lam: step_operators(schedule, lam)[:2].prod() - 1, *between, xtol=1e-14)
    A_1, _, A_3 = step_operators(schedule, lam)
    g = np.exp(-s * marginal_variance(schedule, lam)[3])  # γ_3(s/2)
    assert abs(error(vanilla, lam)) < 1e-14
    assert np.isclose(error(boot, lam), (g - g**2) * (A_1 + 1 / A_1 - 2) * A_3, rtol=1e-9)
    zero = brentq(lambda lam: error(boot, lam), lam, between[1], xtol=1e-14)
    assert zero > lam and abs(error(boot, zero)) < 1e-13 < 1e-5 < -error(vanilla, zero)


def test_against_the_flow_the_best_split_of_the_time_depends_on_its_length():
    schedule, lam, plans = cosine(5), 0.8, strategies.PLANS[5]
    target, best = flow_map(schedule, lam), {}
    for s in (0.1, 0.5, 6.4):
        off = {p: abs(shared(p, schedule, lam, s) - target) for p in plans}
        best[s] = min(off, key=off.get)
    assert best[0.1] == canonical_plan("vanilla", 5)  # all plans above the flow: the lowest
    assert best[6.4] == canonical_plan("sequential_consistency", 5)  # all below it: the highest
    assert best[0.5] not in [canonical_plan(n, 5) for n in ("vanilla", "sequential_consistency")]


@given(strategies.schedules(), st.floats(1, 100), strategies.times)
def test_against_the_flow_vanilla_stays_best_above_the_upper_boundary(schedule, factor, s):
    lam = factor * phase_boundaries(schedule)[1]
    target = flow_map(schedule, lam)
    off = {p: abs(shared(p, schedule, lam, s) - target) for p in strategies.PLANS[schedule.T]}
    assert off[canonical_plan("vanilla", schedule.T)] <= min(off.values()) + 1e-14 * target


@pytest.mark.parametrize("budget", ["merge", "total"])
@pytest.mark.parametrize(
    "schedule", [cosine(5), flow_matching(4), linear_beta().sub([0, 9, 99, 999])]
)
def test_one_step_more_never_hurts_in_a_pure_phase(schedule, budget):
    boot, van = phase_boundaries(schedule)
    for lam in (0.1 * boot, 0.8 * boot, boot, van, 1.3 * van, 9 * van):
        for s in (0.05, 0.5, 2.0):
            errors = [
                optimal_student(schedule, lam, s, K, budget=budget, method="exhaustive").error
                for K in range(1, schedule.T + 1)
            ]
            assert np.all(np.diff(errors) <= 1e-14 * (1 + lam)), (lam, s)


def test_one_step_more_can_hurt_in_the_mixed_phase_and_against_the_flow():
    schedule = cosine(5)
    boot, van = phase_boundaries(schedule)
    two, three = (optimal_student(schedule, (boot + van) / 2, 0.5, K).error for K in (3, 4))
    assert two < three
    flow = [optimal_student(schedule, 0.8, 0.5, K, reference="flow").error for K in range(1, 6)]
    assert np.all(np.diff(flow) > 0)


@pytest.mark.parametrize("lam", [0.2, 0.8, 3.0])
@pytest.mark.parametrize("method", ["interval", "exhaustive"])
def test_a_student_of_several_steps_puts_a_long_shared_time_into_one_merge(lam, method):
    schedule, s, T = cosine(6), 2.0, 6
    for K in range(1, T):
        found = optimal_student(schedule, lam, s, K, budget="total", method=method)
        merged = [plan.span for plan in found.plans if plan.merges]
        lone = K - 1
        assert merged == ([(lone, T)] if lam < 1 else [(0, T - lone)])
        assert sum(len(plan.merges) for plan in found.plans) == 1
