"""Which of the four strategies to take: what each loses, and what is left to gain."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from tdmlib.errors import InputError
from tdmlib.linear.batch import optimal_plans
from tdmlib.linear.merging import STRATEGIES, canonical_plan, evaluate, surrogate
from tdmlib.linear.operators import marginal_variance, reals, residual
from tdmlib.linear.planning import optimal_plan
from tdmlib.schedules import Schedule


@dataclass(frozen=True, eq=False)
class Comparison:
    """What the four strategies lose, for each of many (λ, s); shapes are what these broadcast to.

    A loss is a W₂ error over the standard deviation that the reference puts out.

    Attributes
    ----------
    losses : (4, …), in the order of STRATEGIES
    lower_bound : no plan loses less
    """

    losses: np.ndarray
    lower_bound: np.ndarray

    @property
    def best(self) -> np.ndarray:
        """The place in STRATEGIES of the one that loses least."""
        return self.losses.argmin(axis=0)

    @property
    def gap(self) -> np.ndarray:
        """What the best of all plans could gain on it at most."""
        return np.maximum(self.losses.min(axis=0) - self.lower_bound, 0)


def compare(
    schedule: Schedule,
    lam,
    s,
    rate: float = 2.0,
    reference: str = "teacher",
    budget: str = "merge",
) -> Comparison:
    """The four strategies side by side; `lam` and `s` are numbers or arrays that broadcast.

    With budget="total", s is shared equally by a plan's merges, and in the mixed phase each
    (λ, s) is planned on its own, in up to a second.
    Raises InputError for bad values, λ = 0 among them, of which nothing can be lost.
    """
    shape = residual(schedule, lam, s, rate).shape[1:]
    lam, s = (np.broadcast_to(reals("λ and s", a), shape)[()] for a in (lam, s))
    if not np.all(lam):
        raise InputError("λ = 0: no share of nothing can be lost; give λ > 0")
    target = surrogate(schedule, lam, reference)
    losses = []
    for plan in (canonical_plan(name, schedule.T) for name in STRATEGIES):
        share = s / len(plan.merges) if budget == "total" else s
        losses.append(np.abs(evaluate(plan, schedule, lam, share, rate) / target - 1))
    spread = np.sqrt(marginal_variance(schedule, lam)[-1]) * target
    least = _least(schedule, lam, s, rate, reference, budget)
    return Comparison(np.array(losses), least / spread)


def _least(schedule, lam, s, rate, reference, budget):
    if budget == "merge":
        return optimal_plans(schedule, lam, s, rate, reference=reference).lower_bound

    def one(lam, s):
        found = optimal_plan(schedule, lam, s, rate, reference=reference, budget=budget)
        return found.lower_bound

    return np.vectorize(one, otypes=[float])(lam, s)


@dataclass(frozen=True)
class Advice:
    """A row of `decision_table`: the strategy to take, its loss, and the most left to gain."""

    lam: float
    T: int
    s: float
    budget: str
    strategy: str
    loss: float
    gap: float


def decision_table(
    schedules,
    lams,
    times,
    budgets=("merge", "total"),
    rate: float = 2.0,
    reference: str = "teacher",
) -> list[Advice]:
    """One row for each variance, schedule, training time and budget, in that order.

    Loss and gap are shares of the standard deviation that the reference puts out, see `compare`.
    """
    rows = []
    for lam, schedule, s, budget in product(lams, schedules, times, budgets):
        found = compare(schedule, lam, s, rate, reference, budget)
        strategy = STRATEGIES[int(found.best)]
        loss, gap = float(found.losses.min()), float(found.gap)
        rows.append(Advice(float(lam), schedule.T, float(s), budget, strategy, loss, gap))
    return rows
