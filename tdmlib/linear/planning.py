"""Which merge plan is best, and is that certain: `optimal_plan` and its kin (Thm. 4.1).

The methods, each in the file of its name: `interval` finds the exact range of all plans of one
variance and certifies the nearer end where the target lies outside; inside, it searches among
`candidates`, a heuristic. `breakpoints` trains the student at T alone. `pareto` finds one plan for
a spectrum. `exhaustive` tries all plans, up to T = 9. `auto` takes the cheapest that can certify,
or else the best heuristic.
"""

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from tdmlib.errors import InputError, check_number
from tdmlib.linear import breakpoints, candidates
from tdmlib.linear.merging import STRATEGIES, MergePlan, canonical_plan
from tdmlib.linear.operators import marginal_variance, variances
from tdmlib.linear.problem import Problem
from tdmlib.linear.search import Search, keep_all
from tdmlib.schedules import Schedule

METHODS = ("auto", "breakpoints", "interval", "pareto", "exhaustive")
BUDGETS = ("merge", "total")
EXHAUSTIVE = 9  # steps up to which all plans are tried
COORDINATES = 64  # of a spectrum that a front tells apart
CAP = 32
INTERVAL = 1024  # and up to which `auto` pays O(T³)
Plans = tuple[MergePlan, ...]


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
    """

    plans: Plans
    operator: np.ndarray
    error: float
    lower_bound: float
    certified: bool
    method: str
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
) -> PlanResult:
    """The plan of least W₂ error, ONE for the whole spectrum `lam` (any shape).

    `s` is the training time of each merge, or with budget="total" that of all merges together,
    shared equally. `reference` and `input_variance` are those of `w2_error`.
    Raises InputError for bad values, and where `method` does not fit the spectrum or T.
    """
    return optimal_student(
        schedule, lam, s, 1, rate=rate, method=method, reference=reference, budget=budget,
        input_variance=input_variance,
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
        _input_variance(schedule, lam, input_variance), one_of("budget", budget, BUDGETS),
        *_segments(schedule.T, K, cuts), lam.shape,
    )  # fmt: skip
    method = _fitting(problem, one_of("method", method, METHODS))
    if (method == "auto" or schedule.T == K) and (named := _by_theorem(problem)):
        return _result(problem, named, "theorem", proved=True)
    if method == "auto":
        method = _cheapest(problem)
    plans = _solve(problem, method)
    return _result(problem, plans, method, proved=method == "exhaustive")


def _input_variance(schedule: Schedule, lam: np.ndarray, given) -> np.ndarray:
    if given is None:
        given = marginal_variance(schedule, lam)[-1]
    given = variances(given, "input_variance")
    if given.shape not in ((), lam.shape):
        raise InputError(
            f"input_variance has shape {given.shape}, λ has shape {lam.shape}; "
            "give one number, or one for each λ"
        )
    return np.broadcast_to(given, lam.shape).ravel()


def one_of(name: str, value, allowed: tuple[str, ...]) -> str:
    """`value` if it is among `allowed`. Raises InputError that lists them otherwise."""
    if value not in allowed:
        raise InputError(f"{name} {value!r} is unknown; choose one of {', '.join(allowed)}")
    return value


def _segments(T: int, K, cuts) -> tuple[int, tuple[int, ...] | None]:
    K = check_number("K", K, 1, T, whole=True)
    if cuts is None:
        return K, None if K > 1 else ()
    cuts = tuple(check_number("a cut", cut, 1, T - 1, whole=True) for cut in cuts)
    if len(cuts) != K - 1 or list(cuts) != sorted(set(cuts)):
        raise InputError(f"cuts = {cuts}: a student of K = {K} steps needs {K - 1}, ascending")
    return K, cuts


def _fitting(problem: Problem, method: str) -> str:
    d, T = len(problem.lam), problem.T
    if method in ("interval", "breakpoints") and d > 1:
        raise InputError(f"{method} plans one variance, not {d}; use 'pareto' or optimal_plans")
    if method == "breakpoints" and problem.K > 1:
        raise InputError(f"breakpoints plan one step, not K = {problem.K}; use 'interval'")
    if method == "exhaustive" and T > EXHAUSTIVE:
        raise InputError(f"T = {T}: exhaustive tries all plans, which takes T ≤ {EXHAUSTIVE}")
    return method


def _by_theorem(problem: Problem) -> Plans | None:
    """The canonical plan that is proved best in every coordinate, if one is."""
    T = problem.T
    if problem.K == T:  # nothing to merge
        return tuple(MergePlan((0,), t) for t in range(T))
    if problem.K > 1:
        return None
    if problem.budget == "total":  # with the time shared, vanilla is best in both phases
        return (canonical_plan("vanilla", T),) if problem.phase.all() else None
    for name, sign in (("sequential_boot", -1), ("vanilla", 1)):
        if (problem.phase == sign).all():
            return (canonical_plan(name, T),)
    return None


def _cheapest(problem: Problem) -> str:
    if problem.T <= EXHAUSTIVE:
        return "exhaustive"
    if len(problem.lam) > 1:
        return "pareto"
    return "interval" if problem.T <= INTERVAL or problem.K > 1 else "breakpoints"


def _result(problem: Problem, plans: Plans, method: str, proved: bool) -> PlanResult:
    operator = problem.operator(plans)
    error = float(problem.error(operator[:, None])[0])
    bound = error
    if not proved:
        least = problem.outlook[1]
        bound = min(error, float(np.sqrt(problem.input_variance @ least**2)))
    certified = error <= bound + problem.rounding
    return PlanResult(
        plans, operator.reshape(problem.shape), error, bound, certified, method, problem
    )


def _solve(problem: Problem, method: str) -> Plans:
    solver = SOLVERS[method]
    if problem.budget == "merge":
        return solver(problem)
    counts = problem.merge_counts
    if method != "exhaustive":
        counts = sorted({min(round(2 ** (k / 2)), counts[-1]) for k in range(24)})
    return _best(problem, [solver(problem.shared(n)) for n in counts])


def _best(problem: Problem, students: list[Plans]) -> Plans:
    return min(students, key=lambda plans: problem.error(problem.operator(plans)[:, None])[0])


def _interval(problem: Problem) -> Plans:
    ends, (target,), students = problem.extremes(0), problem.target, []
    for end, beyond in zip(ends, (np.less_equal, np.greater_equal), strict=True):
        cuts = end.cuts(problem.K) if problem.cuts is None else problem.cuts
        plans = tuple(end.plan(i, j) for i, j in problem.segments(cuts))
        if beyond(target, problem.operator(plans)[0]):
            return plans
        students.append(plans)
    return _best(problem, students + candidates.closest(problem, ends))


def _breakpoints(problem: Problem) -> Plans:
    steps, gamma, (target,) = problem.steps, problem.gamma[-1], problem.target
    students = []
    for largest, beyond in ((False, np.less_equal), (True, np.greater_equal)):
        plan = breakpoints.extreme_plan(steps[:, 0], gamma[0], largest)
        if beyond(target, problem.operator((plan,))[0]):
            return (plan,)
        students.append((plan,))
    count = candidates.CANDIDATES if problem.T <= 256 else 8
    search = breakpoints.GroupSearch(steps, gamma, candidates.keep_spread(steps, count))
    place = int(problem.error(search.values).argmin())
    return _best(problem, [*students, (search.plan(place),)])


def _exhaustive(problem: Problem) -> Plans:
    search = Search(problem.steps, problem.gamma, keep_all)
    every = [problem.cuts]
    if problem.cuts is None:
        every = combinations(range(1, problem.T), problem.K - 1)
    least, best = np.inf, None
    for cuts in every:
        segments = problem.segments(cuts)
        parts = [search.all_plans(i, j) for i, j in segments]
        values, merges = parts[0].values, parts[0].merges
        for part in parts[1:]:
            values = (values[:, :, None] * part.values[:, None]).reshape(len(values), -1)
            merges = np.add.outer(merges, part.merges).ravel()
        errors = problem.error(values)
        if problem.merges is not None:
            errors = np.where(merges == problem.merges, errors, np.inf)
        if errors.min() < least:
            least = errors.min()
            places = np.unravel_index(errors.argmin(), [len(part.places) for part in parts])
            best = segments, places
    segments, places = best
    return tuple(
        search.plan((i, j, int(place))) for (i, j), place in zip(segments, places, strict=True)
    )


def _pareto(problem: Problem) -> Plans:
    """Twice: the second time the front is thinned out along what the first left to be gained."""
    coarse = problem.coarser(COORDINATES)
    students = [(canonical_plan(name, problem.T),) for name in STRATEGIES]
    deviations = [coarse.operator(plans) / coarse.teacher(0, problem.T) - 1 for plans in students]
    for _ in range(2):
        keep = pareto.ParetoFront(
            coarse.outlook[0], coarse.teacher, coarse.sensitivity * np.abs(deviations), CAP
        )
        search = Search(coarse.steps, coarse.gamma, keep)
        whole = search.all_plans(0, problem.T)
        place = int(coarse.error(whole.values).argmin())
        students.append((search.plan((0, problem.T, place)),))
        deviations = [whole.values[:, place] / coarse.teacher(0, problem.T) - 1]
        print(problem.error(problem.operator(students[-1])[:,None]), keep.capped)
    return _best(problem, students)


SOLVERS = {
    "interval": _interval,
    "breakpoints": _breakpoints,
    "exhaustive": _exhaustive,
    "pareto": _pareto,
}
