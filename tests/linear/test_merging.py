import json
import pickle
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

import strategies
from tdmlib.distill.linear_student import carry_out
from tdmlib.errors import InputError
from tdmlib.linear import (
    STRATEGIES,
    MergePlan,
    all_plans,
    canonical_plan,
    composite,
    evaluate,
    flow_map,
    marginal_variance,
    residual,
    step_operators,
    w2_error,
)
from tdmlib.schedules import cosine

# theory: signed errors S − P, cosine, T = 32, s = 6.4, in the order of STRATEGIES
TABLE = {
    0.2: "0.424650 +1.5851e-06 +4.3410e-03 +1.4879e-02 +1.0202e-06",
    0.5: "0.678762 +8.8354e-07 +8.6464e-05 +3.5718e-04 +7.2917e-07",
    1.0: "0.962166 +1.0113e-07 +2.5709e-07 +1.6082e-06 +9.9309e-08",
    1.08: "0.999883 -3.0033e-09 -9.3461e-09 -7.1729e-08 -2.9919e-09",
    1.5: "1.177469 -4.9328e-07 -6.8162e-07 -3.5823e-06 -5.3314e-07",
    2.0: "1.357524 -9.9037e-07 -1.2693e-06 -5.3275e-06 -1.1429e-06",
    2.5: "1.515055 -1.4253e-06 -1.8062e-06 -6.4303e-06 -1.7281e-06",
    5.0: "2.123252 -3.1044e-06 -4.1199e-06 -9.2551e-06 -4.3523e-06",
}


@pytest.mark.parametrize("lam", TABLE)
def test_the_table_of_the_theory_to_its_last_digit(lam):
    schedule = cosine(32)
    teacher = composite(schedule, lam)
    errors = [evaluate(canonical_plan(n, 32), schedule, lam, 6.4) - teacher for n in STRATEGIES]
    assert " ".join([f"{teacher:.6f}", *(f"{e:+.4e}" for e in errors)]) == TABLE[lam]


def recursive(plan, steps, gamma):
    """A second implementation, straight from the definition."""
    if not plan.children:
        return steps[plan.span[1] - 1]
    right, *left = (recursive(child, steps, gamma) for child in plan.children)
    g = gamma[plan.span[1] - 1]
    return (1 - g) * np.prod(left, axis=0) * right + g * right


@given(st.data(), strategies.schedules(), strategies.variances, strategies.times)
def test_evaluate_equals_the_recursive_definition(data, schedule, lam, s):
    plan = data.draw(st.sampled_from(strategies.PLANS[schedule.T]))
    expected = recursive(plan, step_operators(schedule, lam), residual(schedule, lam, s))
    assert np.isclose(evaluate(plan, schedule, lam, s), expected, rtol=1e-12)


@given(strategies.schedules(most=5), strategies.seeds, st.sampled_from(["merge", "total"]))
def test_evaluate_equals_the_oracle_for_all_plans_at_once(schedule, seed, budget):
    lam, s = strategies.instances(schedule, seed, 4)
    every = strategies.every_operator(schedule, lam, s, budget)
    for plan, operator in zip(strategies.PLANS[schedule.T], every, strict=True):
        time = s / len(plan.merges) if budget == "total" else s
        assert np.allclose(evaluate(plan, schedule, lam, time), operator, rtol=1e-13, atol=0)


@pytest.mark.parametrize("plan", strategies.PLANS[4], ids=lambda plan: str(plan.merges))
def test_training_node_by_node_arrives_at_evaluate(plan):
    schedule, lam, s = cosine(4), np.array([0.3, 1.0, 3.0]), 0.5
    expected = evaluate(plan, schedule, lam, s)
    coarse, fine = (carry_out(plan, schedule, lam, s, updates) for updates in (100, 200))
    assert np.allclose((coarse - expected) / (fine - expected), 2, rtol=0.02)
    assert np.allclose(2 * fine - coarse, expected, rtol=1e-5)  # without Euler's first order


@pytest.mark.parametrize("T", [2, 3, 4, 5, 9])
def test_canonical_plans_are_their_recursions(T):
    def node(*children):
        return MergePlan(
            [*chain(*(c.arities for c in children)), len(children)], children[-1].start
        )

    leaf = {t: MergePlan((0,), t - 1) for t in range(1, T + 1)}
    consistency, boot, stage = leaf[1], leaf[T], [leaf[t] for t in range(T, 0, -1)]
    for t in range(2, T + 1):
        consistency = node(leaf[t], consistency)
    for t in range(T - 1, 0, -1):
        boot = node(boot, leaf[t])
    while len(stage) > 1:
        stage = [node(*stage[k : k + 2]) if k + 1 < len(stage) else stage[k]
                 for k in range(0, len(stage), 2)]  # fmt: skip
    assert canonical_plan("sequential_consistency", T) == consistency
    assert canonical_plan("sequential_boot", T) == boot
    assert canonical_plan("progressive", T) == stage[0]
    assert canonical_plan("vanilla", T) == node(*(leaf[t] for t in range(T, 0, -1)))


def test_there_are_as_many_plans_as_schroeder_trees():
    plans = {T: list(all_plans(T)) for T in range(2, 8)}
    assert [len(p) for p in plans.values()] == [1, 3, 11, 45, 197, 903]
    assert all(len(set(p)) == len(p) for p in plans.values())
    assert all(plan.span == (0, T) for T, p in plans.items() for plan in p)


@given(st.data(), st.integers(2, 6))
def test_children_tile_the_span_noisiest_first(data, T):
    plan = data.draw(st.sampled_from(strategies.PLANS[T]))
    pending = [plan]
    while pending:
        node = pending.pop()
        if node.children:
            spans = [child.span for child in node.children]
            assert spans[0][1] == node.span[1] and spans[-1][0] == node.span[0]
            assert all(a[0] == b[1] for a, b in pairwise(spans))
            pending += node.children
        else:
            assert node.span[1] - node.span[0] == 1


@pytest.mark.parametrize("name", STRATEGIES)
def test_deep_plans_need_no_recursion(name):
    T = 4096
    plan = canonical_plan(name, T)
    again = MergePlan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan == pickle.loads(pickle.dumps(plan)) and hash(again) == hash(plan)
    assert plan != canonical_plan("vanilla" if name != "vanilla" else "progressive", T)
    assert np.isfinite(evaluate(plan, cosine(T), [0.5, 2.0], 6.4)).all()
    assert len(repr(plan)) < 80 and len(str(plan)) < 20_000


def test_a_plan_prints_as_an_outline():
    plan = canonical_plan("progressive", 5)
    assert str(plan).splitlines() == [
        "merge (0, 5]",
        "  merge (1, 5]",
        "    merge (3, 5]",
        "      A_5 … A_4",
        "    merge (1, 3]",
        "      A_3 … A_2",
        "  A_1",
    ]
    assert canonical_plan("sequential_consistency", 200).outline(10).count("\n") == 10


@given(st.data(), strategies.schedules(), strategies.variances)
def test_limits_of_training_time(data, schedule, lam):
    plan = data.draw(st.sampled_from(strategies.PLANS[schedule.T]))
    assert np.isclose(evaluate(plan, schedule, lam, 0), step_operators(schedule, lam)[-1])
    long = 1e3 / marginal_variance(schedule, lam).min()
    assert np.isclose(evaluate(plan, schedule, lam, long), composite(schedule, lam))


def test_w2_error_against_both_references():
    schedule, lam = cosine(5), np.array([0.3, 2.0])
    S = evaluate(canonical_plan("vanilla", 5), schedule, lam, 0.5)
    variance = marginal_variance(schedule, lam)[-1]
    for reference, Q in (("teacher", composite(schedule, lam)), ("flow", flow_map(schedule, lam))):
        gap = np.abs(S) - np.abs(Q)
        expected = np.sqrt(np.sum(variance * gap**2))
        assert np.isclose(w2_error(S, schedule, lam, reference), expected, rtol=1e-14)
        unit = w2_error(-S, schedule, lam, reference, input_variance=1)
        assert np.isclose(unit, np.linalg.norm(gap))


@pytest.mark.parametrize("lam", [0.5, 3.0])
def test_w2_error_is_the_distance_between_the_outputs(lam):
    schedule, n = cosine(4), 100_000
    start = norm.ppf((np.arange(n) + 0.5) / n, scale=marginal_variance(schedule, lam)[-1] ** 0.5)
    S = evaluate(canonical_plan("progressive", 4), schedule, lam, 0.3)
    coupled = np.sort(S * start) - np.sort(composite(schedule, lam) * start)
    assert np.isclose(w2_error(S, schedule, lam), np.sqrt(np.mean(coupled**2)), rtol=1e-3)


@pytest.mark.parametrize(
    "arities",
    [(), (0, 0), (2,), (0, 1), (0, 0, 3), (0, -1), (0, 0, 2, 0), (0, 0, 2.5), ("0", 0, 2)],
)
def test_lists_that_are_no_tree_are_refused(arities):
    with pytest.raises(InputError):
        MergePlan(arities)
    with pytest.raises(InputError):
        MergePlan.from_json([0, *arities])


@pytest.mark.parametrize("flat", [[], [0], [-1, 0], [0.5, 0], {"start": 0}, "00"])
def test_json_that_is_no_plan_is_refused(flat):
    with pytest.raises(InputError):
        MergePlan.from_json(flat)


def test_bad_names_sizes_and_references_are_refused():
    with pytest.raises(InputError, match="vanilla, progressive"):
        canonical_plan("boot", 4)
    for T in (1, 0, 2.5):
        with pytest.raises(InputError, match="whole number ≥ 2"):
            canonical_plan("vanilla", T)
    for T in (0, -1, 2.5, np.nan):
        with pytest.raises(InputError, match="whole number ≥ 1"):
            all_plans(T)
    with pytest.raises(InputError, match="ends at T = 4"):
        evaluate(canonical_plan("vanilla", 5), cosine(4), 1.0, 1.0)
    with pytest.raises(InputError, match="'teacher' or 'flow'"):
        w2_error(1.0, cosine(4), 1.0, reference="P")
    with pytest.raises(InputError, match="shape"):
        w2_error(np.ones(2), cosine(4), np.ones(3))


def test_w2_error_wants_a_finite_operator_and_a_variance_that_fits():
    schedule, lam = cosine(4), np.ones(3)
    for operator in (np.full(3, np.nan), [1, 1, np.inf], 1j * lam, ["1", "1", "1"], lam > 0):
        with pytest.raises(InputError, match="the operator must be"):
            w2_error(operator, schedule, lam)
    for variance in (-1.0, np.nan, np.inf, [1, 1, -1], "1", 1j):
        with pytest.raises(InputError, match="input_variance"):
            w2_error(lam, schedule, lam, input_variance=variance)
    for variance in (np.ones(2), np.ones((3, 1)), np.ones(1)):
        with pytest.raises(InputError, match=r"input_variance has shape .* λ has shape \(3,\)"):
            w2_error(lam, schedule, lam, input_variance=variance)
