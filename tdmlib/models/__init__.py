"""Small networks (z, t, cond) → prediction, a VAE, and the files that carry them."""

from tdmlib.models.residual_mlp import ResidualMLP
from tdmlib.models.vae import VAE
from tdmlib.models.weights import load_denoiser, load_vae, save_denoiser, save_vae

__all__ = ["VAE", "ResidualMLP", "load_denoiser", "load_vae", "save_denoiser", "save_vae"]
