"""Noise schedules on the grid t = 0 … T: t = 0 is clean, t = T is noise."""

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace, device

from tdmlib.errors import InputError, check_number


@dataclass(frozen=True, eq=False)
class Schedule:
    """A variance-preserving noise schedule, z_t = α_t x + σ_t ε with α_t² + σ_t² = 1.

    Parameters
    ----------
    alpha, sigma : array_like, shape (T + 1,)
        Signal and noise level at t = 0 … T, stored as read-only float64.
        α must fall strictly, σ must rise strictly; σ_0 > 0 and α_T > 0 are allowed.

    Raises
    ------
    InputError
        When the two differ in shape, are not finite, not strictly monotone, or α² + σ² ≠ 1.
    """

    alpha: np.ndarray
    sigma: np.ndarray

    def __post_init__(self):
        for name in ("alpha", "sigma"):
            value = np.array(getattr(self, name), dtype=np.float64)
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        alpha, sigma = self.alpha, self.sigma
        if alpha.ndim != 1 or alpha.shape != sigma.shape or alpha.size < 2:
            raise InputError(
                f"alpha and sigma have shapes {alpha.shape} and {sigma.shape}; "
                "a schedule of T ≥ 1 steps needs both of shape (T + 1,)"
            )
        if not (np.isfinite(alpha).all() and np.isfinite(sigma).all()):
            raise InputError("alpha and sigma must be finite; the schedule holds NaN or infinity")
        off = float(np.abs(alpha**2 + sigma**2 - 1).max())
        if off > 1e-6:
            raise InputError(
                f"alpha² + sigma² differs from 1 by {off:.2g}; divide both by their norm "
                "to make the schedule variance preserving"
            )
        if alpha.min() < 0 or sigma.min() < 0:
            raise InputError("alpha and sigma must not be negative")
        if not (np.diff(alpha) < 0).all() or not (np.diff(sigma) > 0).all():
            raise InputError(
                "alpha must fall strictly and sigma rise strictly from t = 0 (clean) to t = T"
            )

    @property
    def T(self) -> int:
        """Number of steps; levels run from 0 to T."""
        return self.alpha.size - 1

    def at(self, t, like):
        """α_t and σ_t in the array library, dtype and device of `like`, ready to multiply it.

        `t` is an int or an integer array of shape (B,) with B = like.shape[0]. Returns two
        arrays of shape () or (B, 1, …, 1). Raises InputError for levels outside 0 … T, not whole or
        of another shape, and for `like` of integers, in which no level but 0 and 1 can be written.
        """
        xp = array_namespace(like)
        if not xp.isdtype(like.dtype, "real floating"):
            raise InputError(f"samples are of type {like.dtype}; convert them to a floating one")
        if hasattr(t, "dtype"):
            if not array_namespace(t).isdtype(t.dtype, "integral"):
                raise InputError(f"levels t are of type {t.dtype}; they must be whole numbers")
            if tuple(t.shape) not in ((), tuple(like.shape[:1])):
                raise InputError(
                    f"levels t have shape {tuple(t.shape)}, samples {tuple(like.shape)}; give one "
                    "level, or one for each sample"
                )
            # other widths do not serve as an index: torch takes uint8 for a mask, refuses int8
            t = array_namespace(t).astype(t, array_namespace(t).int64)
            for end in (t.min(), t.max()) if 0 not in t.shape else ():
                check_number("t", int(end), 0, self.T, whole=True)
        else:
            t = check_number("t", t, 0, self.T, whole=True)
        alpha, sigma = (
            xp.asarray(level, dtype=like.dtype, device=device(like))[t]
            for level in (self.alpha.copy(), self.sigma.copy())
        )
        if alpha.ndim:
            shape = (-1,) + (1,) * (like.ndim - 1)
            alpha, sigma = xp.reshape(alpha, shape), xp.reshape(sigma, shape)
        return alpha, sigma

    def __eq__(self, other):
        if not isinstance(other, Schedule):
            return NotImplemented
        return np.array_equal(self.alpha, other.alpha) and np.array_equal(self.sigma, other.sigma)

    def __hash__(self):
        return hash((self.alpha.tobytes(), self.sigma.tobytes()))

    def __repr__(self):
        return f"Schedule(T={self.T}, alpha_T={self.alpha[-1]:.3g}, sigma_0={self.sigma[0]:.3g})"


def cosine(T: int) -> Schedule:
    """The cosine schedule α_t = cos(πt/2T), σ_t = sin(πt/2T), exact at both ends.

    Raises InputError unless T is a whole number within 1 … 1,000,000; beyond, neighbouring levels
    are the same number.
    """
    T = check_number("T", T, 1, 1_000_000, whole=True)
    t = np.arange(T + 1)
    # cos(πt/2T) = sin(π(T − t)/2T): this way α_T and σ_0 are exactly 0.
    return Schedule(alpha=np.sin(np.pi * (T - t) / (2 * T)), sigma=np.sin(np.pi * t / (2 * T)))
