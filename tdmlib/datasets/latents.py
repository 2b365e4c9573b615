"""Images as latents of a VAE, in rows, as `spectrum` and `tdm plan` take them."""

from collections.abc import Iterable

import torch
from torch import Tensor

from tdmlib.errors import InputError, check_number
from tdmlib.models import posterior_sample


@torch.no_grad()
def encode(vae, batches: Tensor | Iterable[Tensor], seed: int | None = None) -> Tensor:
    """Latents (n, d) of images (n, c, h, w), given as one tensor or in batches.

    They are posterior means, or with a `seed` posterior samples. The VAE stays in the mode that it
    is in. Raises InputError where there are no images, or of another shape than the VAE's, or
    latents that are not finite.
    """
    if isinstance(batches, Tensor):
        batches = batches.split(256)
    generator = None
    if seed is not None:
        generator = torch.Generator().manual_seed(
            check_number("seed", seed, 0, 2**63 - 1, whole=True)
        )
    device = next(vae.parameters()).device
    found = []
    for images in batches:
        mean, log_variance = (part.cpu().flatten(1) for part in vae.encode(images.to(device)))
        if generator is not None:
            noise = torch.randn(mean.shape, generator=generator)
            mean = posterior_sample(mean, log_variance, noise)
        found.append(mean)
    if not sum(map(len, found)):
        raise InputError("there are no images to encode")
    rows = torch.cat(found)
    if wrong := int((~torch.isfinite(rows)).any(dim=1).sum()):
        raise InputError(
            f"{wrong} of {len(rows)} images have latents that are NaN or infinite; look for such "
            "numbers in the images"
        )
    return rows


def unit_scale(latents: Tensor) -> float:
    """The number that scales latents (n, d) to a mean variance of 1 over the coordinates.

    So latent diffusion does (Rombach et al., 2022), but for the deviations, there from one mean of
    all numbers, here from each coordinate's own. Raises InputError where latents do not vary.
    """
    variance = float(latents.double().var(dim=0).mean())
    if not variance > 0:
        raise InputError(f"latents of shape {tuple(latents.shape)} do not vary; no scale is theirs")
    return variance**-0.5
