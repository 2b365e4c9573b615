"""What a planner is given: a spectrum, a schedule, a training budget and what to come close to."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from tdmlib.linear.interval import Extreme
from tdmlib.linear.merging import MergePlan, canonical_plan, count_merges, evaluate, surrogate
from tdmlib.linear.operators import marginal_variance, residual, step_operators
from tdmlib.linear.phases import proved_phase
from tdmlib.schedules import Schedule

Plans = tuple[MergePlan, ...]
EPS = np.finfo(float).eps
TABLE = 2**24  # entries of an `Extreme` that are held at a time
AFFORDABLE = 2**31  # steps of all dynamic programs together: some seconds


def reaches(error, bound, target, T: int):
    """Whether errors reach their bounds, up to rounding in T steps of a target's size."""
    return error <= bound + 4 * T * EPS * (bound + target)


@dataclass(frozen=True, eq=False)
class Problem:
    """K plans, a segment each, for d coordinates; arrays are flat, shape (d,) or (T, d)."""

    schedule: Schedule
    lam: np.ndarray
    s: float
    rate: float
    reference: str
    input_variance: np.ndarray
    budget: str
    K: int
    cuts: tuple[int, ...] | None
    shape: tuple[int, ...]
    merges: int | None = None  # how many there must be, where a planner can see to it

    @property
    def T(self) -> int:
        return self.schedule.T

    @cached_property
    def steps(self) -> np.ndarray:
        """A_t, shape (T, d)."""
        return step_operators(self.schedule, self.lam)

    @cached_property
    def gamma(self) -> np.ndarray:
        """γ_t after time s, shape (T, d)."""
        return residual(self.schedule, self.lam, self.s, self.rate)

    @cached_property
    def target(self) -> np.ndarray:
        """Q, the operator that all K plans together are held against, shape (d,)."""
        return surrogate(self.schedule, self.lam, self.reference)

    @cached_property
    def size(self) -> float:
        """The standard deviation that the reference puts out, over all coordinates."""
        with np.errstate(over="ignore"):
            return float(np.sqrt(np.sum(self.input_variance * self.target**2)))

    def same(self, error: float, bound: float) -> bool:
        """Whether an error reaches a bound, up to rounding."""
        return bool(reaches(error, bound, self.size, self.T))

    def error(self, operators: np.ndarray) -> np.ndarray:
        """W₂ of operators (d, n), shape (n,); Def. 4.1."""
        gap = operators - self.target[:, None]  # no operator of the linear regime is negative
        return np.sqrt(self.input_variance @ gap**2)

    def coarser(self, d: int) -> "Problem":
        """At most d coordinates: neighbours in λ are replaced by their median."""
        if len(self.lam) <= d:
            return self
        groups = np.array_split(np.argsort(self.lam), d)
        lam = np.array([np.median(self.lam[group]) for group in groups])
        weight = np.array([self.input_variance[group].sum() for group in groups])
        return replace(self, lam=lam, input_variance=weight)

    def shared(self, merges: int) -> "Problem":
        """A total budget, as it is for plans of that many merges."""
        return replace(self, s=self.s / merges, budget="merge", merges=merges)

    def time_of(self, plans: Plans) -> float:
        """What one merge of `plans` is trained for."""
        return self.s / max(count_merges(plans), 1) if self.budget == "total" else self.s

    def operator(self, plans: Plans) -> np.ndarray:
        """What `plans` leave, shape (d,)."""
        s = self.time_of(plans)
        return np.prod([evaluate(p, self.schedule, self.lam, s, self.rate) for p in plans], axis=0)

    @property
    def even_cuts(self) -> tuple[int, ...]:
        """Levels that cut the grid into K segments of about the same number of steps."""
        return tuple(round(self.T * k / self.K) for k in range(1, self.K))

    def segment(self, i: int, j: int) -> "Problem":
        """The problem of one step of the student, from level j to level i."""
        levels = slice(i, j + 1)
        part = Schedule(self.schedule.alpha[levels], self.schedule.sigma[levels])
        variance = marginal_variance(part, self.lam)[-1]
        return replace(self, schedule=part, input_variance=variance, K=1, cuts=(), merges=None)

    def segments(self, cuts: tuple[int, ...]) -> list[tuple[int, int]]:
        return list(pairwise((0, *cuts, self.T)))

    @cached_property
    def phase(self) -> np.ndarray:
        """Which canonical plan is proved best in each coordinate, shape (d,)."""
        return proved_phase(self.schedule, self.lam, self.reference)

    def extremes(self, which=slice(None)) -> tuple[Extreme, Extreme]:
        """Tables of the smallest and the largest operators, for the coordinates `which`."""
        steps, gamma = self.steps[:, which], self.gamma[:, which]
        return Extreme.of(steps, gamma, largest=False), Extreme.of(steps, gamma, largest=True)

    def product(self, end: Extreme) -> np.ndarray:
        """The extreme operator of K plans, at `cuts` or at the extreme ones."""
        if self.cuts is None:
            return end.chain(self.K)[-1, -1]
        return np.prod([end.operator(i, j) for i, j in self.segments(self.cuts)], axis=0)

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest operator over all plans, O(T³) a coordinate, shape (d,).

        With a total budget it is an outer bound: over all plans at each time that a merge may get.
        """
        if self.budget == "total":
            ranges = [self.shared(n).bounds for n in self.merge_counts]
            low, high = zip(*ranges, strict=True)
            return np.min(low, axis=0), np.max(high, axis=0)
        size = max(1, TABLE // (self.T + 1) ** 2)
        parts = [self.extremes(slice(k, k + size)) for k in range(0, len(self.lam), size)]
        low, high = ([self.product(part[end]) for part in parts] for end in (0, 1))
        return np.concatenate(low), np.concatenate(high)

    @cached_property
    def outlook(self) -> tuple[np.ndarray, np.ndarray]:
        """Each coordinate's direction, and what no plan can undercut in it; both shape (d,).

        The direction is 1 where the target lies above all plans, so that larger is better, −1 where
        it lies below, 0 where it lies between or the range would take too long.
        """
        direction, error = np.zeros(len(self.lam), int), np.zeros(len(self.lam))
        if self.K == 1 < self.T:
            direction = self.phase.copy()
            for sign in (-1, 1):
                if (proved := direction == sign).any():
                    part = replace(self, lam=self.lam[proved])
                    operator = part.operator((part.proved_best(sign),))
                    error[proved] = np.abs(operator - part.target)
        if (rest := direction == 0).any():
            part = replace(self, lam=self.lam[rest])
            direction[rest], error[rest] = part._distance_to_range()
        return direction, error

    @property
    def trains_at_T(self) -> bool:
        """Whether a best plan is proved to train at level T alone: no coordinate is mixed.

        A step of both theorems' proofs: S, and with it every error, improves when the factors of
        L below T sink (rise) to their teacher steps.
        """
        return self.K == 1 and self.budget == "merge" and self.merges is None and self.phase.all()

    def proved_best(self, sign: int) -> MergePlan:
        """The plan that is proved best in a pure phase, for K = 1."""
        boot = sign < 0 and self.budget == "merge"  # with the time shared, vanilla is best in both
        return canonical_plan("sequential_boot" if boot else "vanilla", self.T)

    def _distance_to_range(self) -> tuple[np.ndarray, np.ndarray]:
        """`outlook` from the range of all plans; nothing is known where that takes too long."""
        ranges = [self] if self.budget == "merge" else [self.shared(n) for n in self.merge_counts]
        if len(ranges) * len(self.lam) * self.T**3 > AFFORDABLE:
            return np.zeros(len(self.lam), int), np.zeros(len(self.lam))
        low, high = np.array([part.bounds for part in ranges]).swapaxes(0, 1)
        side = np.where(self.target >= high, 1, np.where(self.target <= low, -1, 0))
        distance = np.maximum(np.maximum(low - self.target, self.target - high), 0)
        return np.where((side == side[0]).all(axis=0), side[0], 0), distance.min(axis=0)

    @property
    def merge_counts(self) -> range:
        """Numbers of merges that K plans over T > K steps can have."""
        fewest = 1
        if self.cuts is not None:
            fewest = max(1, sum(j - i > 1 for i, j in self.segments(self.cuts)))
        return range(fewest, max(self.T - self.K, 1) + 1)
