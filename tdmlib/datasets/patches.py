"""Patches of the two photographs, a pagoda and a flower, that ship with scikit-learn.

They are china.jpg by Daniel Buechele and flower.jpg by vultilion, both under CC BY 2.0.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from tdmlib.datasets.loading import repeatable_loader
from tdmlib.errors import check_number, one_of

# Columns of both photographs: the right fifth is for validation, so that no pixel is in both.
PARTS = {"all": slice(None), "train": slice(0, 512), "validation": slice(512, None)}
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@cache
def photographs() -> np.ndarray:
    """Both photographs, (2, 427, 640, 3), uint8. Read-only, as they are kept in memory."""
    from sklearn.datasets import load_sample_images

    images = np.stack(load_sample_images().images)
    images.setflags(write=False)
    return images


def patch_count(size: int, part: str = "all") -> int:
    """How many different patches of `size` × `size` pixels there are in a part of the photographs.

    `part` as in `patches`. Raises InputError for a size beyond its rows or columns (427 rows in
    all).
    """
    return int(np.prod(_windows(size, part).shape[:3]))


def _windows(size: int, part: str) -> np.ndarray:
    images = photographs()[:, :, PARTS[one_of("part", part, tuple(PARTS))]]
    size = check_number("size", size, 1, min(images.shape[1:3]), whole=True)
    return np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))


def patches(n: int, size: int = 8, color: bool = False, seed: int = 0, part: str = "all") -> Tensor:
    """`n` different patches at random places of both photographs; they may overlap.

    `part` is "train", the left four fifths of each photograph, "validation", the rest, or "all".
    Returns (n, 1, size, size), or (n, 3, size, size) with `color`, float32 in [−1, 1]; the same for
    the same arguments. Raises InputError as `patch_count`, or for more patches than that.
    """
    return torch.cat(list(patch_batches(n, size, color, seed, part)))


def patch_batches(
    n: int, size: int = 8, color: bool = False, seed: int = 0, part: str = "all",
    batch_size: int = 256,
) -> Iterator[Tensor]:  # fmt: skip
    """What `patches` returns, in batches, for more than memory holds."""
    windows = _windows(size, part)
    places = windows.shape[:3]
    n = check_number("n", n, 1, patch_count(size, part), whole=True)
    seed = check_number("seed", seed, 0, whole=True)
    batch_size = check_number("batch_size", batch_size, 1, whole=True)
    chosen = np.random.default_rng(seed).choice(np.prod(places), n, replace=False)
    for k in range(0, n, batch_size):
        few = np.unravel_index(chosen[k : k + batch_size], places)
        yield _scaled(windows[few], color)  # (batch_size, 3, size, size), bytes


def _scaled(pixels: np.ndarray, color: bool) -> Tensor:
    pixels = pixels / 127.5 - 1
    if not color:
        pixels = np.einsum("nchw,c->nhw", pixels, LUMA)[:, None]
    return torch.from_numpy(pixels).float()


class Patches(LightningDataModule):
    """Patches of the photographs; those for validation share no pixel with those for training.

    `count` patches are drawn for training and a tenth as many for validation, once, by `seed`,
    from which the order of each epoch follows too. Raises InputError as `patches`.
    """

    def __init__(
        self, size: int = 32, color: bool = True, count: int = 6000, batch_size: int = 64,
        seed: int = 0,
    ):  # fmt: skip
        super().__init__()
        self.size, self.color = size, color
        self.count = check_number("count", count, 10, whole=True)
        self.batch_size = check_number("batch_size", batch_size, 1, whole=True)
        self.seed = check_number("seed", seed, 0, whole=True)

    def _images(self, part: str, count: int) -> TensorDataset:
        return TensorDataset(patches(count, self.size, self.color, self.seed, part))

    def train_dataloader(self) -> DataLoader:
        data = self._images("train", self.count)
        return repeatable_loader(data, self.batch_size, seed=self.seed)

    def val_dataloader(self) -> DataLoader:
        return repeatable_loader(self._images("validation", self.count // 10), self.batch_size)
