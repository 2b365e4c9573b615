"""Does a generator copy its training images? Nearest neighbours tell."""

import numpy as np
import torch

from tdmlib.errors import InputError, check_number
from tdmlib.metrics.inputs import matrices


def nearest(samples, reference) -> np.ndarray:
    """Euclidean distance of each sample to its nearest reference, shape (n,).

    Both are finite and real, (n, …) and (m, …) of one size when flattened; or InputError.
    """
    x, y = map(torch.tensor, matrices(flat=True, samples=samples, reference=reference))
    return torch.cat([torch.cdist(part, y).min(dim=1).values for part in x.split(2048)]).numpy()


def closer_to_training(samples, train, test, seed: int = 0) -> float:
    """Share of samples nearer to training than to test images; copies push it to 1.

    `train` is thinned at random to the size of `test`, so that one half means: not memorised.
    Raises InputError as `nearest`, for fewer training than test images, or a seed that is no whole
    number ≥ 0.
    """
    samples, train, test = matrices(flat=True, samples=samples, train=train, test=test)
    if len(train) < len(test):
        raise InputError(f"{len(train)} training images are fewer than {len(test)} test images")
    rng = np.random.default_rng(check_number("seed", seed, 0, whole=True))
    rows = rng.permutation(len(train))[: len(test)]
    return float(np.mean(nearest(samples, train[rows]) < nearest(samples, test)))
