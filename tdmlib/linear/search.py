"""Planning by keeping several operators an interval: all of them, a sample, or a Pareto front.

The recursion is that of `interval`; only what is kept of each interval's candidates differs, and
that is a function handed in. Operators of d coordinates are columns, shape (d, n).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from tdmlib.linear.merging import MergePlan, merge

Keep = Callable[[np.ndarray, int, int], np.ndarray]
Node = tuple[int, int, int]  # (i, j, place)


@dataclass(frozen=True, eq=False)
class Kept:
    """Operators on one interval: columns, numbers of merges, and places among the candidates."""

    values: np.ndarray
    merges: np.ndarray
    places: np.ndarray

    def take(self, which) -> "Kept":
        return Kept(self.values[:, which], self.merges[which], self.places[which])


def keep_all(values: np.ndarray, i: int, j: int) -> slice:
    """Exhaustive search: 1, 3, 11, 45, … plans for 2, 3, 4, 5, … steps."""
    return slice(None)


class Search:
    """What is kept of all plans, and of all products of plans, on every interval.

    Parameters
    ----------
    steps, gamma : shape (T, d)
    keep : (values (d, n), i, j) -> indices of the columns that an interval keeps
    """

    def __init__(self, steps: np.ndarray, gamma: np.ndarray, keep: Keep):
        self.T, self.gamma = len(steps), gamma
        self.plans: dict[tuple[int, int], Kept] = {}
        self.rows: dict[tuple[int, int], Kept] = {}  # one plan, or several side by side
        for n in range(1, max(self.T, 2)):  # what spans all steps is the caller's to choose from
            for i in range(self.T - n + 1):
                j = i + n
                if n == 1:
                    self.plans[i, j] = Kept(steps[i][:, None], *np.zeros((2, 1), int))
                whole = self.all_plans(i, j)
                plans = self.plans[i, j] = whole.take(keep(whole.values, i, j))
                if j < self.T:  # what reaches T is R, never a factor of L
                    rows = self._side_by_side(i, j, plans)
                    self.rows[i, j] = rows.take(keep(rows.values, i, j))

    def all_plans(self, i: int, j: int) -> Kept:
        """Every merge on (i, j] of what the intervals inside have kept."""
        if j - i == 1:
            return self.plans[i, j]
        merged = partial(merge, gamma=self.gamma[j - 1][:, None, None])
        return _paired(merged, 1, self._cuts(i, j))

    def all_rows(self, i: int, j: int) -> Kept:
        """Likewise the plans and products of plans; a product's place comes after the plans'."""
        return self._side_by_side(i, j, self.all_plans(i, j))

    def _side_by_side(self, i: int, j: int, plans: Kept) -> Kept:
        if j - i == 1:
            return plans
        products = _paired(np.multiply, 0, self._cuts(i, j))
        return Kept(
            np.concatenate([plans.values, products.values], axis=1),
            np.concatenate([plans.merges, products.merges]),
            np.concatenate([plans.places, self._count(i, j) + products.places]),
        )

    def _cuts(self, i: int, j: int) -> Iterator[tuple[Kept, Kept]]:
        return ((self.rows[i, m], self.plans[m, j]) for m in range(i + 1, j))

    def _count(self, i: int, j: int) -> int:
        """Number of candidates for a plan on (i, j]."""
        sizes = (len(a.places) * len(b.places) for a, b in self._cuts(i, j))
        return max(1, sum(sizes))

    def plan(self, node: Node) -> MergePlan:
        """The plan on (i, j] at `place` among `all_plans(i, j)`."""
        return MergePlan.from_children(node, self._children, start=node[0])

    def joined(self, left: Node, right: Node) -> MergePlan:
        """The merge of the row `left` of `all_rows` with the plan `right`."""
        root = (left[0], right[1], -1)
        parts = [right, *self._factors(left)]
        return MergePlan.from_children(
            root, lambda node: parts if node == root else self._children(node), start=root[0]
        )

    def _children(self, node: Node) -> list[Node]:
        i, j, place = node
        if j - i == 1:
            return []
        m, left, right = self._split(i, j, place)
        return [(m, j, right), *self._factors((i, m, left))]

    def _factors(self, row: Node) -> list[Node]:
        """The plans that a row multiplies, noisiest first."""
        (i, j, place), parts = row, []
        while place >= (single := self._count(i, j)):  # a product: its noisiest factor comes off
            m, place, right = self._split(i, j, place - single)
            parts.append((m, j, right))
            j = m
        return [*parts, (i, j, place)]

    def _split(self, i: int, j: int, place: int) -> tuple[int, int, int]:
        """The cut of the pair at `place`, and its parts' places among their own candidates."""
        cut, left, right = _pair_at(place, self._cuts(i, j))
        return i + 1 + cut, left, right


class Students:
    """K plans side by side, one a segment, out of what a `Search` has kept.

    `values`, shape (d, n), and `merges`, shape (n,), are those of all of them; `plans(place)` makes
    one. `cuts` are the levels between the segments; None tries all.
    """

    def __init__(self, search: Search, K: int, cuts: tuple[int, ...] | None, keep: Keep):
        T = search.T
        self.search, self.K, self.levels = search, K, [range(1)]
        for k in range(1, K):
            self.levels.append(range(k, T - K + k + 1) if cuts is None else cuts[k - 1 : k])
        nothing = Kept(np.ones((search.gamma.shape[1], 1)), *np.zeros((2, 1), int))
        self.rows = [{0: nothing}]
        for k in range(1, K):
            whole = {j: self._all(k, j) for j in self.levels[k]}
            self.rows.append({j: kept.take(keep(kept.values, 0, j)) for j, kept in whole.items()})
        last = self._all(K, T)
        self.values, self.merges = last.values, last.merges

    def _all(self, k: int, j: int) -> Kept:
        """All that k plans on (0, j] can leave, each with what is kept of its segment."""
        return _paired(np.multiply, 0, (pair for _, *pair in self._cuts(k, j)))

    def _cuts(self, k: int, j: int) -> Iterator[tuple[int, Kept, Kept]]:
        for m in self.levels[k - 1]:
            if m < j:
                whole = self.K == 1  # nothing to be thinned out
                segment = self.search.all_plans(m, j) if whole else self.search.plans[m, j]
                yield m, self.rows[k - 1][m], segment

    def plans(self, place: int) -> tuple[MergePlan, ...]:
        """The plans whose product is column `place` of `values`."""
        plans, j = [], self.search.T
        for k in range(self.K, 0, -1):
            cuts = list(self._cuts(k, j))
            index, place, own = _pair_at(place, (pair for _, *pair in cuts))
            m = cuts[index][0]
            plans.insert(0, self.search.plan((m, j, own)))
            j = m
        return tuple(plans)


def _pair_at(place: int, cuts: Iterator[tuple[Kept, Kept]]) -> tuple[int, int, int]:
    """Which cut, and which places left and right, `_paired` has put at `place`."""
    for index, (left, right) in enumerate(cuts):
        size = len(left.places) * len(right.places)
        if place < size:
            a, b = divmod(place, len(right.places))
            return index, int(left.places[a]), int(right.places[b])
        place -= size
    raise IndexError(place)


def _paired(combine: Callable, extra: int, cuts: Iterator[tuple[Kept, Kept]]) -> Kept:
    """All pairs (left, right) at all cuts, in order; `extra` merges for each."""
    values, merges = [], []
    for left, right in cuts:
        pairs = combine(left.values[:, :, None], right.values[:, None, :])
        values.append(pairs.reshape(len(pairs), -1))
        merges.append((left.merges[:, None] + right.merges + extra).ravel())
    merges = np.concatenate(merges)
    return Kept(np.concatenate(values, axis=1), merges, np.arange(len(merges)))
