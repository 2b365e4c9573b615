import numpy as np
import pytest

import strategies
from tdmlib.errors import InputError
from tdmlib.linear import (
    STRATEGIES,
    canonical_plan,
    compare,
    composite,
    decision_table,
    evaluate,
    flow_map,
    marginal_variance,
    optimal_plan,
    phase_boundaries,
    w2_error,
)
from tdmlib.schedules import cosine, edm

LAMS, TIMES = np.geomspace(0.05, 20, 25), np.geomspace(0.05, 8, 5)[:, None]


@pytest.mark.parametrize("budget", ["merge", "total"])
@pytest.mark.parametrize("reference", ["teacher", "flow"])
def test_losses_and_bounds_are_those_of_all_plans(reference, budget):
    schedule, T = edm(5), 5
    found = compare(schedule, LAMS, TIMES, reference=reference, budget=budget)
    target = {"teacher": composite, "flow": flow_map}[reference](schedule, LAMS)

    def loss(plan):
        shares = TIMES / len(plan.merges) if budget == "total" else TIMES
        operators = [evaluate(plan, schedule, LAMS, float(share)) for share in shares[:, 0]]
        return np.abs(operators - target) / target

    canonical = np.array([loss(canonical_plan(name, T)) for name in STRATEGIES])
    least = np.min([loss(plan) for plan in strategies.PLANS[T]], axis=0)
    assert np.allclose(found.losses, canonical, rtol=1e-9, atol=1e-13)
    assert (found.best == canonical.argmin(axis=0)).mean() > 0.99  # but for ties
    assert (found.lower_bound <= least + 1e-12).all()
    assert (found.gap >= canonical.min(axis=0) - least - 1e-12).all()
    if budget == "total":  # where all plans of so few steps are tried
        assert np.allclose(found.lower_bound, least, rtol=1e-9, atol=1e-12)


def test_a_loss_is_an_error_over_the_spread_of_what_the_reference_puts_out():
    schedule, lam, s = edm(6), 0.7, 0.4
    found = compare(schedule, lam, s)
    for name, loss in zip(STRATEGIES, found.losses, strict=True):
        error = w2_error(evaluate(canonical_plan(name, 6), schedule, lam, s), schedule, lam)
        spread = np.sqrt(marginal_variance(schedule, lam)[-1]) * composite(schedule, lam)
        assert np.isclose(loss, error / spread, rtol=1e-9)


@pytest.mark.parametrize("T", [8, 32])
def test_boot_or_vanilla_is_within_half_a_percent_of_every_plan(T):
    found = compare(cosine(T), np.geomspace(0.05, 20, 121), TIMES)
    two = [STRATEGIES.index(name) for name in ("vanilla", "sequential_boot")]
    left = found.losses[two].min(axis=0) - found.lower_bound
    assert 0.0005 < left.max() < 0.005


def test_against_the_flow_no_strategy_is_safe():
    found = compare(cosine(8), LAMS, np.geomspace(0.05, 8, 33)[:, None], reference="flow")
    assert set(np.unique(found.best)) == set(range(4)) and found.gap.max() > 0.1


def test_the_table_has_a_row_for_every_question():
    schedules, boundaries = [cosine(4), cosine(8)], phase_boundaries(cosine(8))
    rows = decision_table(schedules, (0.5, 1.5, 9.0), (0.1, 2.0))
    assert len(rows) == 3 * 2 * 2 * 2
    for row in rows:
        plan = optimal_plan(cosine(row.T), row.lam, row.s, budget=row.budget)
        spread = np.sqrt(marginal_variance(cosine(row.T), row.lam)[-1])
        spread *= composite(cosine(row.T), row.lam)
        assert np.isclose(row.loss - row.gap, plan.lower_bound / spread, rtol=1e-6, atol=1e-12)
        pure = not boundaries[0] < row.lam < boundaries[1]
        below = row.lam <= 1 and row.budget == "merge"
        if pure:
            assert row.strategy == ("sequential_boot" if below else "vanilla") and row.gap < 1e-12


def test_nothing_is_no_share_of_nothing():
    for lam in (0.0, [1.0, 0.0]):
        with pytest.raises(InputError, match="λ = 0"):
            compare(cosine(4), lam, 1.0)
    with pytest.raises(InputError, match="budget"):
        compare(cosine(4), 1.0, 1.0, budget="all")


def test_shapes_that_do_not_broadcast_are_refused():
    with pytest.raises(InputError, match="does not fit"):
        compare(cosine(4), [0.5, 1.0], [1.0, 2.0, 3.0])
