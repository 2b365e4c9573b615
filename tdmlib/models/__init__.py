"""Small networks (z, t, cond) → prediction, a VAE, and the files that carry them."""

from tdmlib.models.experts import CountExperts, StepExperts
from tdmlib.models.residual_mlp import ResidualMLP
from tdmlib.models.vae import (
    VAE,
    kl_divergence,
    ms_ssim,
    posterior_sample,
    psnr,
    scales_and_kernel,
)
from tdmlib.models.weights import load_denoiser, load_vae, save_denoiser, save_vae

__all__ = [
    "VAE",
    "CountExperts",
    "ResidualMLP",
    "StepExperts",
    "kl_divergence",
    "load_denoiser",
    "load_vae",
    "ms_ssim",
    "posterior_sample",
    "psnr",
    "save_denoiser",
    "save_vae",
    "scales_and_kernel",
]
