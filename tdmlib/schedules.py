"""Noise schedules on the grid t = 0 … T: t = 0 is clean, t = T is noise."""

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace, device, to_device

from tdmlib.errors import InputError, check_number


@dataclass(frozen=True, eq=False)
class Schedule:
    """A variance-preserving noise schedule, z_t = α_t x + σ_t ε with α_t² + σ_t² = 1.

    Parameters
    ----------
    alpha, sigma : signal and noise level at t = 0 … T, arrays of shape (T + 1,), kept as read-only
        float64. α must fall strictly, σ rise strictly; σ_0 > 0 and α_T > 0 are allowed.

    Raises InputError when the two differ in shape, are not finite, not strictly monotone, or
    α² + σ² ≠ 1.
    """

    alpha: np.ndarray
    sigma: np.ndarray

    def __post_init__(self):
        for name in ("alpha", "sigma"):
            value = np.array(getattr(self, name), dtype=np.float64)
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_kept", {})
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
        of another shape, and for `like` of integers, in which no level but 0 and 1 can be written;
        levels on a GPU are not waited for, and not compared with 0 … T.
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
            if getattr(device(t), "type", "cpu") != "cpu" and device(t) == device(like):
                shape = (2, *t.shape, *[1] * (like.ndim - 1) * t.ndim)
                return tuple(self._levels(like)[:, t.reshape(-1)].reshape(shape))
            t = np.asarray(to_device(t, "cpu"))  # looked up here: only B numbers are converted
            for end in (t.min(), t.max()) if t.size else ():
                check_number("t", int(end), 0, self.T, whole=True)
            t = t.reshape(-1, *[1] * (like.ndim - 1)) if t.ndim else t
        else:
            t = check_number("t", t, 0, self.T, whole=True)
        kind = dict(dtype=like.dtype, device=device(like))
        alpha, sigma = xp.asarray(self.alpha[t], **kind), xp.asarray(self.sigma[t], **kind)
        return (alpha, sigma) if alpha.ndim else (alpha[()], sigma[()])  # NumPy's scalars

    def _levels(self, like):
        """α and σ of all levels, (2, T + 1), kept for each type and device of samples."""
        kind = like.dtype, device(like)
        if kind not in self._kept:
            both = np.stack([self.alpha, self.sigma])
            self._kept[kind] = array_namespace(like).asarray(both, dtype=kind[0], device=kind[1])
        return self._kept[kind]

    def sub(self, levels) -> "Schedule":
        """The schedule of a teacher that stops at these levels only, e.g. range(0, 1001, 40).

        `levels` are two or more whole numbers that rise strictly within 0 … T; level k of the new
        schedule is levels[k] of this one. Raises InputError for any others.
        """
        wanted = levels
        try:
            levels = [check_number("level", t, 0, self.T, whole=True) for t in wanted]
        except TypeError:
            levels = []
        if len(levels) < 2 or levels != sorted(set(levels)):
            raise InputError(
                f"levels = {wanted!r:.40}: must be two or more, rising strictly from clean"
            )
        return Schedule(self.alpha[levels], self.sigma[levels])

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


def from_ratio(ratio) -> Schedule:
    """The schedule with σ_t/α_t = ratio[t], by which every other convention comes in.

    `ratio`, shape (T + 1,), is what the convention multiplies ε by over what it multiplies x by;
    it rises strictly, may begin at 0 and may end at infinity, pure noise. A state of the other
    convention is z_t times a number: what it multiplies x by, over α_t.
    Raises InputError for other ratios, and for levels too close to be told apart in float64.
    """
    try:
        ratio = np.asarray(ratio, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("noise-to-signal ratios must be real numbers; these are not") from None
    if ratio.ndim != 1 or ratio.size < 2 or not (ratio[0] >= 0 and (ratio[1:] > ratio[:-1]).all()):
        raise InputError(
            "noise-to-signal ratios must be ≥ 0 and rise strictly, over T + 1 ≥ 2 levels that "
            f"float64 can tell apart; these are {np.array2string(ratio, precision=3, threshold=4)}"
        )
    with np.errstate(divide="ignore"):  # 1/0 = ∞ at the clean end
        # Neither 1 − α² nor 1 − σ², which cancel.
        return Schedule(alpha=1 / np.hypot(1, ratio), sigma=1 / np.hypot(1, 1 / ratio))


def _from_betas(T, beta_start, beta_end, set_alpha_to_one: bool, power: float) -> Schedule:
    """β^power is linear in t; ᾱ = α² is the product of the factors 1 − β."""
    T = check_number("T", T, 1, 1_000_000, whole=True)
    ends = [check_number("β_start", beta_start, 0, 1), check_number("β_end", beta_end, 0, 1)]
    betas = np.linspace(*np.power(ends, power), T) ** (1 / power)
    with np.errstate(divide="ignore", over="ignore"):  # β = 1 is pure noise, ratio ∞
        ratio = np.sqrt(np.expm1(np.cumsum(-np.log1p(-betas))))  # (1 − ᾱ)/ᾱ = 1/ᾱ − 1
    return from_ratio(np.append(0, ratio) if set_alpha_to_one else ratio)


def linear_beta(
    T: int = 1000,
    beta_start: float = 1e-4,
    beta_end: float = 0.02,
    set_alpha_to_one: bool = True,
) -> Schedule:
    """DDPM's schedule: α_t² is a product of T factors 1 − β, with β linear in t.

    Names and defaults are those of diffusers' DDIMScheduler. Its timestep k is level k + 1 here,
    and level 0 is clean. set_alpha_to_one=False leaves the clean level out, as latent pipelines do:
    then timesteps are levels, T − 1 steps are left, and σ_0 > 0.
    Raises InputError for a bad T, for β outside 0 … 1, and where levels cannot be told apart.
    """
    return _from_betas(T, beta_start, beta_end, set_alpha_to_one, power=1.0)


def scaled_linear_beta(
    T: int = 1000,
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    set_alpha_to_one: bool = True,
) -> Schedule:
    """Latent diffusion's schedule: as `linear_beta`, but √β is linear in t."""
    return _from_betas(T, beta_start, beta_end, set_alpha_to_one, power=0.5)


def flow_matching(T: int, shift: float = 1.0) -> Schedule:
    """Rectified flow, (1 − u) x + u ε at u = t/T, brought to α² + σ² = 1.

    Its state is z_t / (α_t + σ_t), and its Euler step is the DDIM step. A time shift, u →
    shift·u / (1 + (shift − 1) u), multiplies the ratio u/(1 − u) by `shift`.
    Raises InputError for a bad T or shift.
    """
    T = check_number("T", T, 1, 1_000_000, whole=True)
    shift = float(check_number("shift", shift, 0))
    t = np.arange(T)
    return from_ratio(np.append(shift * (t / (T - t)), np.inf))


def edm(T: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Schedule:
    """The grid of Karras et al. (2022, eq. 5), x + σ ε, brought to α² + σ² = 1.

    σ^(1/ρ) falls evenly from σ_max at t = T to σ_min at t = 1; at t = 0, σ = 0. Its state is
    z_t / α_t, and its Euler step is the DDIM step; α_T > 0.
    Raises InputError unless 0 < σ_min < σ_max (at T = 1 only σ_max counts) and 0 < ρ.
    """
    T = check_number("T", T, 1, 1_000_000, whole=True)
    ends = [check_number("σ_max", sigma_max, 0), check_number("σ_min", sigma_min, 0)]
    if (rho := float(check_number("ρ", rho, 0))) == 0:
        raise InputError("ρ = 0: must be > 0; Karras et al. take 7")
    with np.errstate(over="ignore", invalid="ignore"):  # what a tiny ρ makes is refused below
        grid = np.linspace(*np.power(np.float64(ends), 1 / rho), T)[::-1] ** rho
    return from_ratio(np.append(0, grid))
