"""Plans for a whole spectrum: one for all coordinates, one for each, and the four strategies."""

from dataclasses import dataclass

import numpy as np

from tdmlib.linear.batch import PlanBatch, optimal_plans
from tdmlib.linear.merging import STRATEGIES, canonical_plan, evaluate, w2_error
from tdmlib.linear.planning import PlanResult, optimal_plan
from tdmlib.schedules import Schedule


@dataclass(frozen=True, eq=False)
class SpectrumPlans:
    """W₂ errors over one spectrum, all held against the same reference.

    A network is trained by one plan for all coordinates. Plans of their own would lose less,
    `separate` ≤ `best.error` ≤ each of `strategies`, where all plans are certified.
    """

    strategies: dict[str, float]  #: of the four canonical plans
    best: PlanResult  #: the best plan found for all coordinates together
    each: PlanBatch  #: a plan of its own for every coordinate, shape of λ

    @property
    def separate(self) -> float:
        """The error if every coordinate had its own plan."""
        return float(np.sqrt(np.sum(self.each.error**2)))

    @property
    def price(self) -> float:
        """What one plan for all coordinates costs beyond `separate`."""
        return max(0.0, self.best.error - self.separate)


def plan_spectrum(
    schedule: Schedule, lam, s: float, rate: float = 2.0, reference: str = "teacher"
) -> SpectrumPlans:
    """The four strategies, the best plan, a plan for each coordinate; λ of any shape.

    Raises InputError for T < 2 and as `optimal_plan`.
    """
    errors = {
        name: w2_error(
            evaluate(canonical_plan(name, schedule.T), schedule, lam, s, rate),
            schedule, lam, reference,
        )
        for name in STRATEGIES
    }  # fmt: skip
    return SpectrumPlans(
        errors,
        optimal_plan(schedule, lam, s, rate, reference=reference),
        optimal_plans(schedule, lam, s, rate, reference=reference),
    )
