"""Patches of the two photographs, a pagoda and a flower, that ship with scikit-learn.

They are china.jpg by Daniel Buechele and flower.jpg by vultilion, both under CC BY 2.0.
"""

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
CHUNK = 1000  # patches in double precision at a time
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@cache
def photographs() -> np.ndarray:
    """Both photographs, (2, 427, 640, 3), uint8. Read-only, as they are kept in memory."""
    from sklearn.datasets import load_sample_images

    images = np.stack(load_sample_images().images)
    images.setflags(write=False)
    return images


def patches(n: int, size: int = 8, color: bool = False, seed: int = 0, part: str = "all") -> Tensor:
    """`n` different patches at random places of both photographs; they may overlap.

    `part` is "train", the left four fifths of each photograph, "validation", the rest, or "all".
    Returns (n, 1, size, size), or (n, 3, size, size) with `color`, float32 in [−1, 1]; the same for
    the same arguments. Raises InputError for a size beyond the rows or columns of that part (427
    rows in all), or for more patches than there are.
    """
    images = photographs()[:, :, PARTS[one_of("part", part, tuple(PARTS))]]
    size = check_number("size", size, 1, min(images.shape[1:3]), whole=True)
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))
    places = windows.shape[:3]
    n = check_number("n", n, 1, int(np.prod(places)), whole=True)
    seed = check_number("seed", seed, 0, whole=True)
    chosen = np.random.default_rng(seed).choice(np.prod(places), n, replace=False)
    pixels = windows[np.unravel_index(chosen, places)]  # (n, 3, size, size), bytes
    parts = np.array_split(pixels, -(-n // CHUNK))
    return torch.cat([_scaled(part, color) for part in parts])


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
