"""Planning for a whole spectrum: one plan has to serve coordinates that want different things.

On every interval a Pareto front of operator vectors is kept (the second version of Gao and Li). A
coordinate whose target lies above every plan wants all operators as large as they come, one whose
target lies below wants them small, and in between it takes no side: there only equals compare.
"""

import numpy as np

from tdmlib.linear.merging import merge

BLOCK = 64  # columns that are compared with the front, and with each other, at once


def front(costs: np.ndarray) -> np.ndarray:
    """Indices of the columns of `costs` (d, n) that no other column equals or undercuts in all d.

    Of equal columns the first stays.
    """
    order, kept = np.lexsort(costs[::-1]), np.zeros(0, int)  # what dominates stands before
    for block in np.split(order, range(BLOCK, len(order), BLOCK)):
        rivals = np.concatenate([kept, block])
        no_worse = (costs[:, rivals, None] <= costs[:, None, block]).all(axis=0)
        before = np.arange(len(rivals))[:, None] < len(kept) + np.arange(len(block))
        kept = np.concatenate([kept, block[~(no_worse & before).any(axis=0)]])
    return np.sort(kept)


class ParetoFront:
    """A `keep` that thins an interval's candidates to their front, and that to at most `cap`.

    Parameters
    ----------
    steps, gamma : A_t, shape (T, d), and γ_T, shape (d,)
    direction : shape (d,), 1 where a coordinate wants large operators, −1 small ones, 0 neither
    weights : shape (q, d), what an error in each coordinate costs, by q opinions: when a front
        passes the cap, the best by each of them stay

    `capped` counts the intervals where that happened: while it is zero the search is exact.
    """

    def __init__(self, steps, gamma, direction, weights, cap: int):
        self.steps, self.direction, self.weights = steps, direction, weights
        self.cap, self.capped = cap, 0
        merged, one = merge(steps, 1, gamma), np.ones_like(gamma)  # one by one into A_T
        self.cleaner = np.vstack([one, np.cumprod(merged, axis=0)])
        self.noisier = np.vstack([np.cumprod(merged[::-1], axis=0)[::-1], one])

    def __call__(self, values: np.ndarray, i: int, j: int) -> np.ndarray:
        chosen = np.arange(values.shape[1])
        if long := len(chosen) > 4 * self.cap:
            chosen = self._best(values, i, j, 4 * self.cap)
        chosen = chosen[front(self._costs(values[:, chosen]))]
        if not long and len(chosen) <= self.cap:
            return chosen
        self.capped += 1
        return chosen[self._best(values[:, chosen], i, j, self.cap)]

    def _costs(self, values: np.ndarray) -> np.ndarray:
        certain = self.direction != 0
        small = -self.direction[certain, None] * values[certain]
        return np.concatenate([small, values[~certain], -values[~certain]])

    def _best(self, values: np.ndarray, i: int, j: int, count: int) -> np.ndarray:
        """The best by each of the weightings in turn, `count` in all."""
        carried = self.cleaner[i] * self.noisier[j]  # what is left of it at the end
        weights, between = self.weights * carried, self.direction == 0
        scores = -(weights * self.direction) @ values
        if between.any():
            teacher = self.steps[i:j, between].prod(axis=0)[:, None]
            scores += weights[:, between] @ np.abs(values[between] - teacher)
        ranks = np.argsort(scores, axis=1, kind="stable")
        picked = dict.fromkeys(ranks.T.ravel()[: count * len(ranks)].tolist())
        return np.sort(list(picked)[:count])
