"""Which merge plan is best: the boundaries between the phases (Thms. 4.2 and 4.3, sharpened)."""

import numpy as np

from tdmlib.errors import InputError
from tdmlib.linear.operators import variances
from tdmlib.schedules import Schedule


def phase_boundaries(schedule: Schedule) -> tuple[float, float]:
    """(λ_BOOT, λ_van): below the first sequential BOOT is optimal, from the second on vanilla.

    A_j ≤ 1 exactly when λ ≤ ρ_j = σ_j (σ_j − σ_{j−1}) / (α_j (α_{j−1} − α_j)), 1 ≤ j < T, which
    is tan θ_j / tan ½(θ_j + θ_{j−1}) for the angles tan θ_t = σ_t/α_t; the boundaries are the least
    and the greatest ρ_j, for reference = "teacher".
    Raises InputError for T < 2.
    """
    if schedule.T < 2:
        raise InputError(f"T = {schedule.T}: phases need a schedule of T ≥ 2 steps")
    angle = np.arctan2(schedule.sigma, schedule.alpha)[:-1]  # ρ_T plays no part: R is never merged
    rho = np.tan(angle[1:]) / np.tan((angle[1:] + angle[:-1]) / 2)  # no differences, which cancel
    return float(rho.min()), float(rho.max())


def phase_counts(schedule: Schedule, lam) -> tuple[int, int, int]:
    """How many of the variances λ lie in BOOT's phase, in the mixed one, in vanilla's.

    Raises InputError for T < 2, or what is no variance.
    """
    lam, (boot, vanilla) = variances(lam), phase_boundaries(schedule)
    below, above = int((lam <= boot).sum()), int((lam >= vanilla).sum())
    return below, lam.size - below - above, above


def proved_phase(schedule: Schedule, lam, reference: str = "teacher") -> np.ndarray:
    """−1 where sequential BOOT is proved best, 1 where vanilla is, 0 in between; shape of `lam`.

    Thms. 4.3 and 4.2, sharpened; against the flow only the latter holds. For T = 1, where nothing
    is merged, 1.
    """
    lam = np.asarray(lam)
    if schedule.T < 2:
        return np.ones(lam.shape, int)
    boot, vanilla = phase_boundaries(schedule)
    below = (lam <= boot) & (reference == "teacher")
    return np.where(lam >= vanilla, 1, np.where(below, -1, 0))
