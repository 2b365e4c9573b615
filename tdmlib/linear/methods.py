"""The planning methods, from theorems to exhaustive search, and which of them fits a problem."""

from dataclasses import dataclass, replace

import numpy as np

from tdmlib.linear import breakpoints, candidates, pareto
from tdmlib.linear.merging import STRATEGIES, MergePlan, canonical_student
from tdmlib.linear.problem import Plans, Problem
from tdmlib.linear.search import Keep, Search, Students, keep_all

EXHAUSTIVE = 9  # steps up to which all plans are tried
TRIED = 2**22  # numbers that all plans leave, about 6^(T − 3) a variance, for `auto` to try them
INTERVAL = 1024  # steps up to which `auto` pays O(T³)
COORDINATES = 64  # of a spectrum that Pareto fronts tell apart
FRONT = 6  # operators that a front keeps


@dataclass(frozen=True)
class Found:
    """What a method found: `proved` if nothing else can be better, `cap` if it left things out."""

    plans: Plans
    method: str
    proved: bool = False
    cap: int | None = None


def solve(problem: Problem, method: str, cap: int | None) -> Found:
    """By the method of that name; "auto" takes the cheapest that can certify, or the best else."""
    if problem.K == problem.T or method == "auto":
        if plans := by_theorem(problem):
            return Found(plans, "theorem", proved=True)
        method = _cheapest(problem)
    if problem.budget == "merge":
        return SOLVERS[method](problem, cap)
    return _shared(problem, method, cap)


def by_theorem(problem: Problem) -> Plans | None:
    """The canonical plan that is proved best in every coordinate, if one is."""
    T = problem.T
    if problem.K == T:  # nothing to merge
        return tuple(MergePlan((0,), t) for t in range(T))
    if problem.K > 1:
        return None
    plans = {problem.proved_best(sign) if sign else None for sign in set(problem.phase.tolist())}
    return tuple(plans) if len(plans) == 1 and None not in plans else None


def _cheapest(problem: Problem) -> str:
    if problem.T <= EXHAUSTIVE and 6 ** (problem.T - 3) * len(problem.lam) <= TRIED:
        return "exhaustive"
    if len(problem.lam) > 1:
        return "pareto"
    return "interval" if problem.T <= INTERVAL or problem.K > 1 else "breakpoints"


def _shared(problem: Problem, method: str, cap: int | None) -> Found:
    """With a total budget: one search for each number of merges, or for some of many."""
    counts = problem.merge_counts
    if method != "exhaustive":
        counts = sorted({2**k for k in range(12)} & {*counts} | {counts[0]})
    found = [SOLVERS[method](problem.shared(n), cap) for n in counts]
    students = [f.plans for f in found if f.plans] + _one_merge_each(problem)
    if method in ("interval", "pareto"):  # which took each for plans of n merges
        cuts = {tuple(plan.start for plan in plans[1:]) for plans in students}
        several = [replace(problem, cuts=levels) for levels in sorted(cuts)]
        students += [_canonical(part, name) for part in several for name in STRATEGIES]
    plans = _best(problem, students)
    cap = max((f.cap for f in found if f.cap), default=None)
    return Found(plans, method, method == "exhaustive", cap)


def _one_merge_each(problem: Problem) -> list[Plans]:
    """Students that hardly split a total time: vanilla in each segment.

    Where the cuts are free, all but one of the segments are teacher steps.
    """
    T, K = problem.T, problem.K
    free = [(*range(1, k + 1), *range(k + T - K + 1, T)) for k in range(K)]
    return [
        tuple(MergePlan((0,) * (j - i) + (j - i,) * (j - i > 1), i) for i, j in segments)
        for segments in map(problem.segments, free if problem.cuts is None else [problem.cuts])
    ]


def _best(problem: Problem, students: list[Plans]) -> Plans:
    return min(students, key=lambda plans: problem.error(problem.operator(plans)[:, None])[0])


def _interval(problem: Problem, cap: int | None) -> Found:
    ends, (target,), students = problem.extremes(0), problem.target, []
    for end, beyond in zip(ends, (np.less_equal, np.greater_equal), strict=True):
        cuts = end.cuts(problem.K) if problem.cuts is None else problem.cuts
        plans = tuple(end.plan(i, j) for i, j in problem.segments(cuts))
        if beyond(target, problem.operator(plans)[0]):
            return Found(plans, "interval")
        students.append(plans)
    cap = cap or candidates.CANDIDATES
    students += candidates.closest(problem, ends, cap)
    return Found(_best(problem, students), "interval", cap=cap)


def _breakpoints(problem: Problem, cap: int | None) -> Found:
    steps, gamma, (target,) = problem.steps, problem.gamma[-1], problem.target
    students = []
    for largest, beyond in ((False, np.less_equal), (True, np.greater_equal)):
        plan = breakpoints.extreme_plan(steps[:, 0], gamma[0], largest)
        if beyond(target, problem.operator((plan,))[0]):
            return Found((plan,), "breakpoints")
        students.append((plan,))
    cap = cap or (candidates.CANDIDATES if problem.T <= 256 else 8)
    search = breakpoints.GroupSearch(steps, gamma, candidates.keep_spread(steps, cap))
    place = int(problem.error(search.values).argmin())
    return Found(_best(problem, [*students, (search.plan(place),)]), "breakpoints", cap=cap)


def _exhaustive(problem: Problem, cap: int | None) -> Found:
    return Found(_searched(problem, keep_all), "exhaustive", proved=True)


def _pareto(problem: Problem, cap: int | None) -> Found:
    """Fronts are thinned out by what plans that are known to do well leave to be gained.

    Where that is proved to lose nothing, and where T is large, only the student at T is trained, so
    that there are T fronts, not T².
    """
    coarse, cap = problem.coarser(COORDINATES), cap or FRONT
    at_T = problem.T > candidates.SEARCHED or problem.trains_at_T
    if problem.K > 1 and at_T:
        return _segment_by_segment(problem, cap)
    students = [_canonical(problem, name) for name in STRATEGIES]
    if problem.K == 1:
        jumps = breakpoints.jumps_then_boot(problem.steps, problem.gamma[-1])
        best = int(problem.error(jumps.T).argmin())
        students.append((breakpoints.jump_then_boot(best, problem.T),))
    errors = [coarse.operator(plans) - coarse.target for plans in students]
    gradients = coarse.input_variance * np.abs(errors)  # of ½ W₂²
    keep = pareto.ParetoFront(coarse.steps, coarse.gamma[-1], coarse.outlook[0], gradients, cap)
    if plans := _searched(coarse, keep, at_T):
        students.append(plans)
    everything = not at_T or problem.trains_at_T
    exact = everything and not keep.capped and coarse is problem and problem.merges is None
    return Found(_best(problem, students), "pareto", exact, None if exact else cap)


def _searched(problem: Problem, keep: Keep, at_T: bool = False) -> Plans | None:
    """The best plans that a search finds, of `problem.merges` merges if that is asked for.

    `at_T` leaves out all that train below T.
    """
    if at_T:
        groups = breakpoints.GroupSearch(problem.steps, problem.gamma[-1], keep)
        found, plans = groups, lambda place: (groups.plan(place),)
    else:
        search = Search(problem.steps, problem.gamma, keep)
        found = Students(search, problem.K, problem.cuts, keep)
        plans = found.plans
    errors = problem.error(found.values)
    if problem.merges is not None:
        errors = np.where(found.merges == problem.merges, errors, np.inf)
    place = int(errors.argmin())
    return plans(place) if errors[place] < np.inf else None


def _segment_by_segment(problem: Problem, cap: int) -> Found:
    """Each segment on its own; cuts that are not given are the best of some for the spectrum."""
    if problem.cuts is None:
        some = problem.coarser(4).lam  # each has best cuts of its own
        ends = [end for k in range(len(some)) for end in replace(problem, lam=some).extremes(k)]
        several = {problem.even_cuts, *(end.cuts(problem.K) for end in ends)}
        students = [_canonical(replace(problem, cuts=cuts), name)
                    for cuts in sorted(several) for name in STRATEGIES]  # fmt: skip
        cuts = tuple(plan.start for plan in _best(problem, students)[1:])
        problem = replace(problem, cuts=cuts)
    plans = []
    for i, j in problem.segments(problem.cuts):
        (plan,) = solve(problem.segment(i, j), "auto", cap).plans
        plans.append(replace(plan, start=i))
    return Found(tuple(plans), "pareto", cap=cap)


def _canonical(problem: Problem, name: str) -> Plans:
    """A canonical strategy on each segment, cut evenly unless cuts are given."""
    cuts = problem.even_cuts if problem.cuts is None else problem.cuts
    return canonical_student(name, problem.T, cuts)


SOLVERS = {
    "interval": _interval,
    "breakpoints": _breakpoints,
    "exhaustive": _exhaustive,
    "pareto": _pareto,
}
