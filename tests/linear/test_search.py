import numpy as np
import pytest
from hypothesis import given, settings

import strategies
from tdmlib.linear import evaluate, residual, step_operators
from tdmlib.linear.interval import Extreme
from tdmlib.linear.merging import MergePlan, all_plans
from tdmlib.linear.search import Search, keep_all
from tdmlib.schedules import cosine


def search(schedule, lam, s, keep=keep_all):
    return Search(step_operators(schedule, lam), residual(schedule, lam, s), keep)


@settings(max_examples=30)
@given(schedule=strategies.schedules(), seed=strategies.seeds)
def test_all_plans_are_found_once_each_with_operator_and_number_of_merges(schedule, seed):
    lam, s = strategies.instances(schedule, seed, 2)[0], 0.3
    found = search(schedule, lam, s)
    whole = found.all_plans(0, schedule.T)
    plans = [found.plan((0, schedule.T, int(place))) for place in whole.places]
    assert len(plans) == len(set(plans)) and set(plans) == set(strategies.PLANS[schedule.T])
    assert [len(plan.merges) for plan in plans] == whole.merges.tolist()
    operators = np.stack([evaluate(plan, schedule, lam, s) for plan in plans], axis=1)
    assert np.allclose(whole.values, operators, rtol=1e-13, atol=0)


def test_rows_are_all_products_of_plans():
    schedule, lam, s = cosine(6), np.array([0.4, 1.6]), 0.2
    rows = search(schedule, lam, s).all_rows(1, 5)
    plans = {
        (i, j): [evaluate(MergePlan(p.arities, i), schedule, lam, s) for p in all_plans(j - i)]
        for i in range(1, 5)
        for j in range(i + 1, 6)
    }
    expected = {(i, i): [np.ones(2)] for i in range(1, 6)}
    for n in range(1, 5):
        expected[1, 1 + n] = [
            a * b for m in range(1, 1 + n) for a in expected[1, m] for b in plans[m, 1 + n]
        ]
    assert np.allclose(np.sort(rows.values), np.sort(np.stack(expected[1, 5], axis=1)), rtol=1e-13)


def test_a_row_and_a_plan_are_joined_by_one_merge():
    schedule, lam, s = cosine(6), np.array([1.3]), 0.2
    found = search(schedule, lam, s)
    rows, plans = found.all_rows(0, 4), found.all_plans(4, 6)
    g = residual(schedule, lam, s)[5]
    for row, value in zip(rows.places, rows.values.T, strict=True):
        plan = found.joined((0, 4, int(row)), (4, 6, int(plans.places[0])))
        expected = plans.values[:, 0] * ((1 - g) * value + g)
        assert np.allclose(evaluate(plan, schedule, lam, s), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("largest", [False, True])
def test_keeping_one_extreme_is_the_dynamic_program_of_the_range(largest):
    schedule, lam, s = cosine(16), np.array([1.3]), 0.5
    best = np.argmax if largest else np.argmin
    found = search(schedule, lam, s, lambda values, i, j: np.array([best(values[0])]))
    whole = found.all_plans(0, 16)
    place = int(best(whole.values[0]))
    end = Extreme.of(step_operators(schedule, lam), residual(schedule, lam, s), largest)
    assert np.isclose(whole.values[0, place], end.operator()[0], rtol=1e-14, atol=0)
    plan = found.plan((0, 16, int(whole.places[place])))
    assert np.isclose(evaluate(plan, schedule, lam, s)[0], end.operator()[0], rtol=1e-14)


def test_places_name_candidates_however_few_are_kept():
    schedule, lam, s = cosine(7), np.array([1.5, 0.4]), 0.4
    rng = np.random.default_rng(0)

    def some(values, i, j):
        n = values.shape[1]
        return np.sort(rng.choice(n, size=min(n, 3), replace=False))

    found = search(schedule, lam, s, some)
    whole = found.all_plans(0, 7)
    for place, merges, value in zip(whole.places, whole.merges, whole.values.T, strict=True):
        plan = found.plan((0, 7, int(place)))
        assert np.allclose(evaluate(plan, schedule, lam, s), value, rtol=1e-13)
        assert len(plan.merges) == merges


def test_a_place_beyond_the_candidates_is_an_error():
    with pytest.raises(IndexError):
        search(cosine(4), np.array([1.0]), 1.0).plan((0, 4, 11))
