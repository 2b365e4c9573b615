"""Copies of a network, of which each sample meets one: by its step count, or its step as well."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import fields
from typing import Self

import torch
from torch import Tensor, nn

from tdmlib.denoisers import Condition
from tdmlib.errors import InputError
from tdmlib.models.residual_mlp import ResidualMLP
from tdmlib.models.told import (
    as_tuple,
    check_counts,
    check_grids,
    check_samples,
    each,
    is_told,
    levels,
    place,
)


class _Experts(nn.Module):
    """What all have in common; each kind has a method `expert` that names who serves a sample."""

    sizes: list[int]  # the step counts that it can be told
    counts: list[int] | None  # those that it is told

    def __init__(self, network: ResidualMLP, number: int):
        super().__init__()
        self.experts = nn.ModuleList(deepcopy(network) for _ in range(number))

    shape = property(lambda self: self.experts[0].shape)
    T = property(lambda self: self.experts[0].T)
    classes = property(lambda self: self.experts[0].classes)
    guidance = property(lambda self: self.experts[0].guidance)
    origin = property(lambda self: self.experts[0].origin)

    def aware(self, counts=None, guidance=None, origin=None) -> Self:
        """A copy that is told more, as `ResidualMLP.aware`; of `counts` its own alone.

        Raises InputError for other counts, and as `ResidualMLP.aware`.
        """
        twin = deepcopy(self)
        twin.counts = self.counts if counts is None else self.learnt(counts)
        twin.experts = nn.ModuleList(
            expert.aware(guidance=guidance, origin=origin) for expert in self.experts
        )
        return twin

    def learnt(self, counts) -> list[int] | None:
        """Its step counts, if `counts` are these; None for None. Raises InputError for others."""
        if counts is not None and list(check_counts(counts)) != self.sizes:
            raise InputError(f"counts = {as_tuple(counts)}, but its experts are for {self.sizes}")
        return None if counts is None else list(self.sizes)

    def forward(self, z: Tensor, t: Tensor, cond=None) -> Tensor:
        """As `ResidualMLP.forward`: z (B, *shape), t (B,), of the shape of z; raises as there.

        A GPU is waited for, to learn which experts a batch meets.
        """
        check_samples(z, self.shape, self.experts[0].last.weight)
        cond, t = Condition.of(cond), levels("t", t, z, self.T)
        parts = {f.name: getattr(cond, f.name) for f in fields(cond)}
        kinds = {"guidance": self.experts[0].frequencies.dtype}  # in another, 1.7 may exceed 1.7
        known = {k: each(k, p, z, kinds.get(k)) for k, p in parts.items() if p is not None}
        chosen = self.expert(t, known.pop("steps", None))
        rest, found = Condition(**known), torch.empty_like(z)
        for n in chosen.unique().tolist():
            rows = (chosen == n).nonzero()[:, 0]
            found[rows] = self.experts[n](z[rows], t[rows], rest[rows]).to(found.dtype)
        return found


class CountExperts(_Experts):
    """Copies of a network, one for each step count K that a `Condition` tells.

    As fake scores of a student of several counts they share no weights (`fake_by_count` of
    `distill.lit.ScoreDistillation`).

    Parameters
    ----------
    network : what is copied, a `ResidualMLP` that is not told K, or its settings.
    counts : the step counts.

    Raises InputError for counts or a network that are none.
    """

    def __init__(self, network: ResidualMLP | Mapping, counts: Sequence[int]):
        network, counts = _single(network), list(check_counts(counts))
        super().__init__(network, len(counts))
        self.sizes = self.counts = counts

    @property
    def config(self) -> dict:
        return dict(network=self.experts[0].config, counts=self.counts)

    def expert(self, t: Tensor, steps=None) -> Tensor:
        """Which expert serves levels t (B,) for K = `steps`, one or (B,); shape (B,).

        Raises InputError for a K that is missing or not learnt, and another shape.
        """
        is_told("steps", steps, self.counts)
        return place(each("steps", steps, t), self.counts)


class StepExperts(_Experts):
    """Copies of a network, one for each step of each grid; the level of a sample names its expert.

    Experts of noise levels are those of Balaji et al. (2022, eDiff-I); here also of the step count
    that a `Condition` tells. An evaluation costs one network, as each sample meets one expert.

    Parameters
    ----------
    network : what is copied, a `ResidualMLP` that is not told K, or its settings.
    grids : levels 0 < t_1 < … < t_K = T of each step count. The expert of step k serves the levels
        above t_k up to t_{k+1}; that of k = 0 level 0 as well.
    counts : those of the grids, if it is told K; without, it serves a single grid.

    Raises InputError for grids that do not rise from 0 to T, or of which two have the same K, for
    other counts, and for a network that is none.
    """

    def __init__(
        self,
        network: ResidualMLP | Mapping,
        grids: Sequence[Sequence[int]],
        counts: Sequence[int] | None = None,
    ):
        network = _single(network)
        grids = check_grids(grids, network.T)
        sizes = [len(grid) - 1 for grid in grids]
        super().__init__(network, sum(sizes))
        self.grids, self.sizes = grids, sizes
        self.counts = self.learnt(counts)

    @property
    def config(self) -> dict:
        return dict(network=self.experts[0].config, grids=self.grids, counts=self.counts)

    def expert(self, t: Tensor, steps=None) -> Tensor:
        """Which expert serves levels t (B,), for K = `steps`, one or (B,); shape (B,).

        Raises InputError for a K that no grid has, another shape, and where K is missing or
        not told.
        """
        told = is_told("steps", steps, self.counts)
        if not told and len(self.sizes) > 1:
            raise InputError(f"grids of {self.sizes} steps: tell it K, by aware(counts=…)")
        which = place(each("steps", steps if told else self.sizes[0], t), self.sizes)
        t, first, chosen = t.contiguous(), 0, torch.zeros_like(which)
        for n, (grid, size) in enumerate(zip(self.grids, self.sizes, strict=True)):
            step = torch.bucketize(t, torch.tensor(grid[1:-1], device=t.device))
            chosen, first = torch.where(which == n, first + step, chosen), first + size
        return chosen


def _single(network: ResidualMLP | Mapping) -> ResidualMLP:
    if isinstance(network, Mapping):
        try:
            network = ResidualMLP(**network)
        except TypeError as error:  # settings that it does not have
            raise InputError(f"settings of a network: {error}") from None
    if not isinstance(network, ResidualMLP) or network.counts:
        raise InputError("experts are copies of a ResidualMLP that is not told K: give one")
    return network
