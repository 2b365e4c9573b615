"""The 1,797 real handwritten digits, 8×8 pixels, that ship with scikit-learn."""

from functools import cache
from typing import NamedTuple

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from tdmlib.datasets.loading import repeatable_loader
from tdmlib.errors import check_number

SHAPE, CLASSES = (1, 8, 8), 10


class Split(NamedTuple):
    """Images (n, 1, 8, 8) in [−1, 1], float32, and labels (n,), int64."""

    images: Tensor
    labels: Tensor


@cache
def digits() -> tuple[Split, Split]:
    """(train, test): 1,400 and 397 images, stratified by class, the same split for ever."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        pixels, labels, train_size=1400, test_size=397, random_state=0, stratify=labels
    )
    images = [torch.from_numpy(p / 8 - 1).float().reshape(-1, *SHAPE) for p in parts[:2]]
    targets = [torch.from_numpy(p).long() for p in parts[2:]]
    return Split(images[0], targets[0]), Split(images[1], targets[1])


class Digits(LightningDataModule):
    """The digits for training; the order of each epoch follows from `seed` and its number alone."""

    def __init__(self, batch_size: int = 250, seed: int = 0):
        super().__init__()
        self.batch_size = check_number("batch_size", batch_size, 1, whole=True)
        self.seed = check_number("seed", seed, 0, whole=True)

    def train_dataloader(self) -> DataLoader:
        data = TensorDataset(*digits()[0])
        return repeatable_loader(data, self.batch_size, seed=self.seed)

    def val_dataloader(self) -> DataLoader:
        return repeatable_loader(TensorDataset(*digits()[1]), self.batch_size)
