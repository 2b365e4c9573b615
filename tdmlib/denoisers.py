"""Denoisers x̂(z, t, cond): closed forms, wrappers around networks, and guidance.

Everything above this file sees clean predictions. A denoiser is any callable (z, t, cond=None) with
z of shape (B, …), t an int or an integer tensor of shape (B,), and the result of the shape of z.
"""

import torch
from torch import Tensor, nn

from tdmlib.errors import InputError, check_number
from tdmlib.mixtures import GaussianMixture
from tdmlib.schedules import Schedule


class GaussianDenoiser:
    """The optimal denoiser of x ~ N(mean, diag(λ)), x̂ = μ + αλ/(α²λ + σ²)(z − αμ) (Prop. 3.1).

    `lam` and `mean` broadcast against z; all three are NumPy arrays or all torch tensors.
    Raises InputError for a λ that is negative or not finite.
    """

    def __init__(self, schedule: Schedule, lam, mean=0.0):
        good = (lam >= 0) & (lam < float("inf"))
        if not (good if isinstance(good, bool) else bool(good.all())):
            raise InputError(f"λ = {lam}: variances are finite and λ ≥ 0")
        self.schedule, self.lam, self.mean = schedule, lam, mean

    def __call__(self, z, t, cond=None):
        alpha, sigma = self.schedule.at(t, z)
        variance = alpha**2 * self.lam + sigma**2
        gain = alpha * self.lam / (variance + (variance == 0))  # zero only where λ is: no 0/0
        return self.mean + gain * (z - alpha * self.mean)


class MixtureDenoiser:
    """The optimal denoiser of a Gaussian mixture: its posterior mean."""

    def __init__(self, schedule: Schedule, mixture: GaussianMixture):
        self.schedule, self.mixture = schedule, mixture

    def __call__(self, z, t, cond=None):
        return self.mixture.posterior_mean(z, *self.schedule.at(t, z))


class _FromNetwork(nn.Module):
    """A network (z, t, cond) with t of shape (B,), turned into clean predictions."""

    def __init__(self, network: nn.Module, schedule: Schedule):
        super().__init__()
        self.network, self.schedule = network, schedule

    def predict(self, z: Tensor, t, cond) -> Tensor:
        t = torch.as_tensor(t, dtype=torch.long, device=z.device).expand(z.shape[0])
        return self.network(z, t, cond)


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


class Guided(nn.Module):
    """Classifier-free guidance, x̂_∅ + scale · (x̂ − x̂_∅); `null` is the empty condition.

    scale = 1 is the plain conditional denoiser and costs one evaluation.
    Raises InputError for a scale that is not a finite number.
    """

    def __init__(self, denoiser, scale: float, null=None):
        super().__init__()
        self.denoiser, self.scale, self.null = denoiser, check_number("guidance", scale), null

    def forward(self, z: Tensor, t, cond=None) -> Tensor:
        conditional = self.denoiser(z, t, cond)
        if self.scale == 1:
            return conditional
        empty = self.denoiser(z, t, self.null)
        return empty + self.scale * (conditional - empty)
