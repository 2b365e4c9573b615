"""The exact range of all merge plans, by two dynamic programs over intervals (Thm. 4.1).

merge(L, R; γ) = R · ((1 − γ) L + γ) increases in L and in R, so the largest operator on (i, j] is
a merge of the largest R on (m, j] with the largest *product* L of sub-plans on (i, m], for the best
cut m; likewise the smallest. That takes O(T³), at every variance and for every schedule.
"""

from dataclasses import dataclass

import numpy as np

from tdmlib.errors import InputError
from tdmlib.linear.merging import MergePlan, merge

LONGEST = 4096  # steps; tables of half a GiB, and minutes


@dataclass(frozen=True, eq=False)
class Extreme:
    """The largest, or smallest, operator of any plan on each interval.

    `plans[j, n]` belongs to plans on (j − n, j], `products[i, n]` to products of plans on
    (i, i + n]; both have shape (T + 1, T + 1, …). So the intervals of one length, with all their
    cuts, are two contiguous slices, and a length takes a handful of array operations.
    """

    gamma: np.ndarray
    plans: np.ndarray
    products: np.ndarray
    largest: bool

    @classmethod
    def of(cls, steps, gamma, largest: bool) -> "Extreme":
        """From A_t and γ_t, both of shape (T, …)."""
        if (T := len(steps)) > LONGEST:
            raise InputError(
                f"T = {T}: the range of all plans takes T² numbers, so T ≤ {LONGEST}; "
                "use method='breakpoints', or stop at fewer levels"
            )
        of_all, of_two = (np.max, np.maximum) if largest else (np.min, np.minimum)
        plans, products = np.empty((2, T + 1, T + 1, *np.shape(gamma)[1:]))
        plans[1:, 1] = products[:T, 1] = steps
        for n in range(2, T + 1):
            left, right = products[: T - n + 1, 1:n], plans[n:, n - 1 : 0 : -1]
            g = gamma[n - 1 :, None]
            merged = left * (1 - g)  # in place from here: memory is what this waits for
            merged += g
            merged *= right
            plans[n:, n] = of_all(merged, axis=1)
            joined = np.multiply(left, right, out=merged)
            products[: T - n + 1, n] = of_two(plans[n:, n], of_all(joined, axis=1))
        return cls(gamma, plans, products, largest)

    def operator(self, i: int = 0, j: int | None = None) -> np.ndarray:
        """The extreme operator on (i, j], by default on (0, T]."""
        j = len(self.gamma) if j is None else j
        return self.plans[j, j - i]

    def take(self, which) -> "Extreme":
        """The tables of some of the instances along the last axis."""
        parts = (a[..., which] for a in (self.gamma, self.plans, self.products))
        return Extreme(*parts, self.largest)

    def plan(self, i: int = 0, j: int | None = None) -> MergePlan:
        """A plan that attains it; for one instance, that is, arrays of shape (T,)."""
        root = i, len(self.gamma) if j is None else j
        return MergePlan.from_children(root, self.children, start=i)

    def children(self, span: tuple[int, int]) -> list[tuple[int, int]]:
        """What the best plan on (i, j] merges, as intervals, noisiest first."""
        (i, j), n = span, span[1] - span[0]
        if n == 1:
            return []
        cut = i + 1 + self._best(merge(*self._sides(i, j, n), self.gamma[j - 1]))
        return [(cut, j), *self.factors((i, cut))]

    def factors(self, span: tuple[int, int]) -> list[tuple[int, int]]:
        """The intervals of the plans whose product is best on (i, j], noisiest first."""
        (i, j), parts = span, []
        while (n := j - i) > 1 and self.products[i, n] != self.plans[j, n]:
            cut = i + 1 + self._best(np.multiply(*self._sides(i, j, n)))
            parts.append((cut, j))
            j = cut
        return [*parts, (i, j)]

    def _sides(self, i: int, j: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        return self.products[i, 1:n], self.plans[j, n - 1 : 0 : -1]  # over the cut, i + 1 … j − 1

    def _best(self, candidates: np.ndarray) -> int:
        return int(candidates.argmax() if self.largest else candidates.argmin())

    def chain(self, K: int) -> np.ndarray:
        """Row k − 1 holds, at j, the extreme product of k plans that together cover (0, j]."""
        T, extreme = len(self.gamma), np.max if self.largest else np.min
        rows = np.full((K, T + 1, *self.plans.shape[2:]), np.nan)
        for j in range(1, T + 1):
            rows[0, j] = self.plans[j, j]
            for k in range(1, min(K, j)):
                rows[k, j] = extreme(self._joined(rows, k, j), axis=0)
        return rows

    def cuts(self, K: int) -> tuple[int, ...]:
        """The K − 1 inner levels of the best segments for K plans; for one instance."""
        rows, levels = self.chain(K), [len(self.gamma)]
        for k in range(K - 1, 0, -1):
            joined = self._joined(rows, k, levels[0])
            levels.insert(0, k + self._best(joined))
        return tuple(levels[:-1])

    def _joined(self, rows: np.ndarray, k: int, j: int) -> np.ndarray:
        return rows[k - 1, k:j] * self.plans[j, j - k : 0 : -1]  # over the last cut, k … j − 1
