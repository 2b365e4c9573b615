"""`tdm encode`: images through a VAE into the .npy file that `tdm plan --spectrum` takes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tdmlib.datasets.digits import digits
from tdmlib.datasets.images import ImageFolder
from tdmlib.datasets.latents import encode, unit_scale
from tdmlib.datasets.patches import patch_batches, patch_count
from tdmlib.errors import InputError, check_number
from tdmlib.files import check_target, write_whole
from tdmlib.models import VAE, load_vae
from tdmlib.resources import find

MOST = 2**28  # numbers, as many as a spectrum takes
COUNT = 20_000  # images, unless something else is asked for or there are fewer


def images(source: str, vae: VAE, count: int, crop: int | None) -> Iterator[Tensor]:
    """Batches of at most `count` images, as the VAE takes them: a shipped set's, or a folder's."""
    channels, height, width = vae.shape
    if crop is not None and source in ("digits", "patches"):
        raise InputError(f"crop = {crop}: {source} are taken as they are; leave out --crop")
    if source == "digits":
        yield from torch.cat([split.images for split in digits()])[:count].split(256)
    elif source == "patches":
        yield from patch_batches(count, height, channels == 3)
    else:
        if height != width or channels not in (1, 3):
            raise InputError(f"this VAE takes images of shape {vae.shape}; a folder gives squares")
        folder = ImageFolder(source, height, crop, color=channels == 3, least=2)
        print(folder.report(), file=sys.stderr)
        yield from folder.batches(most=count)


def run(
    weights: str, source: str, out: Path, count: int | None, crop: int | None, seed: int | None,
    unit: bool,
) -> None:  # fmt: skip
    check_target(out, ".npy")
    vae = load_vae(find("data", weights))
    size = int(np.prod(vae.latent_shape))
    most = MOST // size
    if source == "patches":
        most = min(most, patch_count(vae.shape[1]))
    count = check_number("count", min(COUNT, most) if count is None else count, 2, most, whole=True)
    latents = encode(vae, images(source, vae, count, crop), seed)
    said = ""
    if unit:
        scale = unit_scale(latents)
        latents = latents * scale
        said = f", scaled by {scale:.6g} to variance 1"
    write_whole(out, lambda file: np.save(file, latents.numpy()))
    what = "posterior means" if seed is None else f"posterior samples, seed {seed}"
    print(f"wrote {len(latents):,} latents of {size} numbers, {what}{said}, to {out}")
