"""Small networks (z, t, cond) → prediction, and the files that carry them."""

from tdmlib.models.residual_mlp import ResidualMLP
from tdmlib.models.weights import load_denoiser, save_denoiser

__all__ = ["ResidualMLP", "load_denoiser", "save_denoiser"]
