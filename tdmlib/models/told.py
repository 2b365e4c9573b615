"""What a network is told of its samples: its settings, and the conditions of a batch, checked."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from tdmlib.errors import InputError, check_number, check_shapes


def check_samples(z: Tensor, shape: tuple[int, ...], weight: Tensor) -> None:
    """Raise InputError unless z is (B, *shape), of the type of a weight; autocast converts."""
    if not z.ndim or z.shape[1:] != shape:
        raise InputError(f"samples have shape {tuple(z.shape[1:])}, the network takes {shape}")
    if z.dtype != weight.dtype and not torch.is_autocast_enabled(z.device.type):
        raise InputError(f"samples are of type {z.dtype}, the network is of {weight.dtype}")


def check_axes(shape) -> tuple[int, ...]:
    """The shape of one sample, (…), of at least one axis; or InputError."""
    axes = as_tuple(shape)
    if not isinstance(axes, tuple) or not axes:
        raise InputError(f"shape = {shape!r:.40}: a sample has at least one axis, as in (2,)")
    return tuple(check_number("shape", n, 1, whole=True) for n in axes)


def is_told(name: str, given, learnt) -> bool:
    """Whether a network that knows `learnt` is told; InputError where it wants and gets not."""
    if given is not None and learnt is None:
        raise InputError(f"the network is not told {name}: leave {name} out of its condition")
    if given is None and learnt is not None:
        raise InputError(f"the network is told {name}: name it, as in Condition(label, {name}=…)")
    return given is not None


def each(name: str, value, like: Tensor, dtype=None) -> Tensor:
    """A tensor (B,), one number a sample of `like`, of such or of one for all; or InputError."""
    try:
        kind, value = torch.as_tensor(value).dtype, torch.as_tensor(value, dtype=dtype)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{name} = {value!r:.40}: give one number, or one a sample") from None
    if kind == torch.bool:
        raise InputError(f"{name} is of type bool; give numbers")
    if value.ndim:
        check_shapes(like.shape[:1], **{name: value})
    return value.to(like.device).expand(like.shape[:1])


def place(K: Tensor, counts: Sequence[int]) -> Tensor:
    """Where each K (B,) stands in `counts`, (B,); InputError for one that does not."""
    match = K[:, None] == torch.tensor(counts, device=K.device)
    if len(unknown := K[~match.any(1)]):
        learnt = ", ".join(map(str, counts))
        raise InputError(f"K = {float(unknown[0]):g}: the network has learnt K = {learnt}")
    return match.int().argmax(1)


def levels(name: str, value, like: Tensor, T: int) -> Tensor:
    """Levels (B,) from `each`; InputError for others than 0 … T, but on a GPU: no wait for it."""
    t = each(name, value, like)
    if t.device.type == "cpu":
        whole = t == t.round() if t.is_floating_point() else True
        if len(others := t[~((t >= 0) & (t <= T) & whole)]):
            check_number(name, others[0].item(), 0, T, whole=True)
    return t


def as_tuple(values):
    """A list, tuple, array or tensor of numbers as a tuple; anything else as it is."""
    values = values.tolist() if hasattr(values, "tolist") else values
    return tuple(values) if isinstance(values, list) else values


def check_counts(counts) -> tuple[int, ...]:
    """Step counts K in order, each once; or InputError."""
    counts = as_tuple(counts)
    if not isinstance(counts, tuple | range | set):
        raise InputError(f"counts = {counts!r}: name them in a list, as in (1, 2, 4, 8)")
    counts = tuple(sorted({check_number("K", K, 1, 1_000_000, whole=True) for K in counts}))
    if not counts:
        raise InputError("counts = (): name the step counts to learn, as in (1, 2, 4, 8)")
    return counts


def check_grids(grids, T: int) -> list[list[int]]:
    """Grids from 0 to T in the order of their K; or InputError."""
    given = as_tuple(grids)
    if not isinstance(given, tuple) or not all(isinstance(as_tuple(g), tuple) for g in given):
        raise InputError(f"grids = {grids!r:.40}: give a list of grids, each a list of levels")
    grids = sorted(
        ([check_number("level", t, 0, T, whole=True) for t in g] for g in given), key=len
    )
    sizes = [len(grid) - 1 for grid in grids]
    if not grids or min(sizes) < 1 or len(set(sizes)) < len(sizes):
        raise InputError(f"grids of {sizes} steps: name one grid of K ≥ 1 steps for each K")
    for grid in grids:
        if not all(a < b for a, b in pairwise(grid)) or (grid[0], grid[-1]) != (0, T):
            raise InputError(f"grid = {grid}: levels must rise from 0 to T = {T}")
    return grids


def check_range(name: str, ends) -> tuple[float, float]:
    """Two numbers, the lower first; or InputError."""
    if not hasattr(ends, "__iter__"):
        raise InputError(f"{name} = {ends!r}: give the lowest and the highest value, as in (1, 8)")
    ends = tuple(float(check_number(name, end)) for end in ends)
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise InputError(f"{name} = {ends}: give the lowest and the highest value, as in (1, 8)")
    return ends


def check_labels(labels, classes: int):
    """Integer labels, a tensor or array, within 0 … classes − 1; or InputError naming a bad one."""
    bad = labels[(labels < 0) | (labels >= classes)]
    if len(bad):
        raise InputError(f"label {int(bad[0])} is out of range; labels are 0 … {classes - 1}")
    return labels
