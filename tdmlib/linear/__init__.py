"""Part I: diffusion on Gaussian data, where every step is a linear operator."""

from tdmlib.linear.batch import PlanBatch, optimal_plans
from tdmlib.linear.breakpoints import breakpoint_plan, extreme_products, jump_then_boot
from tdmlib.linear.guide import Advice, Comparison, compare, decision_table
from tdmlib.linear.merging import (
    STRATEGIES,
    MergePlan,
    all_plans,
    canonical_plan,
    canonical_student,
    count_merges,
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
from tdmlib.linear.phases import phase_boundaries, phase_counts
from tdmlib.linear.planning import PlanResult, optimal_plan, optimal_student
from tdmlib.linear.spectra import Spectrum, read_array, read_spectrum, spectrum
from tdmlib.linear.spectrum_plans import SpectrumPlans, plan_spectrum

__all__ = [
    "STRATEGIES",
    "Advice",
    "Comparison",
    "MergePlan",
    "PlanBatch",
    "PlanResult",
    "Spectrum",
    "SpectrumPlans",
    "all_plans",
    "breakpoint_plan",
    "canonical_plan",
    "canonical_student",
    "compare",
    "composite",
    "count_merges",
    "decision_table",
    "evaluate",
    "extreme_products",
    "flow_map",
    "jump_then_boot",
    "marginal_variance",
    "merge",
    "optimal_plan",
    "optimal_plans",
    "optimal_student",
    "phase_boundaries",
    "phase_counts",
    "plan_spectrum",
    "read_array",
    "read_spectrum",
    "residual",
    "signal_noise",
    "spectrum",
    "step_operators",
    "surrogate",
    "w2_error",
]
