"""Every figure of the book, in one look; a file for each thing that is shown."""

from tdmlib.plots.matching import fixed_line, level_curves, matching_paths, race
from tdmlib.plots.mixtures import clouds, spread_curves
from tdmlib.plots.operators import ellipse, training_decay
from tdmlib.plots.plans import cuts_over_steps, merge_arcs
from tdmlib.plots.samples import distance_over_steps, sample_grid, training_curves
from tdmlib.plots.spectra import denoising, jump_losses, losses, pareto_front, spectra_in_phases
from tdmlib.plots.strategies import (
    curves_over_lambda,
    loss_over_steps,
    range_over_lambda,
    strategy_map,
)
from tdmlib.plots.style import COLORS, LABELS, STYLES, WIDTH, use_style

__all__ = [
    "COLORS",
    "LABELS",
    "STYLES",
    "WIDTH",
    "clouds",
    "curves_over_lambda",
    "cuts_over_steps",
    "denoising",
    "distance_over_steps",
    "ellipse",
    "fixed_line",
    "jump_losses",
    "level_curves",
    "loss_over_steps",
    "losses",
    "matching_paths",
    "merge_arcs",
    "pareto_front",
    "race",
    "range_over_lambda",
    "sample_grid",
    "spectra_in_phases",
    "spread_curves",
    "strategy_map",
    "training_curves",
    "training_decay",
    "use_style",
]
