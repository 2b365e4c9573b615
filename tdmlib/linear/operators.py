"""Prop. 3.1 – 3.3 as arrays: the teacher's steps on Gaussian data are linear operators.

Data x ~ N(0, Λ) with Λ = diag(λ). Everything splits over coordinates, so `lam` is an array of
any shape and every function works on each of its entries.
"""

from contextlib import suppress

import numpy as np

from tdmlib.errors import InputError, check_number
from tdmlib.schedules import Schedule


def reals(name: str, values) -> np.ndarray:
    """`values` as float64. Raises InputError for arrays of anything but real numbers."""
    with suppress(TypeError, ValueError, OverflowError), np.errstate(over="ignore"):
        values = np.asarray(values)
        if values.dtype.kind in "fiuO":
            return values.astype(np.float64)  # a wider float becomes infinity, which is refused
    raise InputError(f"{name} must be real numbers of the size of a float; these are not")


def _nonnegative(name: str, values, what: str) -> np.ndarray:
    values = reals(name, values)
    bad = ~(values >= 0) | np.isinf(values)
    if bad.any():
        raise InputError(f"{name} = {values[bad].flat[0]:g}: {what} must be finite and ≥ 0")
    return values


def variances(lam, name: str = "λ") -> np.ndarray:
    """`lam` as float64. Raises InputError unless all are finite real numbers and ≥ 0."""
    return _nonnegative(name, lam, "a variance")


def _levels(schedule: Schedule, lam) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """λ, and α and σ shaped to broadcast over it: (T + 1, 1, …, 1)."""
    lam = variances(lam)
    shape = (-1,) + (1,) * lam.ndim
    return lam, schedule.alpha.reshape(shape), schedule.sigma.reshape(shape)


def _span(schedule: Schedule, i: int, j: int | None) -> tuple[int, int]:
    i = check_number("i", i, whole=True)
    j = schedule.T if j is None else check_number("j", j, whole=True)
    if not 0 <= i <= j <= schedule.T:
        raise InputError(f"(i, j) = ({i}, {j}): levels must satisfy 0 ≤ i ≤ j ≤ T = {schedule.T}")
    return i, j


def signal_noise(schedule: Schedule, lam) -> np.ndarray:
    """v_t = (α_t √λ, σ_t), shape (T + 1, *lam.shape, 2). It moves on an ellipse (Fig. 1)."""
    lam, alpha, sigma = _levels(schedule, lam)
    return np.stack(np.broadcast_arrays(alpha * np.sqrt(lam), sigma), axis=-1)


def marginal_variance(schedule: Schedule, lam) -> np.ndarray:
    """Var(z_t) = ‖v_t‖² = α_t² λ + σ_t², shape (T + 1, *lam.shape)."""
    lam, alpha, sigma = _levels(schedule, lam)
    return alpha**2 * lam + sigma**2


def step_operators(schedule: Schedule, lam) -> np.ndarray:
    """The teacher's DDIM steps A_t = ⟨v_{t−1}, v_t⟩ / ‖v_t‖² (Cor. 3.1).

    Returns shape (T, *lam.shape); row t − 1 is A_t, which carries z_t to z_{t−1}.
    Raises InputError for a negative or non-finite λ.
    """
    lam, alpha, sigma = _levels(schedule, lam)
    inner = alpha[:-1] * alpha[1:] * lam + sigma[:-1] * sigma[1:]
    return inner / (alpha[1:] ** 2 * lam + sigma[1:] ** 2)


def residual(schedule: Schedule, lam, s, rate: float = 2.0) -> np.ndarray:
    """What training time s leaves of the start: γ_t = exp(−rate · s · ‖v_t‖²) (Prop. 3.3).

    Gradient flow on E‖Âz_t − Bz_t‖² has rate 2; with a factor ½ before the loss it is 1.
    `s` is a number or an array that broadcasts with `lam`. Returns shape (T, *broadcast shape);
    row t − 1 is γ_t. Raises InputError for s < 0, rate ≤ 0 or shapes that do not broadcast.
    """
    s = float(check_number("s", s, 0)) if np.ndim(s) == 0 else _nonnegative("s", s, "a time")
    rate = float(check_number("rate", rate, 0))
    if rate == 0:
        raise InputError("rate = 0: a gradient flow must flow; give the rate of yours, 2 or 1")
    lam = variances(lam)
    try:
        lam = np.broadcast_to(lam, np.broadcast_shapes(lam.shape, np.shape(s)))
    except ValueError:
        raise InputError(f"s of shape {np.shape(s)} does not fit λ of shape {lam.shape}") from None
    with np.errstate(over="ignore"):  # e^−∞ = 0
        return np.exp(-rate * s * marginal_variance(schedule, lam)[1:])


def composite(schedule: Schedule, lam, i: int = 0, j: int | None = None) -> np.ndarray:
    """The teacher's composite operator P_{i,j} = A_{i+1} ⋯ A_j, from z_j to z_i (Def. 2.1).

    Shape of `lam`; j = None means T. Raises InputError unless 0 ≤ i ≤ j ≤ T.
    """
    i, j = _span(schedule, i, j)
    return step_operators(schedule, lam)[i:j].prod(axis=0)


def flow_map(schedule: Schedule, lam, i: int = 0, j: int | None = None) -> np.ndarray:
    """The exact probability-flow map ‖v_i‖ / ‖v_j‖ from z_j to z_i; it does not contract.

    Shape of `lam`; j = None means T. Raises InputError unless 0 ≤ i ≤ j ≤ T.
    """
    i, j = _span(schedule, i, j)
    variance = marginal_variance(schedule, lam)
    if i == j:  # the identity, also where nothing varies
        return np.ones_like(variance[i])
    return np.sqrt(variance[i] / variance[j])


def input_variances(schedule: Schedule, lam: np.ndarray, given) -> np.ndarray:
    """V as `w2_error` takes it, ‖v_T‖² if none is given, in the shape of `lam`."""
    if given is None:
        given = marginal_variance(schedule, lam)[-1]
    given = variances(given, "input_variance")
    if given.shape not in ((), lam.shape):
        raise InputError(
            f"input_variance has shape {given.shape}, λ has shape {lam.shape}; "
            "give one number, or one for each λ"
        )
    return np.broadcast_to(given, lam.shape)
