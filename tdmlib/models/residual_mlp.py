"""A residual MLP for images so small that convolution has nothing to share."""

import math
from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdmlib.denoisers import Condition
from tdmlib.errors import InputError, check_number, check_positive
from tdmlib.models.told import (
    check_axes,
    check_counts,
    check_labels,
    check_range,
    check_samples,
    each,
    is_told,
    levels,
    place,
)


class _Block(nn.Module):
    """h + W₂ SiLU(W₁ FiLM(LayerNorm(h))); starts as the identity."""

    def __init__(self, width: int, modulation: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.film = nn.Linear(modulation, 2 * width)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.film, self.outer):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, h: Tensor, modulation: Tensor) -> Tensor:
        scale, shift = self.film(modulation).chunk(2, dim=1)
        inner = self.inner(self.norm(h) * (1 + scale) + shift)
        return h + self.outer(self.dropout(F.silu(inner)))


class ResidualMLP(nn.Module):
    """A conditional network on flattened samples.

    Parameters
    ----------
    shape : of one sample, e.g. (1, 8, 8).
    T : the noisiest level; times are embedded as angles πt/2T.
    classes : number of labels; cond = None or the label `classes` is the empty condition.
    width, blocks, embedding, dropout : size and regularisation.
    counts : the step counts that it is told by `Condition.steps`, if any. Each has weights of its
        own where the embedding scales and shifts the blocks (FiLM; Perez et al., 2018).
    guidance : the lowest and highest guidance that it is told by `Condition.guidance`, if any.
    origin : whether it is told by `Condition.origin` from which level z was diffused.
    fourier, bandwidth : it sees, beside z, sines and cosines of `fourier` random combinations of
        the coordinates, of deviation `bandwidth` in radians a unit (Tancik et al., 2020). Samples
        of few coordinates want them: without, a network is slow to learn what turns quickly.

    Raises InputError for a size below 1 (embedding: 2), no axis, a dropout outside 0 … 1, counts
    below 1, an empty range of guidance, an origin that is not a bool, fourier below 0 or a
    bandwidth that is not positive.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        T: int,
        classes: int,
        width: int = 384,
        blocks: int = 3,
        embedding: int = 64,
        dropout: float = 0.0,
        counts: Sequence[int] | None = None,
        guidance: tuple[float, float] | None = None,
        origin: bool = False,
        fourier: int = 0,
        bandwidth: float = 2.0,
    ):
        super().__init__()
        sizes = dict(T=T, classes=classes, width=width, blocks=blocks)
        T, classes, width, blocks = (check_number(k, n, 1, whole=True) for k, n in sizes.items())
        shape = check_axes(shape)
        embedding = check_number("embedding", embedding, 2, whole=True)
        check_number("dropout", dropout, 0, 1)
        counts = None if counts is None else list(check_counts(counts))
        guidance = None if guidance is None else list(check_range("guidance", guidance))
        fourier = check_number("fourier", fourier, 0, whole=True)
        bandwidth = float(check_positive("bandwidth", bandwidth))
        if not isinstance(origin, bool):
            raise InputError(f"origin = {origin!r:.40}: must be true or false")
        self.config = dict(
            shape=list(shape), T=T, classes=classes, width=width, blocks=blocks,
            embedding=embedding, dropout=dropout, counts=counts, guidance=guidance,
            origin=origin, fourier=fourier, bandwidth=bandwidth,
        )  # fmt: skip
        self.shape, self.T, self.classes = shape, T, classes
        self.counts, self.guidance, self.origin = counts, guidance, origin or None
        size = math.prod(shape)
        frequencies = torch.logspace(0, math.log10(200), embedding // 2)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.embed_time = nn.Sequential(
            nn.Linear(2 * len(frequencies), embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.embed_label = nn.Embedding(classes + 1, embedding)
        if guidance:
            self.embed_guidance = nn.Linear(2 * len(frequencies), embedding, bias=False)
            nn.init.zeros_(self.embed_guidance.weight)
        if origin:
            self.embed_origin = nn.Linear(2 * len(frequencies), embedding, bias=False)
            nn.init.zeros_(self.embed_origin.weight)
        if fourier:
            self.register_buffer("combinations", bandwidth * torch.randn(size, fourier))
        self.first = nn.Linear(size + 2 * fourier, width)
        told = embedding * len(counts or [0])
        self.blocks = nn.ModuleList(_Block(width, told, dropout) for _ in range(blocks))
        self.norm, self.last = nn.LayerNorm(width), nn.Linear(width, size)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def aware(self, counts=None, guidance=None, origin=None) -> Self:
        """A copy that is told more, as the parameters say; untrained it answers the same.

        Raises InputError as the class, and for other counts or guidance than it is told already.
        """
        told = dict(counts=counts, guidance=guidance, origin=origin)
        told = {name: value for name, value in told.items() if value is not None}
        with torch.random.fork_rng(devices=[]):
            copy = type(self)(**self.config | told)
        for name in told:
            if self.config[name] and copy.config[name] != self.config[name]:
                raise InputError(
                    f"the network is told {name} = {self.config[name]} already: for others, start "
                    f"from one that is not told {name}"
                )
        weights = self.state_dict()
        if copy.counts and not self.counts:  # each K starts with what served all
            for name in (n for n in weights if n.endswith("film.weight")):
                weights[name] = weights[name].repeat(1, len(copy.counts))
        copy.load_state_dict(weights, strict=False)
        return copy.to(self.last.weight).train(self.training)

    def waves(self, angle: Tensor) -> Tensor:
        """Sines and cosines of angles (B,) at all frequencies, (B, embedding)."""
        angle = angle[:, None] * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], dim=1)

    def embed(self, t: Tensor, cond) -> Tensor:
        """The level and all that the network is told but K, (B, embedding)."""
        cond = Condition.of(cond)
        embedding = self.embed_time(self.waves(t * (math.pi / 2 / self.T)))
        embedding = embedding + self.embed_label(self.labels(cond.label, t))
        if is_told("guidance", cond.guidance, self.guidance):
            low, high = self.guidance
            w = each("guidance", cond.guidance, t, self.frequencies.dtype)
            if len(beyond := w[~((w >= low) & (w <= high))]):
                check_number("guidance", float(beyond[0]), low, high)
            angle = (w - low) * (math.pi / 2 / (high - low))
            embedding = embedding + self.embed_guidance(self.waves(angle))
        if is_told("origin", cond.origin, self.origin):
            level = levels("origin", cond.origin, t, self.T)
            embedding = embedding + self.embed_origin(self.waves(level * (math.pi / 2 / self.T)))
        return embedding

    def modulation(self, t: Tensor, cond) -> Tensor:
        """What scales and shifts the blocks: the embedding, and zeros for all K but its own.

        Shape (B, embedding · number of `counts`), or (B, embedding) without.
        """
        steps = Condition.of(cond).steps
        told = is_told("steps", steps, self.counts)
        embedding = F.silu(self.embed(t, cond))
        if not told:
            return embedding
        mine = F.one_hot(place(each("steps", steps, t), self.counts), len(self.counts))
        return (mine.to(embedding)[:, :, None] * embedding[:, None]).flatten(1)

    def labels(self, label, t: Tensor) -> Tensor:
        """Labels (B,), those of the empty condition for None; raises InputError as `forward`."""
        if label is None:
            return torch.full_like(t, self.classes, dtype=torch.long)
        label = each("label", label, t)
        if label.is_floating_point():
            raise InputError(f"labels are of type {label.dtype}; they must be whole numbers")
        if label.device.type == "cpu":  # a GPU is not waited for
            check_labels(label, self.classes + 1)
        return label.long()

    def forward(self, z: Tensor, t: Tensor, cond=None) -> Tensor:
        """z (B, *shape), t (B,) levels, cond (B,) labels or a `Condition`; of the shape of z.

        One level or label may stand for all. Raises InputError for other shapes or types, and for
        what the network is not told or has not learnt; on a GPU not for levels and labels out of
        range, which only a wait for it would show.
        """
        check_samples(z, self.shape, self.last.weight)
        modulation = self.modulation(levels("t", t, z, self.T), cond)
        h = z.flatten(1)
        if self.config["fourier"]:
            with torch.autocast(h.device.type, enabled=False):  # half precision loses angles
                angle = h.to(self.combinations) @ self.combinations
            h = torch.cat([h, angle.sin(), angle.cos()], dim=1)
        h = self.first(h)
        for block in self.blocks:
            h = block(h, modulation)
        return self.last(self.norm(h)).reshape(z.shape)
