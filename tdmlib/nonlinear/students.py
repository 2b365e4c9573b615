"""The one-step family: softmax-gated mixtures of affine maps, which one teacher step belongs to."""

import torch
from torch import Tensor, nn

from tdmlib.errors import InputError, check_number
from tdmlib.mixtures import GaussianMixture
from tdmlib.schedules import Schedule


class GatedAffine(nn.Module):
    """z ↦ Σ_m softmax_m(q_m(z)) (A_m z + c_m) with M quadratic logits q_m and M affine maps.

    Any student of the form that one DDIM step on an M-component mixture has. Nothing but the form
    is asked: the maps need not be symmetric, the logits need not belong to densities.

    Parameters
    ----------
    gates : tensor, shape (M, 1 + d + d(d+1)/2), the logits' coefficients of 1, z_i and z_i z_j,
        i ≤ j.
    maps : tensor, shape (M, d, d + 1), A_m with c_m as last column.

    Raises InputError when the shapes disagree.
    """

    def __init__(self, gates: Tensor, maps: Tensor):
        super().__init__()
        d = maps.shape[1] if maps.ndim == 3 else 0
        wanted = (len(maps), 1 + d + d * (d + 1) // 2), (len(maps), d, d + 1)
        if d == 0 or (tuple(gates.shape), tuple(maps.shape)) != wanted:
            raise InputError(
                f"gates {tuple(gates.shape)} and maps {tuple(maps.shape)} disagree; expected "
                "(M, 1 + d + d(d+1)/2) and (M, d, d + 1)"
            )
        self.gates, self.maps = nn.Parameter(gates.clone()), nn.Parameter(maps.clone())

    def forward(self, z: Tensor) -> Tensor:
        """z (B, d); returns (B, d)."""
        one = torch.ones_like(z[:, :1])
        i, j = torch.triu_indices(z.shape[1], z.shape[1])
        features = torch.cat([one, z, z[:, i] * z[:, j]], dim=1)
        weights = torch.softmax(features @ self.gates.T, dim=1)
        moved = torch.einsum("mij,bj->bmi", self.maps, torch.cat([z, one], dim=1))
        return (weights[..., None] * moved).sum(1)


def step_student(mixture: GaussianMixture, schedule: Schedule, i: int, j: int) -> GatedAffine:
    """The exact step from level j to level i < j, on float64 torch tensors.

    Component m alone would have x̂_m(z) = μ_m + αΣ_m S⁻¹(z − αμ_m) with S = α²Σ_m + σ²I;
    its logit is log w_m N(z; αμ_m, S). Raises InputError unless 0 ≤ i < j ≤ T, or for other
    arrays.
    """
    mu, C, d = mixture.means, mixture.covariances, mixture.dim
    if not isinstance(mu, Tensor):
        kind = type(mu).__name__
        raise InputError(f"the mixture is made of {kind}; students need torch tensors")
    j = check_number("j", j, 1, schedule.T, whole=True)
    i = check_number("i", i, 0, j - 1, whole=True)
    alpha, sigma = schedule.at(j, mu)
    below = schedule.at(i, mu)
    keep = below[1] / sigma
    gain = below[0] - alpha * keep
    one = torch.eye(d, dtype=mu.dtype)
    S = alpha**2 * C + sigma**2 * one
    inverse = torch.linalg.inv(S)
    slope = alpha * C @ inverse
    centre = alpha * mu[..., None]
    h = inverse @ centre
    offset = mixture.weights.log() - 0.5 * torch.logdet(S) - 0.5 * (centre * h).sum((1, 2))
    row, column = torch.triu_indices(d, d)
    quadratic = -inverse[:, row, column] * torch.where(row == column, 0.5, 1.0)
    rest = mu[..., None] - slope @ centre
    maps = torch.cat([keep * one + gain * slope, gain * rest], dim=2)
    return GatedAffine(torch.cat([offset[:, None], h[..., 0], quadratic], dim=1), maps)


def component_student(mixture: GaussianMixture, schedule: Schedule, i: int, j: int) -> GatedAffine:
    """The gates of level j before each component's own composite from level j to i < j.

    Exact for one component, and in the limit of hard gates where no point changes component.
    Raises InputError unless 0 ≤ i < j ≤ T.
    """
    i = check_number("i", i, 0, whole=True)
    j = check_number("j", j, i + 1, schedule.T, whole=True)
    student = step_student(mixture, schedule, j - 1, j)
    with torch.no_grad():
        for t in range(j - 1, i, -1):
            later = step_student(mixture, schedule, t - 1, t).maps
            maps = later[..., :-1] @ student.maps
            maps[..., -1] += later[..., -1]
            student.maps.copy_(maps)
    return student


def widened(
    student: GatedAffine, components: int, seed: int = 0, noise: float = 0.1
) -> GatedAffine:
    """A student of more components that is nearly the same map: some of them split.

    Every parameter is moved by `noise` times a normal number; without, the map is the same.
    Raises InputError for fewer components than it has, noise < 0, or a seed outside 0 … 2⁶³ − 1.
    """
    M = len(student.maps)
    components = check_number("components", components, M, whole=True)
    noise = check_number("noise", noise, 0)
    seed = check_number("seed", seed, 0, 2**63 - 1, whole=True)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(components) % M
    copies = rows.bincount().to(student.gates.dtype)
    gates, maps = student.gates.detach()[rows], student.maps.detach()[rows]
    gates = gates + noise * torch.randn(gates.shape, generator=generator, dtype=gates.dtype)
    maps = maps + noise * torch.randn(maps.shape, generator=generator, dtype=maps.dtype)
    gates[:, 0] -= copies[rows].log()
    return GatedAffine(gates, maps)
