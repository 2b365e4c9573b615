"""Planning for a whole spectrum: one plan has to serve coordinates that want different things.

On every interval a Pareto front of operator vectors is kept (the second version of Gao and Li). A
coordinate whose target lies above every plan wants all operators as large as they come, one whose
target lies below wants them small, and in between it takes no side: there only equals compare.
"""

import numpy as np


def front(costs: np.ndarray) -> np.ndarray:
    """Indices of the columns of `costs` (d, n) that no other column equals or undercuts in all d.

    Of equal columns the first stays.
    """
    order = np.lexsort(costs[::-1])  # what dominates a column stands before it
    costs, chosen = costs[:, order], []
    alive = np.ones(costs.shape[1], bool)
    while alive.any():
        first = int(alive.argmax())
        chosen.append(order[first])
        alive &= (costs < costs[:, first : first + 1]).any(axis=0)
    return np.sort(np.array(chosen, int))


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
        self.steps, self.gamma, self.direction, self.weights = steps, gamma, direction, weights
        self.cap, self.capped = cap, 0

    def __call__(self, values: np.ndarray, i: int, j: int) -> np.ndarray:
        certain = self.direction != 0
        small = -self.direction[certain, None] * values[certain]
        costs = np.concatenate([small, values[~certain], -values[~certain]])
        if values.shape[1] <= 4 * self.cap:
            chosen = front(costs)
            if len(chosen) <= self.cap:
                return chosen
        else:
            chosen = self._best(np.arange(values.shape[1]), values, i, j, 4 * self.cap)
            chosen = chosen[front(costs[:, chosen])]
        self.capped += 1
        return self._best(chosen, values, i, j, self.cap)

    def _best(self, chosen, values, i: int, j: int, count: int) -> np.ndarray:
        """The best by each of the weightings in turn, `count` in all."""
        error = values[:, chosen] - self.steps[i:j].prod(axis=0)[:, None]
        side = self.direction[:, None]
        cost = np.where(side == 0, np.abs(error), -side * error)
        rest = np.concatenate([self.steps[:i], self.steps[j:]])
        carried = (rest * (1 - self.gamma) + self.gamma).prod(axis=0)  # as if merged one by one
        ranks = np.argsort((self.weights * carried) @ cost, axis=1, kind="stable")
        picked = dict.fromkeys(ranks.T.ravel()[: count * len(ranks)].tolist())
        return chosen[np.sort(list(picked)[:count])]
