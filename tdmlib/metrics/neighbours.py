"""Does a generator copy its training images? Nearest neighbours tell."""

import numpy as np
import torch


def nearest(samples, reference) -> np.ndarray:
    """Euclidean distance of each sample to its nearest reference, shape (n,)."""
    x, y = (torch.as_tensor(a).flatten(1).double() for a in (samples, reference))
    return torch.cat([torch.cdist(part, y).min(dim=1).values for part in x.split(2048)]).numpy()


def closer_to_training(samples, train, test, seed: int = 0) -> float:
    """Share of samples nearer to training than to test images; copies push it to 1.

    `train` is thinned at random to the size of `test`, so that one half means: not memorised.
    """
    rows = np.random.default_rng(seed).permutation(len(train))[: len(test)]
    return float(np.mean(nearest(samples, train[rows]) < nearest(samples, test)))
