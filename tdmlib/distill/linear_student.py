"""A linear student trained in torch: what Prop. 3.3 and the merge predict, done by an optimiser.

The student is one number a coordinate, z ↦ a z, so that nothing but the training is left.
"""

import torch
from torch import Tensor

from tdmlib.errors import check_number
from tdmlib.linear import MergePlan, evaluate, marginal_variance, step_operators
from tdmlib.schedules import Schedule


def train(
    start: Tensor,
    target: Tensor,
    variance: Tensor,
    lr: float,
    updates: int,
    *,
    batch: int | None = None,
    generator: torch.Generator | None = None,
    optimizer: type[torch.optim.Optimizer] = torch.optim.SGD,
    **options,
) -> Tensor:
    """Minimise E(az − bz)² over a, from `start`; b = `target`, z ~ N(0, `variance`).

    The three broadcast; each entry is a student of its own. batch = None takes the
    expectation (gradient descent), a number as many random z an update. `options` go
    to the optimiser. Returns a before the first update and after each, shape
    (updates + 1, *broadcast shape).
    Raises InputError for a negative number of updates or a batch below 1.
    """
    updates = check_number("updates", updates, 0, whole=True)
    start, target, scale = torch.broadcast_tensors(start, target, variance.sqrt())
    z = scale[None]  # one point with z² = E z² has the expected loss
    if batch is not None:
        shape = check_number("batch", batch, 1, whole=True), *scale.shape
    path, a = [start], start.clone().requires_grad_()
    optimizer = optimizer([a], lr=lr, **options)
    for _ in range(updates):
        if batch is not None:
            z = torch.randn(shape, generator=generator, dtype=scale.dtype) * scale
        optimizer.zero_grad()
        (a * z - target * z).square().mean(0).sum().backward()
        optimizer.step()
        path.append(a.detach().clone())
    return torch.stack(path)


def carry_out(plan: MergePlan, schedule: Schedule, lam, s, updates: int):
    """Train a student through `plan`, a merge by `updates` steps of size s/updates.

    At each merge it starts as the noisiest of the operators and learns their product.
    Returns its operator, an array of the shape of `lam`: in the limit of many updates
    that of `linear.evaluate`.
    Raises InputError for what `evaluate` refuses, or for `updates` below 1.
    """
    updates = check_number("updates", updates, 1, whole=True)
    evaluate(plan, schedule, lam, s)  # for its refusals
    steps = torch.from_numpy(step_operators(schedule, lam))
    variance = torch.from_numpy(marginal_variance(schedule, lam))
    stack: list[Tensor] = []
    for _, j, k in plan.nodes():
        if k == 0:
            stack.append(steps[j - 1])
        else:
            target = torch.stack(stack[-k:]).prod(0)
            path = train(stack[-k], target, variance[j], s / updates, updates)
            stack[-k:] = [path[-1]]
    return stack.pop().numpy()
