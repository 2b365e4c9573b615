import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from tdmlib.errors import InputError
from tdmlib.linear import (
    canonical_plan,
    composite,
    evaluate,
    phase_boundaries,
    phase_counts,
    step_operators,
    w2_error,
)
from tdmlib.schedules import cosine


@pytest.mark.parametrize("T", [2, 3, 4, 5, 32, 33, 1000, 100_000, 1_000_000])
def test_cosine_boundaries_have_closed_forms(T):
    boot, van = phase_boundaries(cosine(T))
    assert np.isclose(boot, np.tan(np.pi / 4 + np.pi / (4 * T)), rtol=1e-14, atol=0)
    assert np.isclose(van, 1 + 1 / np.cos(np.pi / (2 * T)), rtol=1e-14, atol=0)
    assert 1 < boot <= van * (1 + 1e-14)


@given(strategies.schedules())
def test_boundaries_are_where_the_steps_cross_one(schedule):
    boot, van = phase_boundaries(schedule)
    assert boot > 1
    assert (step_operators(schedule, boot)[:-1] <= 1 + 1e-12).all()
    assert (step_operators(schedule, van)[:-1] >= 1 - 1e-12).all()
    assert step_operators(schedule, boot * 1.001)[:-1].max() > 1
    assert step_operators(schedule, van / 1.001)[:-1].min() < 1


@given(strategies.schedules(), strategies.seeds)
def test_a_phase_is_told_by_the_steps_all_on_one_side_of_one(schedule, seed):
    lam = np.exp(np.random.default_rng(seed).normal(0.3, 0.7, (5, 8)))
    steps = step_operators(schedule, lam)[:-1]  # none is within rounding of 1 for such λ
    low, high = int((steps < 1).all(axis=0).sum()), int((steps > 1).all(axis=0).sum())
    assert phase_counts(schedule, lam) == (low, 40 - low - high, high)


def test_each_boundary_belongs_to_its_pure_phase():
    ends = phase_boundaries(cosine(6))
    assert phase_counts(cosine(6), ends) == (1, 0, 1)
    with pytest.raises(InputError, match="λ"):
        phase_counts(cosine(6), [1.0, -1.0])


def errors(schedule, lam, s):
    teacher = composite(schedule, lam)
    plans = strategies.PLANS[schedule.T]
    return {plan: abs(evaluate(plan, schedule, lam, s) - teacher) for plan in plans}


@given(strategies.schedules(), st.floats(0, 1), strategies.times)
def test_no_plan_beats_boot_up_to_its_boundary(schedule, share, s):
    error = errors(schedule, share * phase_boundaries(schedule)[0], s)
    assert error[canonical_plan("sequential_boot", schedule.T)] <= min(error.values()) + 1e-14


@given(strategies.schedules(), st.floats(1, 100), strategies.times)
def test_no_plan_beats_vanilla_from_its_boundary_on(schedule, factor, s):
    lam = factor * phase_boundaries(schedule)[1]
    error = errors(schedule, lam, s)
    best = min(error.values())
    assert error[canonical_plan("vanilla", schedule.T)] <= best + 1e-14 * composite(schedule, lam)


def test_both_boundaries_are_sharp():
    schedule = cosine(6)
    boot, van = phase_boundaries(schedule)
    for lam, name in ((1.002 * boot, "sequential_boot"), (van / 1.002, "vanilla")):
        error = errors(schedule, lam, 0.5)
        assert error[canonical_plan(name, 6)] > min(error.values()) + 1e-8


def test_boot_is_not_optimal_against_the_flow():
    schedule, lam = cosine(5), 0.8
    error = {
        plan: w2_error(evaluate(plan, schedule, lam, 0.5), schedule, lam, "flow")
        for plan in strategies.PLANS[5]
    }
    assert f"{min(error.values()):.3f}" == "0.036"
    assert f"{error[canonical_plan('sequential_boot', 5)]:.3f}" == "0.112"


def test_phases_need_two_steps():
    with pytest.raises(InputError, match="T ≥ 2"):
        phase_boundaries(cosine(1))
