"""The deterministic K-step sampler: DDIM or DPM-Solver++ on any levels of the schedule."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np
from array_api_compat import array_namespace

from tdmlib.errors import InputError, check_number, check_positive, check_shapes, one_of
from tdmlib.schedules import Schedule

Solver = Literal["ddim", "dpm++"]


def time_grid(steps: int | Sequence[int], T: int, spacing: float = 1.0) -> tuple[int, ...]:
    """The levels 0 = t_0 < t_1 < … < t_K that a K-step sampler visits on the grid 0 … T.

    An int K gives t_i = T (i/K)^spacing, rounded: evenly spread for 1, denser near clean
    data above. A list, tuple or array gives the levels at which the denoiser is evaluated,
    in either order; the last landing is at 0 whether it is named or not. Raises InputError
    unless 1 ≤ K ≤ T, for levels outside 1 … T or repeated, or a spacing of named levels.
    """
    check_positive("spacing", spacing)
    if hasattr(steps, "tolist"):
        steps = steps.tolist()
    if isinstance(steps, list | tuple):
        if spacing != 1:
            raise InputError(f"spacing = {spacing:g}: steps = {list(steps)} names levels")
        levels = [check_number("level", t, 0, T, whole=True) for t in steps]
        if levels != sorted(levels):
            levels = levels[::-1]
        levels = levels if levels[:1] == [0] else [0, *levels]
        if len(levels) < 2 or levels != sorted(set(levels)):
            raise InputError(
                f"steps = {list(steps)}: a list of steps names each level once, in order, "
                f"within 1 … T = {T}"
            )
        return tuple(levels)
    K = check_number("K", steps, 1, T, whole=True)
    levels = [0, *(round(i * T / K * (i / K) ** (spacing - 1)) for i in range(1, K + 1))]
    if len(set(levels)) <= K:
        raise InputError(f"spacing = {spacing:g}: two of K = {K} steps share a level")
    return tuple(levels)


def ddim_step(x_hat, z, t, s, schedule: Schedule):
    """From z at level t to level s: keep the estimated noise, mix it with x̂ anew (eq. of DDIM).

    t and s are ints or integer arrays of shape (B,). Returns (z at level s, ε̂).
    Raises InputError where σ_t = 0: clean samples hold no noise to estimate; and where x̂ has
    another shape than z.
    """
    check_shapes(z.shape, x_hat=x_hat)
    alpha, sigma = schedule.at(t, z)
    if bool((sigma == 0).any()):
        raise InputError("t = 0 with sigma_0 = 0: nothing is left there to take a step from")
    eps_hat = (z - alpha * x_hat) / sigma
    alpha, sigma = schedule.at(s, z)
    return alpha * x_hat + sigma * eps_hat, eps_hat


def extrapolate(x_hat, before, u, t, s, schedule: Schedule):
    """x̂ of a step t → s by DPM-Solver++(2M), of second order; `ddim_step` does the rest.

    With λ = ln(α/σ), the line through x̂ = `x_hat` at λ_t and `before`, the prediction at
    the level u ≥ t visited last, is followed halfway to λ_s: x̂ + c (x̂ − before),
    c = (λ_s − λ_t)/2(λ_t − λ_u) (Lu et al., 2022, alg. 2). Where a λ is infinite (clean
    data, pure noise), or at the first step, where u = t, c is zero, the step of first
    order. Levels as in `ddim_step`. Raises InputError where the shapes of x̂ and `before`
    differ.
    """
    check_shapes(x_hat.shape, before=before)
    xp = array_namespace(x_hat)
    with np.errstate(divide="ignore", invalid="ignore"):
        lam_u, lam_t, lam_s = (
            xp.log(a / sigma) for a, sigma in (schedule.at(k, x_hat) for k in (u, t, s))
        )
        c = (lam_s - lam_t) / (2 * (lam_t - lam_u))
    return x_hat + xp.where(xp.isfinite(c), c, xp.zeros_like(c)) * (x_hat - before)


def trajectory(
    denoiser, noise, steps, schedule: Schedule, cond=None, solver: Solver = "ddim"
) -> Iterator[tuple]:
    """Yield (t, z, x̂) at each level from t_K down to t_1, then (0, x_0, x_0).

    `noise`, shape (B, …), is taken as the state at t_K. A generator, so that the caller
    may watch, record or stop.
    """
    grid, z = time_grid(steps, schedule.T), noise
    one_of("solver", solver, get_args(Solver))
    u = before = None
    for t, s in zip(grid[:0:-1], grid[-2::-1], strict=True):
        x_hat = denoiser(z, t, cond)
        yield t, z, x_hat
        ahead = x_hat
        if solver == "dpm++" and before is not None:
            ahead = extrapolate(x_hat, before, u, t, s, schedule)
        z, _ = ddim_step(ahead, z, t, s, schedule)
        u, before = t, x_hat
    yield 0, z, z


def sample(denoiser, noise, steps, schedule: Schedule, cond=None, solver: Solver = "ddim"):
    """The K-step sample x_0, of the shape of `noise`; `steps` as in `time_grid`.

    `solver` is "ddim", or "dpm++" for DPM-Solver++(2M), at one evaluation a step either way.
    Raises InputError for a bad number or list of steps, or another solver, before any evaluation.
    """
    path = trajectory(denoiser, noise, steps, schedule, cond, solver)
    _, z, _ = deque(path, maxlen=1).pop()
    return z
