"""Linear students trained in torch: what the theory of both parts predicts, done by an optimiser.

The student of a merge is one number a coordinate, z ↦ a z, that of matching one number a level,
x̂ = h_t z, so that nothing but the training is left.
"""

import torch
from torch import Tensor, nn

from tdmlib.distill.renoise import Renoise
from tdmlib.distill.rollout import Denoiser, Rollout
from tdmlib.distill.tdm import TDM
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


class LinearDenoiser(nn.Module):
    """x̂ = slopes[t] · z: a weight for each level t = 0 … T, the same for every coordinate."""

    def __init__(self, slopes: Tensor):
        super().__init__()
        self.slopes = nn.Parameter(slopes.clone())

    def forward(self, z: Tensor, t, cond=None) -> Tensor:
        slopes = self.slopes[t]
        return slopes.reshape(slopes.shape + (1,) * (z.ndim - slopes.ndim)) * z


def best_fake(method: TDM, rollout: Rollout, renoise: Renoise) -> LinearDenoiser:
    """The linear fake score of least `TDM.fake_objective` on these samples.

    The objective is quadratic in the slopes, so its gradients at 0 and at 1 say where it is least;
    levels without samples, or without weight, get the slope 0. Slopes have shape (T + 1,).
    """
    size = method.schedule.T + 1
    fakes = [LinearDenoiser(torch.full((size,), slope)) for slope in (0.0, 1.0)]
    for fake in fakes:
        method.fake_objective(fake, rollout, renoise)[0].sum().backward()
    first, second = (fake.slopes.grad for fake in fakes)
    return LinearDenoiser(torch.where(first == second, 0.0, first / (first - second)))


def match(
    method: TDM,
    student: LinearDenoiser,
    teacher: Denoiser,
    s: float,
    updates: int,
    *,
    batch: int = 2048,
    d: int = 16,
    generator: torch.Generator,
) -> Tensor:
    """Train the student by TDM for time s, in `updates` steps of gradient descent.

    Before each the fake score is fitted anew, on samples of its own. The loss is summed
    over the student's steps, as in `linear.LinearTDM`. Returns the slopes before the first
    update and after each, shape (updates + 1, T + 1).
    Raises InputError unless s ≥ 0 and updates, batch and d are whole numbers ≥ 1.
    """
    s = check_number("s", s, 0)
    sizes = dict(updates=updates, batch=batch, d=d)
    updates, batch, d = (check_number(k, n, 1, whole=True) for k, n in sizes.items())
    optimizer = torch.optim.SGD(student.parameters(), s / updates * (len(method.grid) - 1))
    path = [student.slopes.detach().clone()]
    for _ in range(updates):
        draws = [
            (
                method.rollout(student, method.start(batch, (d,), generator)),
                method.renoise(batch, (d,), generator),
            )
            for _ in range(2)
        ]
        fake = best_fake(method, *draws[0])
        optimizer.zero_grad()
        method.student_objective(teacher, fake, *draws[1])[0].mean().backward()
        optimizer.step()
        path.append(student.slopes.detach().clone())
    return torch.stack(path)
