"""Plans in which only the student at T is trained: sets of break points, O(T²).

Such a plan cuts the steps below T into groups and merges one untrained group after the other into
A_T, so its operator is A_T ∏ f(P_{group}) with f(x) = (1 − γ_T) x + γ_T. Vanilla is one group,
sequential BOOT is T − 1 of them; both optimal phases are within reach, at any T.
"""

from itertools import pairwise

import numpy as np

from tdmlib.errors import check_number
from tdmlib.linear.merging import MergePlan, merge
from tdmlib.linear.search import Keep, Kept

CHUNK = 256  # instances at a time: their tables stay in the processor's cache


def breakpoint_plan(levels, T: int) -> MergePlan:
    """The plan over T ≥ 2 steps whose groups break at `levels`, ascending within 0 < level < T − 1.

    The empty list is vanilla, all levels are sequential BOOT.
    """
    ends = [T - 1, *reversed(levels), 0]
    sizes = [high - low for high, low in pairwise(ends)]
    return MergePlan((0, *(k for size in sizes for k in [0] * size + [size + 1])))


def jump_then_boot(m: int, T: int) -> MergePlan:
    """One merge over the noisy steps, (m, T], then A_m … A_1 one at a time.

    m = 0 is vanilla, m = T − 2 sequential BOOT. Raises InputError unless 0 ≤ m ≤ T − 2.
    """
    T = check_number("T", T, 2, whole=True)
    m = check_number("m", m, 0, T - 2, whole=True)
    return breakpoint_plan(range(1, m + 1), T)


def suffix_products(steps: np.ndarray) -> np.ndarray:
    """D_m = P_{m,T−1} for m = 0 … T − 1, from steps of shape (T, …)."""
    products = np.ones_like(steps)
    np.cumprod(steps[-2::-1], axis=0, out=products[-2::-1])
    return products


def jumps_then_boot(steps: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """The operators of `jump_then_boot`, in row m that of the jump (m, T]; m = 0 … T − 2.

    `steps` has shape (T, d), γ_T shape (d,). Row 0 is vanilla's, the last is sequential BOOT's.
    """
    one_by_one = np.ones_like(steps[:-1])
    np.cumprod(merge(steps[:-2], 1, gamma), axis=0, out=one_by_one[1:])
    return merge(suffix_products(steps)[:-1], steps[-1], gamma) * one_by_one


def extreme_products(steps: np.ndarray, gamma: np.ndarray, largest: bool) -> np.ndarray:
    """The largest (smallest) ∏ f(P_{group}) over all groupings of (m, T − 1], at m = 0 … T − 1.

    With b_i the best value of what is noisier than i, a last group (m, i] gives
    b_i f(D_m / D_i) = γ b_i + (1 − γ) (b_i / D_i) D_m, a line in D_m: the answer is the envelope of
    these lines, two operations a pair. `steps` has shape (T, n), γ_T shape (n,); so has a row.
    """
    T, count = steps.shape
    products = suffix_products(np.ascontiguousarray(steps))  # a level's instances side by side
    extreme = np.max if largest else np.min
    best = np.ones_like(products)
    for first in range(0, count, CHUNK):
        part = slice(first, first + CHUNK)
        D, b, g = products[:, part], best[:, part], gamma[part]
        offset, slope, lines = np.empty((3, *D.shape))
        for m in range(T - 1, -1, -1):
            if m < T - 1:
                np.multiply(slope[m + 1 :], D[m], out=lines[m + 1 :])
                lines[m + 1 :] += offset[m + 1 :]
                b[m] = extreme(lines[m + 1 :], axis=0)
            if m:  # D_0 may be zero, and no group begins there
                offset[m] = g * b[m]
                slope[m] = (b[m] - offset[m]) / D[m]
    return best


def extreme_plan(steps: np.ndarray, gamma: float, largest: bool) -> MergePlan:
    """A plan that attains `extreme_products`; `steps` of shape (T,), one γ_T."""
    T, D = len(steps), suffix_products(steps)
    best = extreme_products(steps[:, None], np.array([gamma]), largest)[:, 0]
    levels, m = [], 0
    while m < T - 1:
        joined = merge(D[m] / D[m + 1 :], best[m + 1 :], gamma)
        m += 1 + int(joined.argmax() if largest else joined.argmin())
        levels.append(m)
    return breakpoint_plan(levels[:-1], T)


class GroupSearch:
    """Several groupings kept at every level, as `Search` keeps plans on every interval.

    `steps` has shape (T, d), γ_T shape (d,); `keep(values (d, n), m, T)` names what stays.
    """

    def __init__(self, steps: np.ndarray, gamma: np.ndarray, keep: Keep):
        self.T, self.products, self.gamma = len(steps), suffix_products(steps), gamma[:, None]
        one = Kept(np.ones((len(gamma), 1)), *np.zeros((2, 1), int))
        self.rows = {self.T - 1: one}
        for m in range(self.T - 2, 0, -1):
            whole = self._all(m)
            kept = keep(whole.values * steps[-1][:, None], m, self.T)
            self.rows[m] = whole.take(kept)
        whole = self._all(0)
        self.values, self.merges = whole.values * steps[-1][:, None], whole.merges

    def _all(self, m: int) -> Kept:
        """Every grouping of (m, T − 1] whose noisier part has been kept."""
        values, merges = [], []
        for i in range(m + 1, self.T):
            group = (self.products[m] / self.products[i])[:, None]
            values.append(merge(group, self.rows[i].values, self.gamma))
            merges.append(self.rows[i].merges + 1)
        merges = np.concatenate(merges)
        return Kept(np.concatenate(values, axis=1), merges, np.arange(len(merges)))

    def plan(self, place: int) -> MergePlan:
        """The plan whose operator is column `place` of `values`."""
        levels, m = [], 0
        while m < self.T - 1:
            i = m + 1
            while place >= (size := len(self.rows[i].places)):
                place -= size
                i += 1
            levels.append(i)
            m, place = i, int(self.rows[i].places[place])
        return breakpoint_plan(levels[:-1], self.T)
