"""Fig. 2 of Gao and Li: T = 32, s = 6.4, the gap of four strategies to the best plan."""

import numpy as np
import pytest

from tdmlib.linear import (
    STRATEGIES,
    MergePlan,
    canonical_plan,
    composite,
    evaluate,
    optimal_plan,
    optimal_plans,
    phase_boundaries,
)
from tdmlib.schedules import cosine

SCHEDULE, S = cosine(32), 6.4
LAMS = np.append(np.geomspace(0.1, 10, 200), phase_boundaries(SCHEDULE))
FIRST_ALONE = MergePlan((0,) * 31 + (31, 0, 2))


def test_no_strategy_is_below_the_best_plan_and_each_pure_phase_is_touched():
    teacher, best = composite(SCHEDULE, LAMS), optimal_plans(SCHEDULE, LAMS, S)
    boot, van = phase_boundaries(SCHEDULE)
    gap = {n: np.abs(evaluate(canonical_plan(n, 32), SCHEDULE, LAMS, S) - teacher)
           - np.abs(best.operator - teacher) for n in STRATEGIES}  # fmt: skip
    assert min(g.min() for g in gap.values()) > -1e-14
    assert gap["sequential_boot"][LAMS <= boot].max() < 1e-14
    assert gap["vanilla"][LAMS >= van].max() < 1e-14
    mixed = (LAMS > boot * 1.01) & (LAMS < van / 1.01)
    assert min(g[mixed].min() for g in gap.values()) > 1e-12
    assert best.certified[~mixed & ((boot >= LAMS) | (van <= LAMS))].all()


@pytest.mark.parametrize(
    ("lam", "plan"),
    [
        (0.3, canonical_plan("sequential_boot", 32)),
        (1.0, canonical_plan("sequential_boot", 32)),
        (2.0, FIRST_ALONE),
        (2.0012, FIRST_ALONE),
        (2.0013, canonical_plan("vanilla", 32)),
        (3.0, canonical_plan("vanilla", 32)),
    ],
)
def test_the_best_plan_is_the_published_one(lam, plan):
    found = optimal_plan(SCHEDULE, lam, S)
    assert found.plan == plan and found.certified
    for method in ("interval", "breakpoints"):  # may differ by merges that leave e^-38
        assert abs(optimal_plan(SCHEDULE, lam, S, method=method).error - found.error) < 1e-14


def test_the_best_plan_near_the_sign_change_is_none_of_the_four():
    found = optimal_plan(SCHEDULE, 1.08, S)
    low, high = np.array(found.bounds) - composite(SCHEDULE, 1.08)
    assert f"{low:.1e} {high:.1e}" == "-2.6e-07 5.4e-08"
    assert found.error < 1e-12  # the best of the four is off by 3e-9
    assert found.plan not in [canonical_plan(name, 32) for name in STRATEGIES]
    assert np.isclose(evaluate(found.plan, SCHEDULE, 1.08, S), found.operator, rtol=1e-14)
