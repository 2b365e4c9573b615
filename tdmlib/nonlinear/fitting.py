"""Two ways to teach a student a target: all the way (least squares), or for a time (descent)."""

from collections.abc import Iterable
from math import ceil, isfinite

import numpy as np
import torch
from scipy.optimize import least_squares
from torch import Tensor
from torch.func import functional_call, jacfwd

from tdmlib.errors import InputError, check_number
from tdmlib.nonlinear.students import GatedAffine


def _check_target(z: Tensor, target: Tensor) -> None:
    if z.shape != target.shape or z.dtype != target.dtype:  # broadcasting would hide it
        raise InputError(
            f"target is {tuple(target.shape)}, {target.dtype}; expected that of z, "
            f"{tuple(z.shape)}, {z.dtype}"
        )


def mean_square(student, z: Tensor, target: Tensor) -> Tensor:
    """E‖student(z) − target‖² over the rows of z (B, d).

    Raises InputError for a target of another shape or type than z.
    """
    _check_target(z, target)
    return (student(z) - target).square().sum(1).mean()


def bend(z: Tensor, target: Tensor) -> Tensor:
    """How far the target (B, d) is from its best affine fit on z (B, d), (E‖·‖²)^½.

    Raises InputError for a target of another shape or type than z, or numbers that are not finite.
    """
    _check_target(z, target)
    if not (torch.isfinite(z).all() and torch.isfinite(target).all()):
        raise InputError("z or target holds NaN or infinite numbers, which no affine map fits")
    z = torch.cat([z, torch.ones_like(z[:, :1])], dim=1)
    affine = torch.linalg.lstsq(z, target).solution
    return (target - z @ affine).square().sum(1).mean().sqrt()


def best_fit(
    starts: Iterable[GatedAffine], z: Tensor, target: Tensor, evaluations: int = 100
) -> GatedAffine:
    """The student that comes closest to `target` (B, d) on z (B, d), float64, by least squares.

    Levenberg and Marquardt's method (MINPACK) from each of `starts`, at most `evaluations` of the
    student a start, and the closest of what they reach, frozen. A local search: its error is an
    upper bound on the least one. Raises InputError when there is no start, fewer numbers than
    parameters, another type, a target of another shape than z, or an error that is not finite.
    """
    evaluations = check_number("evaluations", evaluations, 1, whole=True)
    if z.dtype != torch.float64:
        raise InputError(f"z is of type {z.dtype}; least squares needs torch.float64")
    starts = list(starts)
    for start in starts:
        with torch.no_grad():
            error = float(mean_square(start, z, target))
        if not isfinite(error):
            raise InputError(
                f"E‖start(z) − target‖² is {error}; leave NaN, infinite and very large numbers out "
                "of z, target and starts"
            )
    reached = [_descend(start, z, target, evaluations) for start in starts]
    if not reached:
        raise InputError("starts is empty; give at least one student to start from")
    with torch.no_grad():
        return min(reached, key=lambda student: float(mean_square(student, z, target)))


def _descend(start: GatedAffine, z: Tensor, target: Tensor, evaluations: int) -> GatedAffine:
    names, sizes, shapes = zip(
        *((name, p.numel(), p.shape) for name, p in start.named_parameters()), strict=True
    )
    if target.numel() < sum(sizes):
        raise InputError(
            f"{target.numel()} numbers to fit {sum(sizes)} parameters to; take more points"
        )

    def unpack(flat: Tensor) -> dict[str, Tensor]:
        parts = zip(names, flat.split(sizes), shapes, strict=True)
        return {name: part.reshape(shape) for name, part, shape in parts}

    def residuals(flat: Tensor) -> Tensor:
        return (functional_call(start, unpack(flat), (z,)) - target).reshape(-1)

    first = torch.cat([p.detach().reshape(-1) for p in start.parameters()])
    with torch.no_grad():
        found = least_squares(
            lambda x: residuals(torch.from_numpy(x)).numpy(), first.numpy(),
            lambda x: jacfwd(residuals)(torch.from_numpy(x)).numpy(),
            method="lm", x_scale="jac", max_nfev=evaluations, ftol=1e-12, xtol=1e-12,
        )  # fmt: skip
    return GatedAffine(**unpack(torch.from_numpy(np.asarray(found.x)))).requires_grad_(False)


def train(
    student: GatedAffine, z: Tensor, target: Tensor, s: float, step: float = 0.01
) -> GatedAffine:
    """A copy of `student`, frozen, after gradient descent on E‖student(z) − target‖² for time s.

    Full batches in steps of at most `step`: Prop. 3.3's gradient flow, which for one component
    and points of mean 0 it follows. Raises InputError for s < 0 or a step below 1e-6, or when the
    student ends up NaN or infinite.
    """
    s, step = check_number("s", s, 0), check_number("step", step, 1e-6)
    student, updates = GatedAffine(student.gates.detach(), student.maps.detach()), ceil(s / step)
    optimizer = torch.optim.SGD(student.parameters(), lr=s / max(updates, 1))
    for _ in range(updates):
        optimizer.zero_grad()
        mean_square(student, z, target).backward()
        optimizer.step()
    if not all(torch.isfinite(p).all() for p in student.parameters()):
        raise InputError(
            f"the student is NaN or infinite after s = {s} in steps of {step}; take smaller steps, "
            "and leave such numbers out of z and target"
        )
    return student.requires_grad_(False)
