"""Few-step diffusion: merging operators in the linear regime, matching distributions beyond it."""

__version__ = "0.1.0"
