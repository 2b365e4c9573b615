import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from tdmlib.errors import InputError
from tdmlib.linear import batch as module
from tdmlib.linear import (
    composite,
    evaluate,
    flow_map,
    marginal_variance,
    optimal_plan,
    optimal_plans,
    phase_boundaries,
)
from tdmlib.schedules import cosine

METHODS = ("auto", "interval", "breakpoints")


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40)
@given(
    schedule=strategies.schedules(most=6),
    seed=strategies.seeds,
    reference=st.sampled_from(["teacher", "flow"]),
)
def test_a_batch_is_never_falsely_certified(method, schedule, seed, reference):
    lam, s = strategies.instances(schedule, seed, 40)
    target = (composite if reference == "teacher" else flow_map)(schedule, lam)
    root = np.sqrt(marginal_variance(schedule, lam)[-1])
    every = strategies.every_operator(schedule, lam, s)
    least = root * np.abs(every - target).min(axis=0)
    rounding = 1e-13 * (root * target + least)
    batch = optimal_plans(schedule, lam, s, method=method, reference=reference)
    assert (batch.error >= least - rounding).all()
    assert (batch.lower_bound <= least + rounding).all()
    assert (batch.error <= least + rounding)[batch.certified].all()
    assert (np.abs(every - batch.operator).min(axis=0) <= 1e-13 * batch.operator).all()
    assert np.allclose(batch.error, root * np.abs(batch.operator - target), rtol=1e-12, atol=0)
    boot, vanilla = phase_boundaries(schedule)
    below = np.where((lam <= boot) & (reference == "teacher"), -1, 0)
    assert (batch.phase == np.where(lam >= vanilla, 1, below)).all()
    assert batch.certified[batch.phase != 0].all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("reference", ["teacher", "flow"])
def test_a_batch_equals_single_plans(method, reference):
    schedule, s = cosine(11), 0.7
    lam = np.array([0.0, 0.3, 1.0, 1.1, 1.2, 1.5, 1.9, 2.2, 50.0])
    batch = optimal_plans(schedule, lam, s, method=method, reference=reference)
    for k, value in enumerate(lam):
        alone = optimal_plan(schedule, value, s, method=method, reference=reference)
        assert batch[k].plan == alone.plan and batch[k].error == alone.error
        assert alone.error <= batch.error[k] + 1e-14
        assert alone.lower_bound >= batch.lower_bound[k] - 1e-14
        if batch.certified[k]:
            assert alone.certified and np.isclose(alone.error, batch.error[k], rtol=0, atol=1e-14)
            assert np.isclose(alone.operator, batch.operator[k], rtol=1e-13)


def test_inside_the_range_a_batch_is_closer_than_both_ends():
    schedule, lam = cosine(7), np.linspace(1.335, 1.38, 10)
    batch, teacher = optimal_plans(schedule, lam, 0.6), composite(schedule, lam)
    ends = np.array([batch[k].bounds for k in range(10)]).T
    assert not batch.certified.any() and (ends[0] < teacher).all() and (teacher < ends[1]).all()
    nearer = np.abs(ends - teacher).min(axis=0)
    assert (np.abs(batch.operator - teacher) < 0.2 * nearer).all()


def test_variances_and_times_broadcast():
    schedule, lam, s = cosine(6), np.array([[0.4], [1.42], [3.0]]), np.array([0.1, 0.5, 1.0, 2.0])
    batch = optimal_plans(schedule, lam, s)
    for name in ("lam", "s", "operator", "error", "lower_bound", "certified", "phase"):
        assert getattr(batch, name).shape == (3, 4)
    for i, j in np.ndindex(3, 4):
        alone = optimal_plans(schedule, lam[i, 0], s[j])
        assert alone.operator.shape == () and alone[()].plan == batch[i, j].plan
        assert alone.operator == batch.operator[i, j] and alone.error == batch.error[i, j]
        plan = batch[i, j]
        assert np.isclose(evaluate(plan.plan, schedule, lam[i, 0], s[j]), plan.operator)
    assert optimal_plans(schedule, lam, 0.5).error.shape == (3, 1)
    assert optimal_plans(schedule, 0.5, s).error.shape == (4,)
    assert optimal_plans(schedule, [], 0.5).error.shape == (0,)


@pytest.mark.parametrize("method", METHODS)
def test_a_large_batch_is_taken_in_parts(method, monkeypatch):
    schedule, lam = cosine(8), np.linspace(0, 3, 50)
    whole = optimal_plans(schedule, lam, 0.5, method=method)
    monkeypatch.setattr(module, "TABLE", 7 * 81)
    parts = optimal_plans(schedule, lam, 0.5, method=method)
    for name in ("operator", "error", "lower_bound"):
        assert np.allclose(getattr(whole, name), getattr(parts, name), rtol=1e-14, atol=1e-17)
    assert (whole.certified == parts.certified).all()


@pytest.mark.parametrize("T", [1, 2, 4096])
@pytest.mark.filterwarnings("error")
def test_extreme_variances_and_times(T):
    lam, s = np.array([0.0, 1e-12, 3.0, 1e12]), np.array([[0.0], [1.0], [1e3]])
    for method in METHODS if T < 4096 else ("auto", "breakpoints"):
        batch = optimal_plans(cosine(T), lam, s, method=method)
        assert np.isfinite(batch.error).all() and batch.certified.all()


def test_bad_input_is_refused_in_one_line():
    schedule = cosine(4)
    for lam, s in ((-1, 1), (np.nan, 1), ("a", 1), (1, -1), (1, [1, np.nan]), (1, "1"), (1, None)):
        with pytest.raises(InputError, match=r"[λs]"):
            optimal_plans(schedule, lam, s)
    with pytest.raises(InputError, match=r"s of shape \(2,\) does not fit λ of shape \(3,\)"):
        optimal_plans(schedule, np.ones(3), np.ones(2))
    with pytest.raises(InputError, match="choose one of auto, interval, breakpoints"):
        optimal_plans(schedule, 1.0, 1.0, method="pareto")
    with pytest.raises(InputError, match="choose 'teacher' or 'flow'"):
        optimal_plans(schedule, 1.5, 1.0, reference="data")
    with pytest.raises(InputError, match="rate = 0"):
        optimal_plans(schedule, 1.5, 1.0, rate=0)
    with pytest.raises(InputError, match="give a full index"):
        optimal_plans(schedule, np.ones((2, 3)), 1.0)[1]
