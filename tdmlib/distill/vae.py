"""Training of a VAE: E[1 − MS-SSIM] + β KL, so of an MSSIM-VAE."""

import torch
from torch import Tensor

from tdmlib.distill.repeatable import NetworkTraining, OptimizerFactory, keyed_generator
from tdmlib.errors import check_number
from tdmlib.models import VAE, kl_divergence, ms_ssim, posterior_sample, psnr, save_vae


class VAETraining(NetworkTraining):
    """Reconstruct images from posterior samples, at a price for each nat of the latents.

    The data give batches of images (B, *shape), or tuples whose first entry is one.

    Parameters
    ----------
    vae : the network to train.
    optimizer : makes an optimizer from parameters.
    kl_weight : β, the price of a nat; the KL divergence is summed over an image's latents.
    ema, warmup, last_rate, seed : as in `RepeatableTraining`.

    Raises InputError for a number outside its range, or when run in more than one process.
    """

    save = staticmethod(save_vae)

    def __init__(
        self,
        vae: VAE,
        optimizer: OptimizerFactory,
        kl_weight: float = 1e-3,
        ema: float = 0.999,
        warmup: int = 100,
        last_rate: float = 0.02,
        seed: int = 0,
    ):
        super().__init__(vae, "vae", optimizer, seed, ema, warmup, last_rate)
        self.kl_weight = check_number("kl_weight", kl_weight, 0)

    def losses(self, vae: VAE, batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Loss, MS-SSIM, PSNR in dB and KL in nats, each (B,)."""
        x = batch[0] if isinstance(batch, (list, tuple)) else batch
        mean, log_variance = (part.float() for part in vae.encode(x))
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        y = vae.decode(posterior_sample(mean, log_variance, noise)).float()
        with torch.autocast(x.device.type, enabled=False):  # variances cancel in half precision
            similarity = ms_ssim(y, x.float())
            kl = kl_divergence(mean, log_variance).flatten(1).sum(dim=1)
        return {
            "loss": 1 - similarity + self.kl_weight * kl,
            "ms_ssim": similarity.detach(), "psnr": psnr(y.detach(), x), "kl": kl.detach(),
        }  # fmt: skip

    def training_step(self, batch, _):
        found = self.losses(self.network, batch, self.generator())
        loss = self.watch(found.pop("loss"), "the loss")
        self.update += 1
        self.log("loss", loss, prog_bar=True)
        self.log_dict({name: value.mean() for name, value in found.items()})
        return loss

    def validation_step(self, batch, index):
        generator = keyed_generator(self.device, self.seed, index, 1)  # a key that no update has
        found = self.losses(self.average.module, batch, generator)
        self.log_dict({f"val_{name}": value.mean() for name, value in found.items()})
