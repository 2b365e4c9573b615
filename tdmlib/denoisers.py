"""Denoisers x̂(z, t, cond): closed forms, wrappers around networks, and guidance.

Everything above this file sees clean predictions. A denoiser is any callable (z, t, cond=None) with
z of shape (B, …), t an int or an integer tensor of shape (B,), and the result of the shape of z.
cond is a tensor of labels, None for none, or a `Condition` where there is more to tell.
"""

import math
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any, Self

import torch
from array_api_compat import device
from torch import Tensor, nn

from tdmlib.errors import InputError, check_number, check_shapes
from tdmlib.mixtures import GaussianMixture
from tdmlib.schedules import Schedule


class Rows:
    """A dataclass of tensors, one row a sample: record[rows] is the same of a part of the batch.

    What is None, or one number for all, stays as it is.
    """

    def __getitem__(self, rows) -> Self:
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: part for name, part in parts.items() if getattr(part, "ndim", 0)}
        return replace(self, **{name: array[rows] for name, array in arrays.items()})


@dataclass(frozen=True)
class Condition(Rows):
    """What a denoiser is told besides z and t; each part None, (B,), or one number for all."""

    label: Any = None  #: what a teacher is conditioned on, e.g. int labels; None is the empty one
    steps: Tensor | int | None = None  #: K, how many steps the sampler takes
    guidance: Tensor | float | None = None  #: the scale of the teacher that a student imitates
    origin: Tensor | int | None = None  #: the level i from which z was diffused

    @classmethod
    def of(cls, cond) -> Self:
        """`cond` itself, or the condition of a label alone."""
        return cond if isinstance(cond, cls) else cls(cond)

    def bare(self):
        """The label itself where it is all there is: what a denoiser of labels alone takes."""
        told = (self.steps, self.guidance, self.origin)
        return self.label if all(part is None for part in told) else self


class GaussianDenoiser:
    """The optimal denoiser of x ~ N(mean, diag(λ)), x̂ = μ + αλ/(α²λ + σ²)(z − αμ) (Prop. 3.1).

    `lam` and `mean` broadcast against z; all three are NumPy arrays or all torch tensors.
    Raises InputError for a λ that is negative or not finite, a mean that is not finite, for what is
    neither a number nor an array of them, and for samples that the two would broadcast to another
    shape.
    """

    def __init__(self, schedule: Schedule, lam, mean=0.0):
        for name, value in (("λ", lam), ("mean", mean)):
            if not isinstance(value, Real) and not hasattr(value, "shape"):
                raise InputError(f"{name} = {value!r:.40}: give a number, an array or a tensor")
        if not _within(lam, 0):
            raise InputError(f"λ = {lam}: variances are finite and λ ≥ 0")
        if not _within(mean):
            raise InputError(f"mean = {mean}: must be finite")
        self.schedule, self.lam, self.mean = schedule, lam, mean

    def __call__(self, z, t, cond=None):
        alpha, sigma = self.schedule.at(t, z)
        variance = alpha**2 * self.lam + sigma**2
        gain = alpha * self.lam / (variance + (variance == 0))  # zero only where λ is: no 0/0
        x_hat = self.mean + gain * (z - alpha * self.mean)
        if x_hat.shape != z.shape:
            raise InputError(
                f"λ and mean broadcast samples of shape {tuple(z.shape)} to {tuple(x_hat.shape)}"
            )
        return x_hat


class MixtureDenoiser:
    """The optimal denoiser of a Gaussian mixture: its posterior mean."""

    def __init__(self, schedule: Schedule, mixture: GaussianMixture):
        self.schedule, self.mixture = schedule, mixture

    def __call__(self, z, t, cond=None):
        if device(z) != device(self.mixture.means):  # it moves with the samples
            self.mixture = self.mixture.to(device(z))
        return self.mixture.posterior_mean(z, *self.schedule.at(t, z))


class _FromNetwork(nn.Module):
    """A network (z, t, cond) with t of shape (B,), turned into clean predictions."""

    def __init__(self, network: nn.Module, schedule: Schedule):
        super().__init__()
        self.network, self.schedule = network, schedule

    def predict(self, z: Tensor, t, cond) -> Tensor:
        t = torch.as_tensor(t, dtype=torch.long, device=z.device).expand(z.shape[0])
        return self.network(z, t, cond)

    def aware(self, **told) -> Self:
        """A copy whose network is told more, see `ResidualMLP.aware`."""
        twin = deepcopy(self)
        twin.network = self.network.aware(**told)
        return twin


class FromEpsilon(_FromNetwork):
    """x̂ = (z − σ ε̂)/α from a noise prediction. Raises InputError where the schedule has α_T = 0."""

    def __init__(self, network: nn.Module, schedule: Schedule):
        if schedule.alpha[-1] == 0:
            raise InputError(
                "alpha_T = 0: noise says nothing of the sample there; end the schedule at "
                "alpha_T > 0 or use a v-prediction"
            )
        super().__init__(network, schedule)

    def forward(self, z: Tensor, t, cond=None) -> Tensor:
        alpha, sigma = self.schedule.at(t, z)
        return (z - sigma * self.predict(z, t, cond)) / alpha


class FromV(_FromNetwork):
    """x̂ = αz − σv from v = αε − σx (Salimans and Ho)."""

    def forward(self, z: Tensor, t, cond=None) -> Tensor:
        alpha, sigma = self.schedule.at(t, z)
        return alpha * z - sigma * self.predict(z, t, cond)


class FromFlow(_FromNetwork):
    """x̂ from a flow-matching velocity u = ε − x on the straight path (1 − r)x + rε.

    The path's point is z/(α + σ), with r = σ/(α + σ): the network sees that, not z.
    """

    def forward(self, z: Tensor, t, cond=None) -> Tensor:
        alpha, sigma = self.schedule.at(t, z)
        point = z / (alpha + sigma)
        return point - sigma / (alpha + sigma) * self.predict(point, t, cond)


class Corrected(_FromNetwork):
    """x̂ = x̂_base + σ · network: the denoiser `base` until the network learns more.

    A network whose last layer starts at zero makes a copy of `base`, closed form or not, that can
    be trained. `base` has a `schedule`, and is told the label alone; where it is a network, freeze
    it.
    """

    def __init__(self, network: nn.Module, base):
        super().__init__(network, base.schedule)
        self.base = base

    def forward(self, z: Tensor, t, cond=None) -> Tensor:
        sigma = self.schedule.at(t, z)[1]
        return self.base(z, t, Condition.of(cond).label) + sigma * self.predict(z, t, cond)


class Guided(nn.Module):
    """Classifier-free guidance, x̂_∅ + scale · (x̂ − x̂_∅); `null` is the empty condition.

    A condition that names its guidance is followed in place of `scale`, sample by sample, and the
    denoiser inside is not told. scale = 1 is the plain conditional denoiser and costs one
    evaluation. Raises InputError for a scale that is not a finite number, or not one a sample.
    """

    def __init__(self, denoiser, scale: float = 1.0, null=None):
        super().__init__()
        self.denoiser, self.scale, self.null = denoiser, check_number("guidance", scale), null

    def forward(self, z: Tensor, t, cond=None) -> Tensor:
        cond = Condition.of(cond)
        scale = self.scale if cond.guidance is None else _scale(cond.guidance, z)
        conditional = self.denoiser(z, t, replace(cond, guidance=None).bare())
        if not isinstance(scale, Tensor) and scale == 1:
            return conditional
        empty = self.denoiser(z, t, replace(cond, label=self.null, guidance=None).bare())
        return empty + scale * (conditional - empty)


def _within(value, least=-math.inf) -> bool:
    """Whether all numbers of `value` are finite and ≥ least; strings are not."""
    try:
        good = (value >= least) & (value > -math.inf) & (value < math.inf)
    except (TypeError, RuntimeError):
        return False
    return bool(good if isinstance(good, bool) else good.all())


def _scale(scale, z: Tensor):
    """The guidance of all samples z, or of each (B, 1, …, 1). Raises InputError as `Guided`."""
    if not isinstance(scale, Tensor):
        return check_number("guidance", scale)
    if scale.ndim:
        check_shapes(z.shape[:1], guidance=scale)
    if scale.device.type == "cpu" and not scale.isfinite().all():  # a GPU is not waited for
        raise InputError("guidance holds NaN or infinity: must be finite")
    return scale.reshape(-1, *[1] * (z.ndim - 1))
