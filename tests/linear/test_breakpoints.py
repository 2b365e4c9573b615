import json
import pickle
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given

import strategies
from tdmlib.linear import MergePlan, canonical_plan, composite, evaluate, residual, step_operators
from tdmlib.linear.breakpoints import (
    CHUNK,
    GroupSearch,
    breakpoint_plan,
    extreme_plan,
    extreme_products,
    jumps_then_boot,
    suffix_products,
)
from tdmlib.linear.interval import Extreme
from tdmlib.linear.search import keep_all
from tdmlib.schedules import cosine

ENDS = pytest.mark.parametrize("largest", [False, True])


def groupings(T):
    """All plans that train the student at T alone, 2^(T − 2) of them, by brute force."""
    levels = range(1, T - 1)
    return [breakpoint_plan(c, T) for count in range(T - 1) for c in combinations(levels, count)]


@pytest.mark.parametrize("T", [2, 3, 4, 7])
def test_groupings_are_the_plans_whose_merges_all_end_at_T(T):
    trained_at_T = {p for p in strategies.PLANS[T] if all(j == T for _, j in p.merges)}
    assert set(groupings(T)) == trained_at_T and len(trained_at_T) == 2 ** (T - 2)
    assert breakpoint_plan((), T) == canonical_plan("vanilla", T)
    assert breakpoint_plan(range(1, T - 1), T) == canonical_plan("sequential_boot", T)
    assert all([0, *(i for i, _ in p.merges)].count(0) == 2 for p in trained_at_T)


@pytest.mark.parametrize("T", [4, 7])
def test_a_plan_breaks_at_its_levels(T):
    for count in range(T - 1):
        for levels in combinations(range(1, T - 1), count):
            reached = [i for i, _ in breakpoint_plan(levels, T).merges]
            assert reached == [*reversed(levels), 0]


@ENDS
@given(schedule=strategies.schedules(most=8), seed=strategies.seeds)
def test_the_extremes_are_those_of_all_groupings(largest, schedule, seed):
    lam, s = strategies.instances(schedule, seed, 6)
    steps, gamma = step_operators(schedule, lam), residual(schedule, lam, s)[-1]
    every = np.array([evaluate(plan, schedule, lam, s) for plan in groupings(schedule.T)])
    expected = every.max(axis=0) if largest else every.min(axis=0)
    products = extreme_products(steps, gamma, largest)
    assert np.allclose(steps[-1] * products[0], expected, rtol=1e-13, atol=0)
    plan = extreme_plan(steps[:, 0], gamma[0], largest)
    assert np.isclose(evaluate(plan, schedule, lam[0], s[0]), expected[0], rtol=1e-13, atol=0)


@ENDS
@given(schedule=strategies.schedules(most=9), seed=strategies.seeds)
def test_they_equal_the_range_of_all_plans_where_that_trains_at_T_alone(largest, schedule, seed):
    lam, s = strategies.instances(schedule, seed, 4)
    for lam, s in zip(lam, s, strict=True):  # noqa: B020
        steps, gamma = step_operators(schedule, lam), residual(schedule, lam, s)
        end = Extreme.of(steps, gamma, largest)
        own = steps[-1] * extreme_products(steps[:, None], gamma[-1:], largest)[0, 0]
        if all(j == schedule.T for _, j in end.plan().merges):
            assert np.isclose(own, end.operator(), rtol=1e-13, atol=0)
        beyond = own / end.operator() - 1
        assert (beyond if largest else -beyond) <= 1e-13


def test_that_is_so_in_both_pure_phases_of_32_steps():
    schedule = cosine(32)
    for lam, largest in ((0.1, False), (0.3, False), (1.0, False), (2.1, True)):
        steps, gamma = step_operators(schedule, lam), residual(schedule, lam, 6.4)
        end = Extreme.of(steps, gamma, largest)
        plan = extreme_plan(steps, gamma[-1], largest)
        assert {j for _, j in plan.merges} == {j for _, j in end.plan().merges} == {32}
        assert np.isclose(evaluate(plan, schedule, lam, 6.4), end.operator(), rtol=1e-14, atol=0)


def test_suffix_products_are_composites():
    schedule, lam = cosine(6), np.array([0.0, 0.4, 3.0])
    expected = [composite(schedule, lam, m, 5) for m in range(6)]
    assert np.allclose(suffix_products(step_operators(schedule, lam)), expected, rtol=1e-14)


@given(strategies.schedules(), strategies.seeds)
def test_the_search_finds_every_grouping_once(schedule, seed):
    lam, s = strategies.instances(schedule, seed, 3)[0], 0.3
    found = GroupSearch(step_operators(schedule, lam), residual(schedule, lam, s)[-1], keep_all)
    plans = [found.plan(k) for k in range(found.values.shape[1])]
    assert len(set(plans)) == len(plans) == 2 ** (schedule.T - 2)
    assert [len(plan.merges) for plan in plans] == found.merges.tolist()
    operators = np.stack([evaluate(plan, schedule, lam, s) for plan in plans], axis=1)
    assert np.allclose(found.values, operators, rtol=1e-13, atol=0)


def test_thinned_out_it_still_names_the_plans_of_its_values():
    schedule, lam, s = cosine(12), np.array([1.3]), 0.5
    found = GroupSearch(
        step_operators(schedule, lam), residual(schedule, lam, s)[-1],
        lambda values, m, T: np.arange(values.shape[1])[-2:],
    )  # fmt: skip
    for k, value in enumerate(found.values[0]):
        plan = found.plan(k)
        assert np.isclose(evaluate(plan, schedule, lam, s)[0], value, rtol=1e-14, atol=0)
        assert len(plan.merges) == found.merges[k]


def test_many_instances_go_in_chunks():
    schedule, lam = cosine(8), np.linspace(0, 4, CHUNK + 7)
    steps, gamma = step_operators(schedule, lam), residual(schedule, lam, 0.5)[-1]
    together = extreme_products(steps, gamma, True)
    for k in (0, CHUNK - 1, CHUNK, CHUNK + 6):
        alone = extreme_products(steps[:, [k]], gamma[[k]], True)
        assert np.allclose(together[:, k], alone[:, 0], rtol=1e-15, atol=0)


def test_plans_of_4096_steps():
    schedule, lam, s = cosine(4096), 1.5, 6.4
    steps, gamma = step_operators(schedule, lam), residual(schedule, lam, s)[-1]
    plan = extreme_plan(steps, gamma, largest=True)
    assert plan.span == (0, 4096) and 1 < len(plan.merges) < 4095
    own = steps[-1] * extreme_products(steps[:, None], np.array([gamma]), True)[0, 0]
    assert np.isclose(evaluate(plan, schedule, lam, s), own, rtol=1e-12, atol=0)
    again = MergePlan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan == pickle.loads(pickle.dumps(plan)) and hash(again) == hash(plan)
    assert len(repr(plan)) < 80 and len(str(plan)) < 20_000
    for name in ("vanilla", "sequential_boot"):
        assert evaluate(canonical_plan(name, 4096), schedule, lam, s) <= own * (1 + 1e-12)


@given(strategies.schedules(), strategies.variances, strategies.times)
def test_jumps_then_boot_are_the_operators_of_those_plans(schedule, lam, s):
    steps, gamma = step_operators(schedule, [lam]), residual(schedule, [lam], s)
    jumps = jumps_then_boot(steps, gamma[-1])
    plans = [breakpoint_plan(range(1, m + 1), schedule.T) for m in range(schedule.T - 1)]
    assert np.allclose(jumps, [evaluate(plan, schedule, [lam], s) for plan in plans], rtol=1e-13)
    for place, name in ((0, "vanilla"), (-1, "sequential_boot")):
        assert plans[place] == canonical_plan(name, schedule.T)
