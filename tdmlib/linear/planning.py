"""Which merge plan is best, and is that certain: `optimal_plan` and its kin (Thm. 4.1).

The methods, each in the file of its name: `interval` finds the exact range of all plans of one
variance and certifies the nearer end where the target lies outside; inside, it searches among
`candidates`, a heuristic. `breakpoints` trains the student at T alone. `pareto` finds one plan for
a spectrum. `exhaustive` tries all plans, up to T = 9. `auto` takes the cheapest that can certify,
or else the best heuristic.
"""

from dataclasses import dataclass, field

import numpy as np

from tdmlib.errors import InputError, check_number, one_of
from tdmlib.linear.merging import MergePlan
from tdmlib.linear.methods import EXHAUSTIVE, Found, solve
from tdmlib.linear.operators import input_variances, variances
from tdmlib.linear.problem import Plans, Problem
from tdmlib.schedules import Schedule

METHODS = ("auto", "breakpoints", "interval", "pareto", "exhaustive")
BUDGETS = ("merge", "total")


@dataclass(frozen=True, eq=False)
class PlanResult:
    """A plan for each of the student's K steps, and how good they are.

    Attributes
    ----------
    plans : K plans, the segment at the clean end first
    operator : shape of λ, what they leave
    error : W₂ distance to the reference's outputs
    lower_bound : no plan has a smaller error
    certified : the error reaches that bound, up to rounding
    method : "theorem" where Thm. 4.2 or 4.3 (sharpened) named the plan, else the method
    cap : where operators were dropped, how many an interval kept; None for an exact search
    """

    plans: Plans
    operator: np.ndarray
    error: float
    lower_bound: float
    certified: bool
    method: str
    cap: int | None
    _problem: Problem = field(repr=False)

    @property
    def plan(self) -> MergePlan:
        """The plan of a one-step student. Raises InputError for more than one step."""
        if len(self.plans) > 1:
            raise InputError(f"this student takes {len(self.plans)} steps; see .plans")
        return self.plans[0]

    @property
    def cuts(self) -> tuple[int, ...]:
        """The levels between the segments."""
        return tuple(plan.span[0] for plan in self.plans[1:])

    @property
    def gap(self) -> float:
        """What a better plan could gain at most; zero for a certified one."""
        return max(0.0, self.error - self.lower_bound)

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest operator over all plans, each of λ's shape.

        Computed when first asked for, in O(T³) a coordinate. With a total budget, an outer bound.
        """
        low, high = self._problem.bounds
        return low.reshape(self.operator.shape), high.reshape(self.operator.shape)


def optimal_plan(
    schedule: Schedule,
    lam,
    s: float,
    rate: float = 2.0,
    method: str = "auto",
    reference: str = "teacher",
    *,
    budget: str = "merge",
    input_variance=None,
    cap: int | None = None,
) -> PlanResult:
    """The plan of least W₂ error, ONE for the whole spectrum `lam` (any shape).

    `s` is the training time of each merge, or with budget="total" that of all merges together,
    shared equally. `reference` and `input_variance` are those of `w2_error`. `cap` is the number of
    operators that a heuristic keeps of an interval, by default 32 for one variance, 6 for several.
    Raises InputError for bad values, and where `method` does not fit the spectrum or T.
    """
    return optimal_student(
        schedule, lam, s, 1, rate=rate, method=method, reference=reference, budget=budget,
        input_variance=input_variance, cap=cap,
    )  # fmt: skip


def optimal_student(
    schedule: Schedule,
    lam,
    s: float,
    K: int,
    *,
    cuts=None,
    rate: float = 2.0,
    method: str = "auto",
    reference: str = "teacher",
    budget: str = "merge",
    input_variance=None,
    cap: int | None = None,
) -> PlanResult:
    """Plans of least W₂ error for a student of K steps: one a segment, trained at its noisy end.

    `cuts` are the K − 1 levels between the segments, ascending; None optimises them too.
    All else is as in `optimal_plan`; breakpoints plan K = 1 only.
    """
    lam = variances(lam)
    if lam.size == 0:
        raise InputError("λ is empty; give at least one variance")
    problem = Problem(
        schedule, lam.ravel(), float(check_number("s", s, 0)), rate, reference,
        input_variances(schedule, lam, input_variance).ravel(), one_of("budget", budget, BUDGETS),
        *_segments(schedule.T, K, cuts), lam.shape,
    )  # fmt: skip
    if not np.isfinite(problem.size):
        raise InputError("the squares of λ and input_variance pass what a float holds; scale down")
    _check_fit(problem, one_of("method", method, METHODS))
    if cap is not None:
        cap = check_number("cap", cap, 5, whole=True)
    return _result(problem, solve(problem, method, cap))


def _segments(T: int, K, cuts) -> tuple[int, tuple[int, ...] | None]:
    K = check_number("K", K, 1, T, whole=True)
    if cuts is None:
        return K, None if K > 1 else ()
    if not np.iterable(cuts) or isinstance(cuts, str):
        raise InputError(f"cuts = {cuts!r}: give a list of K - 1 = {K - 1} levels, ascending")
    cuts, wanted = tuple(cuts), f"a student of K = {K} steps needs {K - 1}, ascending"
    if len(cuts) != K - 1:
        raise InputError(f"cuts = {cuts}: {wanted}")
    cuts = tuple(check_number("a cut", cut, 1, T - 1, whole=True) for cut in cuts)
    if list(cuts) != sorted(set(cuts)):
        raise InputError(f"cuts = {cuts}: {wanted}")
    return K, cuts


def _check_fit(problem: Problem, method: str) -> None:
    d, T = len(problem.lam), problem.T
    if method in ("interval", "breakpoints") and d > 1:
        raise InputError(f"{method} plans one variance, not {d}; use 'pareto' or optimal_plans")
    if method == "breakpoints" and problem.K > 1:
        raise InputError(f"breakpoints plan one step, not K = {problem.K}; use 'interval'")
    if method == "exhaustive" and T > EXHAUSTIVE:
        raise InputError(f"T = {T}: exhaustive tries all plans, which takes T ≤ {EXHAUSTIVE}")


def _result(problem: Problem, found: Found) -> PlanResult:
    operator = problem.operator(found.plans)
    error = float(problem.error(operator[:, None])[0])
    bound = error
    if not found.proved:
        least = problem.outlook[1]
        bound = min(error, float(np.sqrt(problem.input_variance @ least**2)))
    certified = problem.same(error, bound)
    return PlanResult(
        found.plans, operator.reshape(problem.shape), error, bound, certified, found.method,
        found.cap, problem,
    )  # fmt: skip
