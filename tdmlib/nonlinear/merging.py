"""A merge plan carried out on maps: at each merge a student learns a product of maps."""

from collections.abc import Callable

import torch
from torch import Tensor

from tdmlib.errors import InputError
from tdmlib.linear import MergePlan
from tdmlib.nonlinear.students import GatedAffine, step_student
from tdmlib.nonlinear.teacher import MixtureTeacher


def carry_out(
    plan: MergePlan,
    teacher: MixtureTeacher,
    points: Callable[[int], Tensor],
    learn: Callable[[GatedAffine, Tensor, Tensor], GatedAffine],
) -> GatedAffine:
    """The student that `plan` leaves, a map from the noisy to the clean end of its span.

    `points(j)` are samples of z_j, shape (B, d). A merge at level j begins with the
    noisiest of its operators, R, and puts learn(R, points(j), L(R(points(j)))) in their
    place, L being the others. Raises InputError when the plan reaches beyond the teacher's
    schedule.
    """
    schedule = teacher.schedule
    if plan.span[1] > schedule.T:
        ends = f"the schedule ends at T = {schedule.T}"
        raise InputError(f"the plan spans {plan.span}, {ends}")
    stack: list[GatedAffine] = []
    for _, j, k in plan.nodes():
        if k == 0:
            stack.append(step_student(teacher.mixture, schedule, j - 1, j))
            continue
        z = target = points(j)
        with torch.no_grad():
            for operator in stack[-k:]:
                target = operator(target)
        stack[-k:] = [learn(stack[-k], z, target)]
    return stack.pop()
