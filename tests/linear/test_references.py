"""Which plan is best when the exact flow takes the teacher's place."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import strategies
from tdmlib.linear import canonical_plan, composite, evaluate, flow_map, phase_boundaries
from tdmlib.schedules import cosine


def operators(schedule, lam, s):
    plans = strategies.PLANS[schedule.T]
    return plans, np.array([float(evaluate(plan, schedule, lam, s)) for plan in plans])


@given(strategies.schedules(), st.floats(0, 1), strategies.times)
def test_below_the_flow_wants_boot_while_plans_lie_above_it_and_the_worst_once_below(
    schedule, share, s
):
    lam = share * phase_boundaries(schedule)[0]
    plans, S = operators(schedule, lam, s)
    target, rounding = flow_map(schedule, lam), 1e-14 * (1 + S.max())
    assert target >= composite(schedule, lam) - rounding
    off = np.abs(S - target)
    boot = plans.index(canonical_plan("sequential_boot", schedule.T))
    if S[boot] >= target:
        assert off[boot] <= off.min() + rounding
    if (S <= target).all():
        assert off[S.argmax()] <= off.min() + rounding


def test_both_cases_occur_and_so_does_neither():
    target = flow_map(cosine(5), 0.8)
    short, middle, long = (operators(cosine(5), 0.8, s)[1] for s in (0.1, 0.2, 0.5))
    assert short.min() >= target >= long.max()
    assert middle.min() < target < middle.max()


@given(strategies.schedules(), st.floats(1, 100), strategies.times)
def test_above_the_flow_leaves_all_plans_in_the_order_of_the_teacher(schedule, factor, s):
    lam = factor * phase_boundaries(schedule)[1]
    _, S = operators(schedule, lam, s)
    shared = flow_map(schedule, lam) - composite(schedule, lam)
    off = np.abs(S - composite(schedule, lam))
    assert np.allclose(np.abs(S - flow_map(schedule, lam)), off + shared, rtol=1e-12, atol=1e-13)
