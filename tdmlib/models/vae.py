"""A convolutional VAE: images to a small grid of Gaussian latents and back, and what trains it.

Trained with MS-SSIM instead of a squared error it is known as the MSSIM-VAE. Snell et al.,
arXiv 1511.06409.
"""

import math

import torch
from torch import Tensor, nn

from tdmlib.errors import InputError, check_number

BETAS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of Wang, Simoncelli and Bovik (2003)
KERNEL, SIGMA = 11, 1.5  # theirs, for photographs of full size
NORM_GROUPS = 8
LOG_VARIANCES = (-12.0, 4.0)  # beyond these exp says nothing new and can overflow


class _Block(nn.Module):
    """h + two convolutions of SiLU(GroupNorm(h)); starts as the identity."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(NORM_GROUPS, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(NORM_GROUPS, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip
        nn.init.zeros_(self.body[-1].weight)
        nn.init.zeros_(self.body[-1].bias)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.body(h)


class VAE(nn.Module):
    """Encoder to q(z | x) = N(mean, variance), a coordinate each for itself, and decoder.

    Parameters
    ----------
    shape : of an image, (channels, height, width), height and width multiples of 2^stages.
    latent_channels : numbers at each place of the latent grid.
    width : channels of the first stage, a multiple of 8; each further stage has twice as many.
    stages : how often height and width are halved.

    Raises InputError for numbers outside these ranges.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent_channels: int = 4,
        width: int = 32,
        stages: int = 2,
    ):
        super().__init__()
        if len(shape) != 3:
            raise InputError(f"shape = {tuple(shape)}: give channels, height and width")
        shape = tuple(check_number("shape", n, 1, whole=True) for n in shape)
        latent_channels = check_number("latent_channels", latent_channels, 1, whole=True)
        stages = check_number("stages", stages, 1, 8, whole=True)
        width = check_number("width", width, NORM_GROUPS, whole=True)
        if width % NORM_GROUPS:
            raise InputError(f"width = {width}: must be a multiple of {NORM_GROUPS}")
        if uneven := [n for n in shape[1:] if n % 2**stages]:
            raise InputError(
                f"images of {shape[1]}×{shape[2]} pixels: {uneven[0]} is no multiple of "
                f"{2**stages}, which {stages} stages need; crop or resize them"
            )
        self.config = dict(
            shape=list(shape), latent_channels=latent_channels, width=width, stages=stages
        )
        self.shape = shape
        self.latent_shape = (latent_channels, *(n // 2**stages for n in shape[1:]))
        widths = [width * 2**k for k in range(stages)]
        down = zip([shape[0], *widths], widths, strict=False)
        up = zip(widths[::-1], [*widths[-2::-1], shape[0]], strict=True)
        self.encoder = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(i, o, 4, 2, 1), _Block(o)) for i, o in down),
            nn.Conv2d(widths[-1], 2 * latent_channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, widths[-1], 3, padding=1),
            *(nn.Sequential(_Block(i), nn.ConvTranspose2d(i, o, 4, 2, 1)) for i, o in up),
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z | x), both (B, *latent_shape); x (B, *shape) in [−1, 1].

        Raises InputError for another shape. NaN is passed on, since to look for it is to wait for
        the device each time: a training stops at its loss, and `tdmlib.datasets.latents.encode`
        looks once, in the end.
        """
        _check_shape("images", x, self.shape)
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCES)

    def decode(self, z: Tensor) -> Tensor:
        """Images (B, *shape) in [−1, 1] of latents (B, *latent_shape)."""
        _check_shape("latents", z, self.latent_shape)
        return self.decoder(z).tanh()


def _check_shape(name: str, batch: Tensor, shape: tuple[int, ...]) -> None:
    if batch.shape[1:] != shape:
        raise InputError(f"{name} have shape {tuple(batch.shape[1:])}, this VAE takes {shape}")


def _check_pair(x: Tensor, y: Tensor) -> None:
    if x.shape != y.shape or x.ndim != 4:  # broadcasting would hide it
        shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
        raise InputError(f"images have shapes {shapes}; give both the same (B, c, h, w)")


def posterior_sample(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """mean + standard deviation · noise, all of one shape."""
    return mean + (log_variance / 2).exp() * noise


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) ‖ N(0, 1)) of each coordinate, in nats; the shape of `mean`."""
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2


def scales_and_kernel(size: int) -> tuple[int, int]:
    """Scales and window of MS-SSIM that fit images of `size` pixels.

    The window is the odd number nearest to √size, up to the published 11. Each further
    scale halves the image; there are as many, up to the published five, as leave it a
    window and its radius wide. So 8 pixels have two scales and a window of 3, 64 three and
    7, 256 five and 11. Raises InputError for a size below 8.
    """
    size = check_number("size", size, 8, whole=True)
    kernel = min(KERNEL, 2 * math.ceil(math.sqrt(size) / 2) - 1)
    narrowest = kernel + kernel // 2
    return min(len(BETAS), 1 + int(math.log2(size / narrowest))), kernel


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Multi-scale structural similarity of images (B, c, h, w) in [−1, 1]: (B,), at most 1.

    Scales and window follow from the smaller side by `scales_and_kernel`, the window's
    Gaussian is the published one in proportion, exponents are the published ones of these
    scales over their sum. Each scale's mean similarity may be negative and becomes (1 +
    similarity)/2: negative numbers have no such powers, and what is cut off at 0 has no
    gradient. Raises InputError for shapes that differ, or a side below 8 pixels.
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    _check_pair(x, y)
    scales, kernel = scales_and_kernel(min(x.shape[-2:]))
    betas = tuple(beta / sum(BETAS[:scales]) for beta in BETAS[:scales])
    return multiscale_structural_similarity_index_measure(
        x + 1, y + 1,  # intensities are not negative
        sigma=SIGMA * kernel / KERNEL,  # alone sets the size of a Gaussian window
        kernel_size=kernel, reduction="none", data_range=2.0, betas=betas,
        normalize="simple",
    )  # fmt: skip


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of images (B, c, h, w) in [−1, 1], shape (B,).

    That of equal images is infinite, that of NaN is NaN. Raises InputError for shapes that differ.
    """
    _check_pair(x, y)
    return 10 * torch.log10(4 / (x - y).square().flatten(1).mean(dim=1))
