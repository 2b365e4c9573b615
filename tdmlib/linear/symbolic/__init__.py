"""The propositions and theorems on linear students, derived in SymPy.

Each function derives one statement and returns the identities that it has asserted, as a dict
from a short name to `sympy.Eq`. A failed derivation raises AssertionError.
"""

from tdmlib.linear.symbolic.every_plan import certificates
from tdmlib.linear.symbolic.identities import asserted, certified
from tdmlib.linear.symbolic.matching import (
    clean_matching,
    diffused_kl,
    fake_targets,
    matching_flow,
    score_difference,
    shared_fake,
    weight_moments,
)
from tdmlib.linear.symbolic.merging import (
    breakpoints,
    merge_identity,
    merge_rises,
    one_step_more,
    sequential_boot_optimal,
    shared_time,
    vanilla_optimal,
)
from tdmlib.linear.symbolic.operators import (
    below_the_flow,
    composite,
    contraction,
    ddim_step,
    optimal_denoiser,
)
from tdmlib.linear.symbolic.phases import (
    clean_end,
    cosine_boundaries,
    flow_matching_boundaries,
    many_steps,
    step_below_one,
)
from tdmlib.linear.symbolic.students import student_flow, student_rates

#: All of them, in the order of the book.
DERIVATIONS = (
    optimal_denoiser,
    ddim_step,
    composite,
    contraction,
    below_the_flow,
    student_flow,
    student_rates,
    merge_identity,
    merge_rises,
    breakpoints,
    sequential_boot_optimal,
    vanilla_optimal,
    shared_time,
    one_step_more,
    step_below_one,
    cosine_boundaries,
    clean_end,
    many_steps,
    flow_matching_boundaries,
    diffused_kl,
    score_difference,
    matching_flow,
    fake_targets,
    clean_matching,
    shared_fake,
    weight_moments,
)

__all__ = [
    "DERIVATIONS",
    "asserted",
    "certificates",
    "certified",
    *(f.__name__ for f in DERIVATIONS),
]
