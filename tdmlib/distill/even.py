"""TDM whose random numbers fill their space evenly, for samples of few coordinates."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tdmlib.distill.renoise import Renoise
from tdmlib.distill.rollout import Start
from tdmlib.distill.tdm import TDM
from tdmlib.errors import InputError, check_number


def _sobol(batch: int, columns: int, generator: torch.Generator) -> Tensor:
    """Scrambled Sobol points in (0, 1), shape (batch, columns)."""
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    points = torch.quasirandom.SobolEngine(columns, scramble=True, seed=seed).draw(max(batch, 1))
    return points[:batch].clamp(1e-6, 1 - 1e-6).to(generator.device)


@dataclass(frozen=True)
class EvenTDM(TDM):
    """`TDM` on scrambled Sobol points: each batch holds every mode in nearly its share.

    Each draw has the law that it has in `TDM`; only draws within a batch depend on each
    other, so means are the same and vary less from batch to batch. Every step k of every
    K gets a run of consecutive points, best of a power of two. For samples of shape (d,)
    with few coordinates.

    Raises InputError as `TDM`, for a random landing or a drawn guidance, and for samples
    of another shape.
    """

    def __post_init__(self):
        super().__post_init__()
        if self.landing != "grid" or self.guidance is not None:
            raise InputError("EvenTDM lands on its grid, with the guidance given; take TDM")

    def start(self, batch: int, shape, generator: torch.Generator) -> Start:
        """Noise (batch, d), and K and steps k in runs, in the proportions of `TDM.start`.

        Raises InputError for a batch that is no whole number ≥ 0, or a `shape` other than
        (d,), 1 ≤ d ≤ 100.
        """
        batch, (d,) = check_number("batch", batch, 0, whole=True), _flat(shape)
        noise = torch.special.ndtri(_sobol(batch, d, generator))
        step, K = self.assign(torch.arange(batch, device=generator.device), generator)
        runs = (K * len(self.grid) + step).argsort(stable=True)
        return Start(noise, step[runs], K[runs])

    def renoise(self, batch: int, shape, generator: torch.Generator) -> Renoise:
        """Levels and noise (batch, d), from other points than `start`; raises as there."""
        batch, (d,) = check_number("batch", batch, 0, whole=True), _flat(shape)
        points = _sobol(batch, 2 * d + 1, generator)  # `start` took the first d
        return Renoise(u=points[:, d], noise=torch.special.ndtri(points[:, d + 1 :]))


def _flat(shape: tuple[int, ...]) -> tuple[int]:
    if not isinstance(shape, tuple | list) or len(shape) != 1:
        raise InputError(f"samples of shape {shape}: EvenTDM is for (d,), 1 ≤ d ≤ 100; take TDM")
    return (check_number("d, of samples of shape (d,),", shape[0], 1, 100, whole=True),)
