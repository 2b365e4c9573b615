import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from tdmlib.linear import composite, evaluate, residual, step_operators
from tdmlib.linear.candidates import TwoEnds, closest_operators, keep_spread, nearest
from tdmlib.linear.interval import Extreme
from tdmlib.linear.search import Search, keep_all
from tdmlib.schedules import cosine


def parts(schedule, lam, s):
    """A_t and γ_t of one variance, with an axis for it."""
    return step_operators(schedule, lam)[:, None], residual(schedule, lam, s)[:, None]


def two_ends(schedule, lam, s):
    steps, gamma = (part[:, 0] for part in parts(schedule, lam, s))
    return Extreme.of(steps, gamma, False), Extreme.of(steps, gamma, True)


# the teacher lies within the range of all plans, where only a search can tell
INSIDE = [(cosine(T), lam, s) for T, lam in ((5, 1.51), (6, 1.42), (7, 1.35)) for s in (0.3, 2.0)]


@pytest.mark.parametrize("instance", INSIDE)
def test_what_is_kept_includes_both_ends_and_the_teachers_neighbours(instance):
    schedule, lam, s = instance
    steps, gamma = parts(schedule, lam, s)
    (values,) = Search(steps, gamma, keep_all).all_plans(0, schedule.T).values
    teacher = composite(schedule, lam)
    assert values.min() < teacher < values.max()
    kept = values[keep_spread(steps, 16)(values[None], 0, schedule.T)]
    assert len(kept) <= 16 and len(set(kept)) == len(kept)
    assert {values.min(), values.max()} <= set(kept)
    assert {values[values >= teacher].min(), values[values <= teacher].max()} <= set(kept)
    assert np.diff(np.sort(kept)).max() < np.ptp(values) / 3  # spread over the range
    few = values[:16]
    assert (keep_spread(steps, 16)(few[None], 0, schedule.T) == np.arange(16)).all()
    same = np.ones((1, 40))
    assert len(keep_spread(steps, 16)(same, 0, schedule.T)) == 1


@settings(max_examples=40)
@given(schedule=strategies.schedules(), seed=strategies.seeds, where=st.floats(-0.1, 1.1))
def test_among_all_plans_the_nearest_is_found_with_any_number_of_merges(schedule, seed, where):
    (lam,), s = strategies.instances(schedule, seed, 1)[0], 0.3
    every = strategies.every_operator(schedule, lam, s)
    target = float(every.min() + where * np.ptp(every))
    found, span = Search(*parts(schedule, lam, s), keep_all), (0, schedule.T)
    merges = np.array([len(plan.merges) for plan in strategies.PLANS[schedule.T]])
    for count in (None, *range(1, schedule.T)):
        those = every if count is None else every[merges == count]
        plan = nearest(found, target, span, count)
        assert count in (None, len(plan.merges))
        off = abs(evaluate(plan, schedule, lam, s) - target)
        assert np.isclose(off, np.abs(those - target).min(), rtol=0, atol=1e-14 * every.max())
    assert nearest(found, target, span, schedule.T) is None


@pytest.mark.parametrize("instance", INSIDE)
def test_a_search_is_at_least_as_close_as_both_ends(instance):
    schedule, lam, s = instance
    ends, target = two_ends(schedule, lam, s), float(composite(schedule, lam))
    off = min(abs(end.operator() - target) for end in ends)
    spread = Search(*parts(schedule, lam, s), keep_spread(parts(schedule, lam, s)[0], 32))
    for search in (TwoEnds(*ends), spread):
        plan = nearest(search, target, (0, schedule.T))
        assert abs(evaluate(plan, schedule, lam, s) - target) < off


@pytest.mark.parametrize("T", [8, 9])
def test_the_search_comes_near_the_best_of_all_plans(T):
    ratios = []
    for lam in np.linspace(1.28, 1.30, 8) + (8 - T) * 0.03:
        schedule, s = cosine(T), 1.0
        steps, gamma = parts(schedule, lam, s)
        target = composite(schedule, lam)
        (every,) = Search(steps, gamma, keep_all).all_plans(0, T).values
        assert every.min() < target < every.max()
        plan = nearest(Search(steps, gamma, keep_spread(steps, 32)), float(target), (0, T))
        off = abs(evaluate(plan, schedule, lam, s) - target)
        least = np.abs(every - target).min()
        assert least <= off * (1 + 1e-9) + 1e-15 and off < 1e-2 * np.ptp(every)
        ratios.append(off / least)
    assert np.median(ratios) < 10


@given(strategies.schedules(3, 9), strategies.seeds)
def test_two_ends_name_the_plans_of_their_values(schedule, seed):
    (lam,), s = strategies.instances(schedule, seed, 1)[0], 0.3
    T, ends = schedule.T, TwoEnds(*two_ends(schedule, lam, s))
    m, g = T - 1 - seed % (T - 1), residual(schedule, lam, s)[-1]
    rows, plans = ends.all_rows(0, m), ends.all_plans(m, T)
    for k, row in enumerate(rows.places):
        n = k % len(plans.places)
        plan = ends.joined((0, m, row), (m, T, plans.places[n]))
        expected = plans.values[0, n] * ((1 - g) * rows.values[0, k] + g)
        assert np.isclose(evaluate(plan, schedule, lam, s), expected, rtol=1e-13, atol=0)


@given(strategies.schedules(3, 6), strategies.seeds)
def test_the_closest_operators_are_those_of_plans_and_closer_than_both_ends(schedule, seed):
    lam, s = strategies.instances(schedule, seed, 10)
    steps, gamma = step_operators(schedule, lam), residual(schedule, lam, s)
    ends = [Extreme.of(steps, gamma, largest) for largest in (False, True)]
    target = composite(schedule, lam)
    operators = closest_operators(ends, target)
    every = strategies.every_operator(schedule, lam, s)
    assert (np.abs(every - operators).min(axis=0) <= 1e-13 * operators).all()
    for end in ends:
        farther = np.abs(end.operator() - target)
        assert (np.abs(operators - target) <= farther + 1e-13 * operators).all()
