"""Patches of the two photographs, a pagoda and a flower, that ship with scikit-learn.

They are china.jpg by Daniel Buechele and flower.jpg by vultilion, both under CC BY 2.0.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from tdmlib.errors import check_number

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@cache
def photographs() -> np.ndarray:
    """Both photographs, (2, 427, 640, 3), uint8. Read-only, as they are kept in memory."""
    from sklearn.datasets import load_sample_images

    images = np.stack(load_sample_images().images)
    images.setflags(write=False)
    return images


def patches(n: int, size: int = 8, color: bool = False, seed: int = 0) -> Tensor:
    """`n` different patches at random places of both photographs; they may overlap.

    Returns (n, 1, size, size), or (n, 3, size, size) with `color`, float32 in [−1, 1]; the same for
    the same arguments. Raises InputError for a size beyond the photographs' 427 rows, or for more
    patches than there are.
    """
    images = photographs()
    size = check_number("size", size, 1, images.shape[1], whole=True)
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))
    places = windows.shape[:3]
    n = check_number("n", n, 1, int(np.prod(places)), whole=True)
    seed = check_number("seed", seed, 0, whole=True)
    chosen = np.random.default_rng(seed).choice(np.prod(places), n, replace=False)
    pixels = windows[np.unravel_index(chosen, places)] / 127.5 - 1  # (n, 3, size, size)
    if not color:
        pixels = np.einsum("nchw,c->nhw", pixels, LUMA)[:, None]
    return torch.from_numpy(pixels).float()
