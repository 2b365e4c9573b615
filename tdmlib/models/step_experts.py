"""A network of its own for each step of a few-step student."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn

from tdmlib.denoisers import Condition
from tdmlib.errors import InputError
from tdmlib.models.residual_mlp import ResidualMLP, check_counts, each, is_told, levels


class StepExperts(nn.Module):
    """Copies of a network, one for each step of each grid; the level of a sample names its expert.

    Experts of noise levels are those of Balaji et al. (2022, eDiff-I); here also of the step count
    that a `Condition` tells. An evaluation costs one network, as each sample meets one expert.

    Parameters
    ----------
    network : what is copied, or the settings of a `ResidualMLP`; it is not told K.
    grids : levels 0 < t_1 < … < t_K = T of each step count, as `FewSteps.grids`. The expert of step
        k serves the levels above t_k up to t_{k+1}; that of k = 0 level 0 as well.
    counts : whether it is told K; without, it serves a single grid.

    Raises InputError for grids that do not rise from 0 to T, or of which two have the same K.
    """

    def __init__(
        self,
        network: nn.Module | Mapping,
        grids: Sequence[Sequence[int]],
        counts: Sequence[int] | None = None,
    ):
        super().__init__()
        network = ResidualMLP(**network) if isinstance(network, Mapping) else network
        if getattr(network, "counts", None):
            raise InputError("the network is told K already: start from one that is not")
        grids = sorted((list(map(int, grid)) for grid in grids), key=len)
        sizes = [len(grid) - 1 for grid in grids]
        if not grids or min(sizes) < 1 or len(set(sizes)) < len(sizes):
            raise InputError(f"grids of {sizes} steps: name one grid of K ≥ 1 steps for each K")
        for grid in grids:
            rises = all(a < b for a, b in pairwise(grid))
            if not rises or (grid[0], grid[-1]) != (0, network.T):
                raise InputError(f"grid = {grid}: levels must rise from 0 to T = {network.T}")
        self.grids, self.sizes = grids, sizes
        self.counts = self._told(counts)
        self.config = dict(network=network.config, grids=grids, counts=self.counts)
        self.experts = nn.ModuleList(deepcopy(network) for _ in range(sum(sizes)))
        self.shape, self.T, self.classes = network.shape, network.T, network.classes
        self.guidance, self.origin = network.guidance, network.origin

    def aware(self, counts=None, guidance=None, origin=None) -> Self:
        """A copy that is told more, as `ResidualMLP.aware`; of `counts` those of the grids.

        Raises InputError as the class and as `ResidualMLP.aware`.
        """
        told = deepcopy(self)
        told.counts = self.counts if counts is None else self._told(counts)
        told.experts = nn.ModuleList(
            expert.aware(guidance=guidance, origin=origin) for expert in self.experts
        )
        first = told.experts[0]
        told.guidance, told.origin = first.guidance, first.origin
        told.config = dict(network=first.config, grids=self.grids, counts=told.counts)
        return told

    def _told(self, counts) -> list[int] | None:
        """The step counts of the grids, if `counts` are these; None for None."""
        if counts is not None and list(check_counts(counts)) != self.sizes:
            raise InputError(f"counts = {tuple(counts)}, but the grids are of {self.sizes} steps")
        return None if counts is None else self.sizes

    def expert(self, t: Tensor, steps=None) -> Tensor:
        """Which expert serves levels t (B,), for K = `steps`, one or (B,); shape (B,).

        Raises InputError for a K that no grid has, another shape, and where K is missing or
        not told.
        """
        told = is_told("steps", steps, self.counts)
        if not told and len(self.sizes) > 1:
            raise InputError(f"grids of {self.sizes} steps: tell it K, by aware(counts=…)")
        K, t = each("steps", steps if told else self.sizes[0], t), t.contiguous()
        chosen, first = torch.full_like(t, -1), 0
        for grid, size in zip(self.grids, self.sizes, strict=True):
            step = torch.bucketize(t, torch.tensor(grid[1:-1], device=t.device))
            chosen, first = torch.where(K == size, first + step, chosen), first + size
        if (chosen < 0).any():
            unknown, learnt = K[chosen < 0][0], ", ".join(map(str, self.sizes))
            raise InputError(f"K = {unknown:g}: the network has learnt K = {learnt}")
        return chosen

    def forward(self, z: Tensor, t: Tensor, cond=None) -> Tensor:
        """As `ResidualMLP.forward`: z (B, *shape), t (B,), of the shape of z; raises as there."""
        cond, t = Condition.of(cond), levels("t", t, z, self.T)
        chosen, rest = self.expert(t, cond.steps), replace(cond, steps=None)
        found = torch.empty_like(z)
        for n in chosen.unique().tolist():
            rows = (chosen == n).nonzero()[:, 0]
            found[rows] = self.experts[n](z[rows], t[rows], rest[rows]).to(found.dtype)
        return found
