from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from tdmlib.linear import MergePlan, all_plans, evaluate, residual, step_operators
from tdmlib.linear.interval import Extreme
from tdmlib.schedules import cosine

ENDS = pytest.mark.parametrize("largest", [False, True])


def tables(schedule, lam, s, largest):
    return Extreme.of(step_operators(schedule, lam), residual(schedule, lam, s), largest)


@given(strategies.schedules(), strategies.seeds)
def test_the_range_is_that_of_all_plans(schedule, seed):
    lam, s = strategies.instances(schedule, seed, 20)
    every = strategies.every_operator(schedule, lam, s)
    smallest, largest = (tables(schedule, lam, s, end).operator() for end in (False, True))
    assert np.allclose(smallest, every.min(axis=0), rtol=1e-13, atol=0)
    assert np.allclose(largest, every.max(axis=0), rtol=1e-13, atol=0)


def test_of_two_steps_there_is_one_plan():
    schedule, lam, s = cosine(2), 0.5, 0.3
    (plan,) = all_plans(2)
    for largest in (False, True):
        assert tables(schedule, lam, s, largest).plan() == plan
        assert tables(cosine(1), lam, s, largest).plan() == MergePlan((0,))


@ENDS
@settings(max_examples=30)
@given(schedule=strategies.schedules(4, 5), seed=strategies.seeds)
def test_every_interval_holds_the_extremes_of_its_plans_and_products(largest, schedule, seed):
    lam, s = strategies.instances(schedule, seed, 3)
    T, end, best = schedule.T, tables(schedule, lam, s, largest), np.max if largest else np.min
    plans = {
        (i, j): [evaluate(MergePlan(p.arities, i), schedule, lam, s) for p in all_plans(j - i)]
        for i, j in combinations(range(T + 1), 2)
    }
    rows = {}
    for i, j in sorted(plans, key=lambda span: span[1] - span[0]):
        products = [a * b for m in range(i + 1, j) for a in rows[i, m] for b in plans[m, j]]
        rows[i, j] = plans[i, j] + products
        assert np.allclose(end.operator(i, j), best(plans[i, j], axis=0), rtol=1e-13)
        assert np.allclose(end.products[i, j - i], best(rows[i, j], axis=0), rtol=1e-13)


@ENDS
@given(schedule=strategies.schedules(most=9), lam=strategies.variances, s=strategies.times)
def test_the_plan_attains_what_the_table_says(largest, schedule, lam, s):
    end = tables(schedule, lam, s, largest)
    for i, j in combinations(range(schedule.T + 1), 2):
        plan = end.plan(i, j)
        assert plan.span == (i, j)
        assert np.isclose(evaluate(plan, schedule, lam, s), end.operator(i, j), rtol=1e-13, atol=0)


@ENDS
@given(schedule=strategies.schedules(most=9), lam=strategies.variances, s=strategies.times)
def test_the_factors_attain_the_best_product(largest, schedule, lam, s):
    T, end = schedule.T, tables(schedule, lam, s, largest)
    for span in combinations(range(T), 2):  # nothing that reaches T is ever a factor
        parts = end.factors(span)
        assert [parts[-1][0], parts[0][1]] == list(span)
        assert all(noisier[0] == cleaner[1] for noisier, cleaner in pairwise(parts))
        product = np.prod([end.operator(*part) for part in parts])
        assert np.isclose(product, end.products[span[0], span[1] - span[0]], rtol=1e-13, atol=0)


def test_the_best_factor_of_a_merge_is_a_product_of_plans():
    # not one plan: with L a single sub-plan, as in a binary tree, the range would be too narrow
    schedule, lam, s = cosine(5), 0.5, 0.5
    end = tables(schedule, lam, s, largest=False)
    assert len(end.factors((0, 4))) == 4 and end.operator(0, 4) > 1.05 * end.products[0, 4]


@ENDS
@settings(max_examples=50)
@given(schedule=strategies.schedules(3, 7), data=st.data())
def test_chains_are_the_extreme_products_of_k_plans(largest, schedule, data):
    lam, s = data.draw(strategies.variances), data.draw(strategies.times)
    T, end, best = schedule.T, tables(schedule, lam, s, largest), max if largest else min
    for K in range(1, T + 1):
        products = {
            cuts: np.prod([end.operator(*span) for span in pairwise((0, *cuts, T))])
            for cuts in combinations(range(1, T), K - 1)
        }
        extreme = best(products.values())
        assert np.isclose(end.chain(K)[-1, -1], extreme, rtol=1e-13, atol=0)
        assert np.isclose(products[end.cuts(K)], extreme, rtol=1e-13, atol=0)


@ENDS
def test_instances_side_by_side_are_independent(largest):
    schedule = cosine(9)
    lam, s = strategies.instances(schedule, 0, 12)
    side_by_side = tables(schedule, lam, s, largest)
    part = side_by_side.take([3, 7])
    for k in range(12):
        alone = tables(schedule, lam[k], s[k], largest)
        assert side_by_side.operator()[k] == alone.operator()
    for column, k in enumerate((3, 7)):
        assert part.take(column).plan() == tables(schedule, lam[k], s[k], largest).plan()


def plain(steps, gamma, best):
    """A second implementation: scalars, one interval after the other."""
    T, plans, rows = len(steps), {}, {}
    for n in range(1, T + 1):
        for i in range(T - n + 1):
            j = i + n
            pairs = [(rows[i, m], plans[m, j], gamma[j - 1]) for m in range(i + 1, j)]
            plans[i, j] = best([R * ((1 - g) * L + g) for L, R, g in pairs] or [steps[i]])
            rows[i, j] = best([plans[i, j], *(L * R for L, R, _ in pairs)])
    return plans[0, T]


@ENDS
@pytest.mark.parametrize("lam", [0.0, 0.2, 1.08, 1.5, 2.0, 5.0])
def test_a_plain_second_implementation_agrees_on_32_steps(largest, lam):
    schedule = cosine(32)
    steps, gamma = step_operators(schedule, lam), residual(schedule, lam, 6.4)
    expected = plain(steps, gamma, max if largest else min)
    assert np.isclose(tables(schedule, lam, 6.4, largest).operator(), expected, rtol=1e-14, atol=0)


def test_the_published_range_at_108():
    schedule, lam = cosine(32), 1.08
    teacher = step_operators(schedule, lam).prod()
    low, high = (tables(schedule, lam, 6.4, end).operator() - teacher for end in (False, True))
    assert f"{low:+.1e} {high:+.1e}" == "-2.6e-07 +5.4e-08"
