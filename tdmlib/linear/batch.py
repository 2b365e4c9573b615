"""`optimal_plans`: many independent variances, or many (λ, s), at once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from tdmlib.errors import InputError, one_of
from tdmlib.linear import breakpoints
from tdmlib.linear.candidates import closest_operators
from tdmlib.linear.interval import Extreme
from tdmlib.linear.merging import merge, surrogate
from tdmlib.linear.operators import input_variances, residual, step_operators, variances
from tdmlib.linear.phases import proved_phase
from tdmlib.linear.planning import PlanResult, optimal_plan
from tdmlib.linear.problem import TABLE, reaches
from tdmlib.schedules import Schedule

METHODS = ("auto", "interval", "breakpoints")


@dataclass(frozen=True, eq=False, repr=False)
class PlanBatch:
    """The best operator for each of many (λ, s); arrays have the shape that these broadcast to.

    Attributes
    ----------
    operator, error : what the best plan found leaves, and its W₂ error
    lower_bound : no plan has a smaller error
    certified : the error reaches that bound, up to rounding
    phase : −1 where sequential BOOT is proved best, 1 where vanilla is, 0 in between

    `batch[index]` is the `PlanResult` of one of them, planned when asked for. Where a plan is not
    certified it searches longer, so that its error may be smaller than the one listed here.
    """

    schedule: Schedule
    lam: np.ndarray
    s: np.ndarray
    input_variance: np.ndarray
    rate: float
    method: str
    reference: str
    operator: np.ndarray
    error: np.ndarray
    lower_bound: np.ndarray
    certified: np.ndarray
    phase: np.ndarray

    def __repr__(self):
        certified = f"{int(self.certified.sum())} of {self.certified.size} certified"
        return f"PlanBatch(shape={self.certified.shape}, method={self.method!r}, {certified})"

    def __getitem__(self, index) -> PlanResult:
        lam, s = self.lam[index], self.s[index]
        if np.ndim(lam):
            raise InputError(f"batch[{index}] names {lam.shape} plans; give a full index")
        return optimal_plan(
            self.schedule, lam, float(s), self.rate, self.method, self.reference,
            input_variance=self.input_variance[index],
        )  # fmt: skip


def optimal_plans(
    schedule: Schedule,
    lams,
    s,
    rate: float = 2.0,
    method: str = "auto",
    reference: str = "teacher",
    *,
    input_variance=None,
) -> PlanBatch:
    """The best plan for each λ on its own; `lams` and `s` are arrays that broadcast.

    "auto" takes the theorems in the pure phases, O(T), and the exact range of all plans elsewhere,
    O(T³); "interval" takes the latter everywhere; "breakpoints" is O(T²), with the student at T
    alone. Where the target lies within the range, the closest of O(T²) candidates is taken.
    `reference` and `input_variance` are those of `w2_error`. Raises InputError for bad values.
    """
    one_of("method", method, METHODS)
    lams = variances(lams)
    variance = input_variances(schedule, lams, input_variance)
    gamma = residual(schedule, lams, s, rate)
    shape = gamma.shape[1:]
    lam = np.broadcast_to(lams, shape).ravel()
    steps, gamma = step_operators(schedule, lam), gamma.reshape(schedule.T, -1)
    target, phase = surrogate(schedule, lam, reference), proved_phase(schedule, lam, reference)
    operator, least = np.empty((2, lam.size))
    planned = phase != 0
    if method == "auto":
        for sign, canonical in ((-1, _boot), (1, _vanilla)):
            where = phase == sign
            operator[where] = canonical(steps[:, where], gamma[-1, where])
    else:
        planned[:] = False
    best, size, rest = _interval, max(1, TABLE // (schedule.T + 1) ** 2), np.flatnonzero(~planned)
    if method == "breakpoints":
        best, size = _breakpoints, max(1, TABLE // schedule.T)
    for part in (rest[k : k + size] for k in range(0, len(rest), size)):
        operator[part], least[part] = best(steps[:, part], gamma[:, part], target[part])
    error = np.abs(operator - target)
    proved = planned if method != "breakpoints" else phase != 0
    least = np.where(proved, error, np.minimum(least, error))
    certified = reaches(error, least, target, schedule.T)
    given = [np.broadcast_to(a, shape) for a in (lams, s, variance)]
    root = np.sqrt(given[-1].ravel())
    return PlanBatch(
        schedule, *given, rate, method, reference,
        *(a.reshape(shape) for a in (operator, root * error, root * least, certified, phase)),
    )  # fmt: skip


def _boot(steps: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    return steps[-1] * merge(steps[:-1], 1, gamma).prod(axis=0)


def _vanilla(steps: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    return merge(steps[:-1].prod(axis=0), steps[-1], gamma)


def _interval(steps, gamma, target) -> tuple[np.ndarray, np.ndarray]:
    ends = [Extreme.of(steps, gamma, largest) for largest in (False, True)]
    low, high = (end.operator() for end in ends)
    operator, inside = np.where(target <= low, low, high), (low < target) & (target < high)
    if inside.any():
        ends = [end.take(inside) for end in ends]
        operator[inside] = closest_operators(ends, target[inside])
    return operator, np.maximum(np.maximum(low - target, target - high), 0)


def _breakpoints(steps, gamma, target) -> tuple[np.ndarray, np.ndarray]:
    with ThreadPoolExecutor(2) as pool:  # NumPy lets go of the interpreter while it works
        low, high = pool.map(partial(breakpoints.extreme_products, steps, gamma[-1]), (False, True))
    D, g = breakpoints.suffix_products(steps), gamma[-1]
    last = D[0] / D[1:]  # the group (0, i], for each i
    choices = [steps[-1] * low[:1], steps[-1] * high[:1],
               *(merge(last, steps[-1] * noisier[1:], g) for noisier in (low, high))]  # fmt: skip
    operators = np.concatenate(choices)
    closest = np.abs(operators - target).argmin(axis=0)
    return np.take_along_axis(operators, closest[None], axis=0)[0], np.zeros_like(target)
