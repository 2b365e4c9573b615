"""Operator merging beyond the linear regime: the teacher's steps on Gaussian mixtures.

What `tdmlib.linear` does with numbers is done here with maps R^d → R^d, in torch.
"""

from tdmlib.nonlinear.amplification import amplification
from tdmlib.nonlinear.examples import modes_on_circle, planar_mixtures, random_mixture
from tdmlib.nonlinear.fitting import bend, best_fit, mean_square, train
from tdmlib.nonlinear.gradients import distance_to_gradients
from tdmlib.nonlinear.merging import carry_out
from tdmlib.nonlinear.students import GatedAffine, component_student, step_student, widened
from tdmlib.nonlinear.teacher import MixtureTeacher

__all__ = [
    "GatedAffine",
    "MixtureTeacher",
    "amplification",
    "bend",
    "best_fit",
    "carry_out",
    "component_student",
    "distance_to_gradients",
    "mean_square",
    "modes_on_circle",
    "planar_mixtures",
    "random_mixture",
    "step_student",
    "train",
    "widened",
]
