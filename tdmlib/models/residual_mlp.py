"""A residual MLP for images so small that convolution has nothing to share."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdmlib.errors import InputError, check_number


class _Block(nn.Module):
    """h + W₂ SiLU(W₁ FiLM(LayerNorm(h))); starts as the identity."""

    def __init__(self, width: int, embedding: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.film = nn.Linear(embedding, 2 * width)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.film, self.outer):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.film(embedding).chunk(2, dim=1)
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

    Raises InputError for a size below 1 (embedding: 2), no axis, or a dropout outside 0 … 1.
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
    ):
        super().__init__()
        sizes = dict(T=T, classes=classes, width=width, blocks=blocks)
        T, classes, width, blocks = (check_number(k, n, 1, whole=True) for k, n in sizes.items())
        shape = tuple(check_number("shape", n, 1, whole=True) for n in shape)
        if not shape:
            raise InputError("shape = (): a sample has at least one axis, as in (2,)")
        embedding = check_number("embedding", embedding, 2, whole=True)
        check_number("dropout", dropout, 0, 1)
        self.config = dict(
            shape=list(shape), T=T, classes=classes, width=width, blocks=blocks,
            embedding=embedding, dropout=dropout,
        )  # fmt: skip
        self.shape, self.T, self.classes = shape, T, classes
        size = math.prod(shape)
        frequencies = torch.logspace(0, math.log10(200), embedding // 2)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.embed_time = nn.Sequential(
            nn.Linear(2 * len(frequencies), embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.embed_label = nn.Embedding(classes + 1, embedding)
        self.first = nn.Linear(size, width)
        self.blocks = nn.ModuleList(_Block(width, embedding, dropout) for _ in range(blocks))
        self.norm, self.last = nn.LayerNorm(width), nn.Linear(width, size)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, z: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        """z (B, *shape), t (B,) levels, cond (B,) labels; returns the shape of z."""
        if z.shape[1:] != self.shape:
            raise InputError(
                f"samples have shape {tuple(z.shape[1:])}, the network takes {self.shape}"
            )
        if cond is None:
            cond = torch.full_like(t, self.classes)
        angle = (t * (math.pi / 2 / self.T))[:, None] * self.frequencies
        times = self.embed_time(torch.cat([angle.sin(), angle.cos()], dim=1))
        embedding = F.silu(times + self.embed_label(cond))
        h = self.first(z.flatten(1))
        for block in self.blocks:
            h = block(h, embedding)
        return self.last(self.norm(h)).reshape(z.shape)


def check_labels(labels, classes: int):
    """Integer labels, a tensor or array, within 0 … classes − 1; or InputError naming a bad one."""
    bad = labels[(labels < 0) | (labels >= classes)]
    if len(bad):
        raise InputError(f"label {int(bad[0])} is out of range; labels are 0 … {classes - 1}")
    return labels
