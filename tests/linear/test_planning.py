import json
import pickle
from itertools import combinations, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from tdmlib.errors import InputError
from tdmlib.linear import (
    MergePlan,
    all_plans,
    canonical_plan,
    composite,
    evaluate,
    flow_map,
    marginal_variance,
    methods,
    optimal_plan,
    optimal_plans,
    optimal_student,
    phase_boundaries,
    w2_error,
)
from tdmlib.schedules import Schedule, cosine

METHODS = ("auto", "interval", "breakpoints", "exhaustive")
CHOICES = list(product(("teacher", "flow"), ("merge", "total")))


def root_variance(schedule, lam):
    return np.sqrt(marginal_variance(schedule, lam)[-1])


def least_errors(schedule, lam, s, reference, budget):
    """The least error of any plan for each (λ, s), and what rounding may make of it."""
    target = (composite if reference == "teacher" else flow_map)(schedule, lam)
    operators, root = (
        strategies.every_operator(schedule, lam, s, budget),
        root_variance(schedule, lam),
    )
    least = root * np.abs(operators - target).min(axis=0)
    return least, 1e-13 * (root * target + least)


def verify(result, schedule, lam, s, least, rounding, **choice):
    """An honest result: its plan does what it says, and what it claims holds of all plans."""
    assert np.isclose(result.error, student_error(result.plans, schedule, lam, s, **choice))
    assert result.error >= least - rounding
    assert result.lower_bound <= least + rounding
    if result.certified:
        assert result.error <= least + rounding
    assert np.isclose(result.gap, result.error - result.lower_bound, rtol=0, atol=rounding)


def student_error(plans, schedule, lam, s, reference="teacher", budget="merge"):
    merges = sum(len(plan.merges) for plan in plans)
    each = s / max(merges, 1) if budget == "total" else s
    S = np.prod([evaluate(plan, schedule, lam, each) for plan in plans], axis=0)
    return w2_error(S, schedule, lam, reference)


@pytest.mark.parametrize("exhaustive", [9, 1])
@pytest.mark.parametrize(("reference", "budget"), CHOICES)
def test_auto_is_never_falsely_certified(reference, budget, exhaustive, monkeypatch):
    # 2,000 cases; with the search through all plans switched off, `auto` works as it does for T > 9
    monkeypatch.setattr(methods, "EXHAUSTIVE", exhaustive)
    certified = []

    @settings(max_examples=35 if budget == "merge" else 15)
    @given(strategies.schedules(most=7), strategies.seeds)
    def run(schedule, seed):
        lam, s = strategies.instances(schedule, seed, 10)
        least, rounding = least_errors(schedule, lam, s, reference, budget)
        for case in zip(lam, s, least, rounding, strict=True):
            choice = {"reference": reference, "budget": budget}
            result = optimal_plan(schedule, *case[:2], **choice)
            verify(result, schedule, *case, **choice)
            certified.append(result.certified)

    run()
    assert len(certified) >= (350 if budget == "merge" else 150)
    assert all(certified) if exhaustive == 9 else np.mean(certified) > 0.4


@pytest.mark.parametrize("method", ["interval", "breakpoints", "exhaustive"])
@settings(max_examples=15)
@given(
    schedule=strategies.schedules(most=6), seed=strategies.seeds, choice=st.sampled_from(CHOICES)
)
def test_nor_is_any_other_method(method, schedule, seed, choice):
    choice = dict(zip(("reference", "budget"), choice, strict=True))
    lam, s = strategies.instances(schedule, seed, 8)
    least, rounding = least_errors(schedule, lam, s, **choice)
    for case in zip(lam, s, least, rounding, strict=True):
        result = optimal_plan(schedule, *case[:2], method=method, **choice)
        verify(result, schedule, *case, **choice)
        assert result.certified or method != "exhaustive"


@settings(max_examples=20)
@given(
    schedule=strategies.schedules(most=6), seed=strategies.seeds, choice=st.sampled_from(CHOICES)
)
def test_one_plan_for_a_small_spectrum_is_the_best_of_all(schedule, seed, choice):
    choice = dict(zip(("reference", "budget"), choice, strict=True))
    lam, s = strategies.instances(schedule, seed, 3)[0], 0.4
    every = [
        student_error((plan,), schedule, lam, s, **choice) for plan in strategies.PLANS[schedule.T]
    ]
    rounding = 1e-13 * (np.sum(root_variance(schedule, lam) * flow_map(schedule, lam)) + min(every))
    result = optimal_plan(schedule, lam, s, **choice)
    verify(result, schedule, lam, s, min(every), rounding, **choice)
    assert result.certified


@settings(max_examples=40)
@given(schedule=strategies.schedules(most=7), s=st.floats(1e-4, 5), largest=st.booleans())
def test_both_pure_phases_are_certified_up_to_their_boundaries(schedule, s, largest):
    boundary = phase_boundaries(schedule)[largest]
    inside = np.nextafter(boundary, np.inf if largest else 0)
    name = "vanilla" if largest else "sequential_boot"
    for lam in (boundary, inside):
        least, rounding = least_errors(schedule, lam, s, "teacher", "merge")
        result = optimal_plan(schedule, lam, s)
        assert result.certified and result.plan == canonical_plan(name, schedule.T)
        assert result.method == "theorem" and result.error <= least + rounding
        shared = optimal_plan(schedule, lam, s, budget="total")
        assert shared.certified and shared.plan == canonical_plan("vanilla", schedule.T)
        for method in ("interval", "breakpoints"):
            result = optimal_plan(schedule, lam, s, method=method)
            assert result.certified and result.error <= least + rounding


@settings(max_examples=40)
@given(strategies.schedules(), strategies.seeds)
def test_bounds_are_the_range_of_all_plans(schedule, seed):
    lam, s = strategies.instances(schedule, seed, 6)[0].reshape(2, 3), 0.4
    every = strategies.every_operator(schedule, lam, s)
    low, high = optimal_plan(schedule, lam, s).bounds
    assert np.allclose(low, every.min(axis=0), rtol=1e-13, atol=0)
    assert np.allclose(high, every.max(axis=0), rtol=1e-13, atol=0)
    every = strategies.every_operator(schedule, lam, s, "total")
    low, high = optimal_plan(schedule, lam, s, budget="total").bounds
    assert (low <= every * (1 + 1e-13)).all() and (every <= high * (1 + 1e-13)).all()


def students(T, K, cuts=None):
    """Every student of K steps, by brute force."""
    for levels in combinations(range(1, T), K - 1) if cuts is None else [cuts]:
        segments = [
            [MergePlan(plan.arities, i) for plan in all_plans(j - i)]
            for i, j in pairwise((0, *levels, T))
        ]
        yield from product(*segments)


@pytest.mark.parametrize("method", ["auto", "interval"])
@settings(max_examples=12)
@given(schedule=strategies.schedules(3, 6), seed=strategies.seeds, data=st.data())
def test_students_of_several_steps_against_every_one(method, schedule, seed, data):
    K = data.draw(st.integers(2, min(schedule.T - 1, 4)))
    cuts = data.draw(st.none() | st.sampled_from(list(combinations(range(1, schedule.T), K - 1))))
    reference, budget = data.draw(st.sampled_from(CHOICES))
    (lam,), s = strategies.instances(schedule, seed, 1)[0], 0.4
    every = list(students(schedule.T, K, cuts))
    operators = {i_j: {} for i_j in combinations(range(schedule.T + 1), 2)}
    merges = np.array([sum(len(plan.merges) for plan in plans) for plans in every])
    times = {n: s / max(n, 1) if budget == "total" else s for n in set(merges)}
    for plan in {plan for plans in every for plan in plans}:
        operators[plan.span][plan] = {n: evaluate(plan, schedule, lam, t) for n, t in times.items()}
    S = np.array(
        [
            np.prod([operators[plan.span][plan][n] for plan in plans])
            for n, plans in zip(merges, every, strict=True)
        ]
    )
    choice = {"reference": reference, "budget": budget}
    target = (composite if reference == "teacher" else flow_map)(schedule, lam)
    root = root_variance(schedule, lam)
    least = root * np.abs(S - target).min()
    result = optimal_student(schedule, lam, s, K, cuts=cuts, method=method, **choice)
    verify(result, schedule, lam, s, least, 1e-13 * (root * target + least), **choice)
    assert result.certified or method == "interval"
    assert [plan.span for plan in result.plans] == [*pairwise((0, *result.cuts, schedule.T))]
    assert cuts in (None, result.cuts)
    if budget == "merge":
        assert np.allclose(result.bounds, (S.min(), S.max()), rtol=1e-13, atol=0)


@pytest.mark.parametrize(("T", "K"), [(1, 1), (5, 5), (32, 32)])
def test_a_student_of_as_many_steps_as_the_teacher_has_nothing_to_merge(T, K):
    result = optimal_student(cosine(T), [0.3, 1.4], 0.5, K)
    assert result.certified and result.gap == 0 and result.error < 1e-15
    assert result.plans == tuple(MergePlan((0,), t) for t in range(T))
    low, high = result.bounds
    assert np.allclose(low, high) and np.allclose(low, result.operator)


def test_more_steps_come_closer():
    errors = [optimal_student(cosine(8), 0.5, 0.5, K).error for K in range(1, 9)]
    assert (np.diff(errors) < 0).all() and errors[-1] < 1e-15
    fixed = optimal_student(cosine(8), 0.5, 0.5, 2, cuts=[4])
    assert fixed.cuts == (4,) and fixed.error >= errors[1]


def test_inside_the_range_of_break_points_nothing_is_certified():
    schedule, lam = cosine(7), 1.36255
    best = optimal_plan(schedule, lam, 1.0)
    found = optimal_plan(schedule, lam, 1.0, method="breakpoints")
    assert {j for _, j in found.plan.merges} == {7} and found.error > 1.5 * best.error
    assert best.certified and not found.certified and found.lower_bound == 0


def test_the_published_experiment():
    schedule, s = cosine(32), 6.4
    for lam in (0.2, 0.5, 1.0, 1.05):
        for method in ("auto", "interval", "breakpoints"):
            result = optimal_plan(schedule, lam, s, method=method)
            assert result.certified and result.plan == canonical_plan("sequential_boot", 32)
    for lam in (2.0013, 2.5, 5.0):
        result = optimal_plan(schedule, lam, s)
        assert result.certified and result.plan == canonical_plan("vanilla", 32)
    result = optimal_plan(schedule, 2.0, s)
    assert result.certified and result.method == "interval"
    assert result.plan.merges == [(1, 32), (0, 32)]
    result, teacher = optimal_plan(schedule, 1.08, s), composite(schedule, 1.08)
    low, high = result.bounds
    assert f"{low - teacher:+.1e} {high - teacher:+.1e}" == "-2.6e-07 +5.4e-08"
    assert result.error < 1e-14 and 1 < len(result.plan.merges) < 31


@pytest.mark.parametrize(("lam", "name"), [(0.5, "sequential_boot"), (3.0, "vanilla")])
def test_4096_steps_in_a_pure_phase(lam, name):
    result = optimal_plan(cosine(4096), lam, 6.4)
    assert result.certified and result.plan == canonical_plan(name, 4096)


@pytest.mark.parametrize("lam", [1.08, 1.5])
def test_4096_steps_in_between(lam):
    schedule, s = cosine(4096), 6.4
    result = optimal_plan(schedule, lam, s)
    assert result.method == "breakpoints" and not result.certified and result.lower_bound == 0
    plan = result.plan
    again = MergePlan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan == pickle.loads(pickle.dumps(plan)) and hash(again) == hash(plan)
    assert len(repr(plan)) < 80 and len(str(plan)) < 20_000
    assert np.isclose(student_error((plan,), schedule, lam, s), result.error)
    for name in ("vanilla", "sequential_boot"):
        other = student_error((canonical_plan(name, 4096),), schedule, lam, s)
        assert result.error <= other + 1e-13


def angles(first, last, T):
    theta = np.linspace(first, last, T + 1)
    return Schedule(alpha=np.cos(theta), sigma=np.sin(theta))


@pytest.mark.parametrize(
    "schedule", [cosine(1), cosine(2), cosine(12), angles(0.1, 1.3, 12)], ids=str
)
@pytest.mark.parametrize("lam", [0.0, 1e-12, 1.3, 1e12])
@pytest.mark.parametrize("s", [0.0, 1e3])
@pytest.mark.filterwarnings("error")
def test_extreme_variances_times_and_schedules(schedule, lam, s):
    for method, (reference, budget) in product(METHODS[:3], CHOICES):
        choice = {"reference": reference, "budget": budget}
        result = optimal_plan(schedule, lam, s, method=method, **choice)
        plans = [canonical_plan("vanilla", schedule.T)] if schedule.T > 1 else list(all_plans(1))
        if schedule.T > 2:
            plans.append(canonical_plan("sequential_boot", schedule.T))
        others = [student_error((plan,), schedule, lam, s, **choice) for plan in plans]
        rounding = 1e-12 * (root_variance(schedule, lam) * flow_map(schedule, lam) + result.error)
        verify(result, schedule, lam, s, result.error, rounding, **choice)
        assert result.error <= min(others) + rounding + 1e-15
        low, high = result.bounds
        assert low <= result.operator * (1 + 1e-12) and result.operator <= high * (1 + 1e-12)


def test_a_spectrum_keeps_its_shape():
    lam = np.array([[0.2, 0.5, 1.0], [1.1, 2.0, 5.0]])
    result = optimal_plan(cosine(5), lam, 0.5)
    assert result.operator.shape == (2, 3)
    assert all(bound.shape == (2, 3) for bound in result.bounds)
    assert np.allclose(result.operator, evaluate(result.plan, cosine(5), lam, 0.5))
    flat = optimal_plan(cosine(5), lam.ravel(), 0.5)
    assert flat.plan == result.plan and flat.error == result.error
    assert optimal_plan(cosine(5), 0.5, 0.5).operator.shape == ()
    assert optimal_plan(cosine(5), [0.5], 0.5, method="interval").operator.shape == (1,)


def test_the_input_variance_weighs_the_coordinates():
    schedule, lam, s = angles(0.0, 1.4, 5), np.array([0.4, 1.6]), 0.5
    for variance in (1.0, np.array([100.0, 0.01]), np.array([0.0, 1.0])):
        errors = [
            w2_error(evaluate(p, schedule, lam, s), schedule, lam, input_variance=variance)
            for p in strategies.PLANS[5]
        ]
        result = optimal_plan(schedule, lam, s, input_variance=variance)
        assert np.isclose(result.error, min(errors)) and result.certified
    assert result.plan != optimal_plan(schedule, lam, s).plan


def test_a_result_says_what_it_is():
    result = optimal_student(cosine(6), 1.42, 0.5, 2, cuts=np.array([2]))
    assert result.cuts == (2,) and [plan.span for plan in result.plans] == [(0, 2), (2, 6)]
    with pytest.raises(InputError, match=r"takes 2 steps; see \.plans"):
        result.plan  # noqa: B018
    again = pickle.loads(pickle.dumps(result))
    assert again.plans == result.plans and again.bounds == result.bounds
    assert "_problem" not in repr(result) and len(repr(result)) < 300
    assert optimal_plan(cosine(6), 0.5, 0.5).gap == 0
    inside = optimal_plan(cosine(6), 1.42, 0.5, method="interval")
    assert not inside.certified and inside.lower_bound == 0 and inside.gap == inside.error


def test_bad_input_is_refused_in_one_line():
    schedule = cosine(12)

    def refused(message, *arguments, student=False, **named):
        call = optimal_student if student else optimal_plan
        with pytest.raises(InputError, match=message) as refusal:
            call(schedule, *arguments, **named)
        assert "\n" not in str(refusal.value)

    for lam in (-1, np.nan, np.inf, "a", [1, -1], None, 1j):
        refused("λ", lam, 1.0)
    refused("λ is empty", [], 1.0)
    for s in (-1, np.nan, np.inf, "1", None, np.ones(2)):
        refused("s = ", 1.5, s)
    for rate in (0, -1, np.nan, "2"):
        refused("rate = ", 1.5, 1.0, rate)
    refused("choose one of auto, breakpoints", 1.5, 1.0, method="dynamic")
    refused("choose 'teacher' or 'flow'", 1.5, 1.0, reference="data")
    refused("choose one of merge, total", 1.5, 1.0, budget="shared")
    refused("T = 12: exhaustive .* takes T ≤ 9", 1.5, 1.0, method="exhaustive")
    for method in ("interval", "breakpoints"):
        refused("one variance, not 2; use 'pareto'", [1.5, 2.0], 1.0, method=method)
    for variance in (-1.0, np.nan, "1"):
        refused("input_variance", 1.5, 1.0, input_variance=variance)
    for variance in (np.ones(2), np.ones((1, 1))):
        refused(r"shape \(.*\), λ has shape \(\)", 1.5, 1.0, input_variance=variance)
    for K in (0, 13, 2.5, "2", None, True):
        refused("K = .*whole number within 1 … 12", 1.5, 1.0, K, student=True)
    for cuts in ([], [4, 8], [0], [12], [2.5], "4", [[4]]):
        refused("cut", 1.5, 1.0, 2, cuts=cuts, student=True)
    for cuts in ([8, 4], [4, 4]):
        refused("needs 2, ascending", 1.5, 1.0, 3, cuts=cuts, student=True)
    refused("breakpoints plan one step, not K = 2", 1.5, 1.0, 2, method="breakpoints", student=True)


def test_numbers_whose_squares_no_float_holds_certify_nothing():
    with pytest.raises(InputError, match="pass what a float holds"):
        optimal_plan(cosine(14), np.linspace(1.2, 1.9, 6), 0.1, input_variance=1e308)


def test_a_shared_total_reaches_all_segments_of_a_long_student():
    schedule, lam = cosine(50), np.array([1.3, 1.7])
    found = optimal_student(schedule, lam, 1.0, 3, budget="total")
    time = 1.0 / sum(len(plan.merges) for plan in found.plans)
    operator = np.prod([evaluate(plan, schedule, lam, time) for plan in found.plans], axis=0)
    assert found.error == pytest.approx(w2_error(operator, schedule, lam), rel=1e-12)
    assert found.plans[0].span[0] == 0 and found.plans[-1].span[1] == 50


def test_long_spectra_and_long_tables_do_not_fill_the_memory():
    assert optimal_plan(cosine(8), np.linspace(0.1, 5, 20_000), 1.0).method == "pareto"
    with pytest.raises(InputError, match="4096"):
        optimal_plan(cosine(5000), 1.5, 1.0, method="interval")


def test_cuts_are_counted_before_they_are_placed():
    with pytest.raises(InputError, match=r"K = 1 steps needs 0"):
        optimal_student(cosine(1), 1.0, 1.0, 1, cuts=[1])


def test_a_batch_prints_on_one_line():
    batch = optimal_plans(cosine(6), np.linspace(0.5, 3, 40), 1.0)
    assert "\n" not in repr(batch) and f"{batch.certified.sum()} of 40 certified" in repr(batch)
