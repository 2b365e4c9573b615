"""A heuristic for one variance: where the target lies within the range of plans, hit it closely.

Errors of opposite sign can cancel there, so the best plan is a coincidence of sums that no interval
can see from inside. Each interval keeps a bounded number of operators, spread over its range.
"""

from itertools import product

import numpy as np

from tdmlib.linear.interval import Extreme
from tdmlib.linear.merging import MergePlan, merge
from tdmlib.linear.problem import Plans, Problem
from tdmlib.linear.search import Keep, Kept, Node, Search

CANDIDATES = 32  # operators that an interval keeps
SEARCHED = 48  # steps up to which that takes a second or less


def keep_spread(steps: np.ndarray, count: int) -> Keep:
    """Of each interval keep at most `count` operators, evenly over their range.

    Both ends are among them, and the teacher's nearest neighbours on either side.
    `steps` has shape (T, 1).
    """
    after = np.append(np.cumprod(steps[::-1])[::-1], 1.0)  # P_{t,T} at t

    def keep(values: np.ndarray, i: int, j: int) -> np.ndarray:
        (values,) = values
        if len(values) <= count:
            return np.arange(len(values))
        low, high = values.argmin(), values.argmax()
        width = values[high] - values[low]
        if width == 0:
            return np.array([low])
        bins = count - 4
        chosen = np.full(bins, -1)
        cell = ((values - values[low]) * (bins / width)).astype(int)
        chosen[np.minimum(cell, bins - 1)] = np.arange(len(values))
        teacher = after[i] / after[j]
        above = np.where(values >= teacher, values, np.inf).argmin()
        below = np.where(values <= teacher, values, -np.inf).argmax()
        return np.unique(np.concatenate([chosen[chosen >= 0], [low, high, below, above]]))

    return keep


class TwoEnds:
    """A `Search` that keeps two operators an interval, the smallest and the largest, from tables.

    It costs little more than the range did, so it serves where T is too large for `Search`.
    """

    def __init__(self, smallest: Extreme, largest: Extreme):
        self.ends, self.gamma = (smallest, largest), largest.gamma[:, None]
        self.T = len(self.gamma)

    def all_plans(self, i: int, j: int) -> Kept:
        """Every merge on (i, j] of what the intervals inside have kept."""
        return self._pairs(i, j, lambda left, right: merge(left, right, self.gamma[j - 1]))

    def all_rows(self, i: int, j: int) -> Kept:
        """Likewise the plans and products of plans; a product's place comes after the plans'."""
        plans = self.all_plans(i, j)
        if j - i == 1:
            return plans
        values = np.append(plans.values, self._pairs(i, j, np.multiply).values, axis=1)
        return Kept(values, *np.tile(np.arange(values.size), (2, 1)))

    def _pairs(self, i: int, j: int, combine) -> Kept:
        n = j - i
        if n == 1:
            return Kept(self.ends[0].plans[j, 1].reshape(1, 1), *np.zeros((2, 1), int))
        pairs = [
            combine(a.products[i, 1:n], b.plans[j, n - 1 : 0 : -1])
            for a, b in product(self.ends, self.ends)
        ]
        return Kept(np.concatenate(pairs)[None], *np.tile(np.arange(4 * (n - 1)), (2, 1)))

    def joined(self, left: Node, right: Node) -> MergePlan:
        """The merge of the row `left` of `all_rows` with the plan `right` of `all_plans`."""
        (i, m, place), root = left, (left[0], right[1])
        single = place < (pairs := 4 * (m - i - 1)) or m - i == 1
        row = [left] if single else self._parts(i, m, place - pairs)
        return MergePlan.from_children(
            root, lambda node: [right, *row] if node == root else self._children(node), start=i
        )

    def _children(self, node) -> list:
        if node[1] - node[0] == 1:
            return []
        if isinstance(node[-1], Extreme):
            *span, end = node
            return [(*part, end) for part in end.children(tuple(span))]
        return self._parts(*node)

    def _parts(self, i: int, j: int, place: int) -> list:
        """What the pair at `place` consists of: a plan of one end, and a row of one end."""
        ends, cut = divmod(int(place), j - i - 1)
        a, b = (self.ends[end] for end in divmod(ends, 2))
        cut += i + 1
        return [(cut, j, b), *((*part, a) for part in a.factors((i, cut)))]


def nearest(
    search: Search | TwoEnds,
    target: float,
    span: tuple[int, int],
    merges: int | None = None,
) -> MergePlan | None:
    """The plan on a span of two steps or more whose operator is closest to `target`.

    The two sides of the last merge are not thinned out: for each R the best L is looked up in
    sorted order, so that as many pairs as the square of what an interval has are tried.
    With `merges`, only plans of that many merges count; None if there is none.
    """
    (i, j), least, parts = span, np.inf, None
    (g,) = search.gamma[j - 1]
    for m in range(i + 1, j):
        for left, right in _matching(search.all_rows(i, m), search.all_plans(m, j), merges):
            order = left.values[0].argsort()
            ascending, R = left.values[0][order], right.values[0]
            wanted = (target / R - g) / (1 - g) if g < 1 else np.ones_like(R)
            above = np.searchsorted(ascending, wanted).clip(max=len(ascending) - 1)
            for side in (above, np.maximum(above - 1, 0)):
                error = np.abs(merge(ascending[side], R, g) - target)
                k = error.argmin()
                if error[k] < least:
                    least = error[k]
                    parts = (i, m, left.places[order[side[k]]]), (m, j, right.places[k])
    return search.joined(*parts) if parts else None


def _matching(left: Kept, right: Kept, merges: int | None):
    """The pairs whose numbers of merges add up, the last one included."""
    if merges is None:
        yield left, right
        return
    for count in np.unique(left.merges):
        pair = left.take(left.merges == count), right.take(right.merges == merges - 1 - count)
        if len(pair[1].places):
            yield pair


def closest_operators(ends, target: np.ndarray) -> np.ndarray:
    """For many instances, the closest of O(T²) operators, one side of the last merge unthinned.

    `ends` are tables of the smallest and the largest operators for n instances, `target` is (n,).
    """
    T, g = len(ends[0].gamma), ends[0].gamma[-1]
    best = ends[0].operator()
    for m, a, b in product(range(1, T), ends, ends):
        left, right = a.products[0, 1:m], b.plans[m, m - 1 : 0 : -1]
        rows = np.concatenate([a.products[:1, m], left * right, merge(left, right, a.gamma[m - 1])])
        for end in ends:
            operators = merge(rows, end.plans[T, T - m], g)
            nearest = np.abs(operators - target).argmin(axis=0)
            other = np.take_along_axis(operators, nearest[None], axis=0)[0]
            best = np.where(np.abs(other - target) < np.abs(best - target), other, best)
    return best


def closest(problem: Problem, ends: tuple[Extreme, Extreme], cap: int) -> list[Plans]:
    """Students whose operator comes close to a target within the range; the best is among them."""
    (target,) = problem.target
    if problem.K == 1:
        return [(plan,) for plan in _closest_plans(problem, ends, target, cap) if plan]
    students = []
    choices = {problem.even_cuts, *(end.cuts(problem.K) for end in ends)}
    for cuts in [problem.cuts] if problem.cuts is not None else sorted(choices):
        segments = problem.segments(cuts)
        low, high = ([float(end.operator(*span)) for span in segments] for end in ends)
        for k, span in enumerate(segments):  # one segment after the other goes from low to high
            others = np.prod(high[:k]) * np.prod(low[k + 1 :])
            if others * low[k] <= target <= others * high[k] and span[1] - span[0] > 1:
                plans = [ends[r < k].plan(*segment) for r, segment in enumerate(segments)]
                plans[k] = nearest(TwoEnds(*ends), target / others, span)
                students.append(tuple(plans))
    return students


def _closest_plans(problem: Problem, ends, target: float, cap: int):
    T, steps, gamma = problem.T, problem.steps, problem.gamma
    if problem.merges is None:
        yield nearest(TwoEnds(*ends), target, (0, T))
    if T <= SEARCHED:
        count = cap if problem.merges is None else max(8, cap // 4)  # one search for each
        yield nearest(
            Search(steps, gamma, keep_spread(steps, count)), target, (0, T), problem.merges
        )
