"""Part I: diffusion on Gaussian data, where every step is a linear operator."""

from tdmlib.linear.merging import (
    STRATEGIES,
    MergePlan,
    all_plans,
    canonical_plan,
    evaluate,
    merge,
    surrogate,
    w2_error,
)
from tdmlib.linear.operators import (
    composite,
    flow_map,
    marginal_variance,
    residual,
    signal_noise,
    step_operators,
)
from tdmlib.linear.planning import phase_boundaries
from tdmlib.linear.spectra import Spectrum, read_array, read_spectrum, spectrum

__all__ = [
    "STRATEGIES",
    "MergePlan",
    "Spectrum",
    "all_plans",
    "canonical_plan",
    "composite",
    "evaluate",
    "flow_map",
    "marginal_variance",
    "merge",
    "phase_boundaries",
    "read_array",
    "read_spectrum",
    "residual",
    "signal_noise",
    "spectrum",
    "step_operators",
    "surrogate",
    "w2_error",
]
