"""What the teacher's later steps make of an error that an earlier merge has left."""

import torch
from torch import Tensor

from tdmlib.errors import InputError, check_number
from tdmlib.nonlinear.teacher import MixtureTeacher


def _size(vectors: Tensor) -> float:
    return float(vectors.square().sum(1).mean().sqrt())


def amplification(
    teacher: MixtureTeacher, exact: Tensor, off: Tensor, i: int
) -> dict[str, list[float]]:
    """The size of an error at level i − 1, …, 0 as a multiple of its size at level i.

    `exact` and `off`, shape (B, d), are states at level i; size means (E‖·‖²)^½ over the rows.
    "measured": both carried on. "linearised": off − exact carried by the steps' Jacobians at
    `exact`. "random": the same for errors that look the same in all directions, wherever they are.
    "bound": the product of the steps' Lipschitz bounds. Raises InputError where those do not exist,
    for a level outside the schedule, states of unlike shapes, or without an error.
    """
    i = check_number("i", i, 1, teacher.schedule.T, whole=True)
    if exact.shape != off.shape:
        raise InputError(f"exact is {tuple(exact.shape)}, off {tuple(off.shape)}; give both (B, d)")
    v, start = off - exact, _size(off - exact)
    if not start > 0:
        raise InputError(f"off and exact differ by {start}: there is no error to amplify")
    carried = torch.eye(exact.shape[1], dtype=exact.dtype).expand(len(exact), -1, -1)
    bound, found = 1.0, {name: [] for name in ("measured", "linearised", "random", "bound")}
    for t in range(i, 0, -1):
        J = teacher.jacobian(exact, t)
        v, carried = (J @ v[..., None])[..., 0], J @ carried
        exact, off = teacher.step(exact, t), teacher.step(off, t)
        bound *= teacher.lipschitz(t)
        found["measured"].append(_size(off - exact) / start)
        found["linearised"].append(_size(v) / start)
        found["random"].append(_size(carried.flatten(1)) / exact.shape[1] ** 0.5)
        found["bound"].append(bound)
    return found
