"""Merge plans, and where the steps of a student begin and end."""

import matplotlib.pyplot as plt
import numpy as np

from tdmlib.linear.merging import MergePlan
from tdmlib.plots.style import COLORS, LABELS, WIDTH


def _heights(plan: MergePlan) -> list[tuple[tuple[int, int], int]]:
    """Each merge's span, and how many merges stand in line below it, itself included."""
    below, merges = [], []
    for i, j, k in plan.nodes():
        height = 1 + max(below[-k:]) if k else 0
        del below[len(below) - k :]
        below.append(height)
        merges += [((i, j), height)] if k else []
    return merges


def merge_arcs(plans: dict[str, MergePlan | tuple[MergePlan, ...]]):
    """Merge plans as arcs over the levels t, noise at the right; darker after a longer chain.

    A panel each; the plans of a student of several steps, the clean end first, share theirs.
    """
    fig, axes = plt.subplots(len(plans), 1, figsize=(WIDTH, 1.25 * len(plans)), sharex=True)
    for ax, (name, plan) in zip(np.atleast_1d(axes), plans.items(), strict=True):
        parts = plan if isinstance(plan, tuple) else (plan,)
        low, high = parts[0].span[0], parts[-1].span[1]
        heights = [merge for part in parts for merge in _heights(part)]
        tallest = max((height for _, height in heights), default=1)
        for (i, j), height in heights:
            shade = 0.25 + 0.75 * height / tallest
            angle = np.linspace(0, np.pi, 60)
            ax.plot((i + j) / 2 + (j - i) / 2 * np.cos(angle), (j - i) * np.sin(angle),
                    color=COLORS.get(name, COLORS["data"]), alpha=shade, lw=1.2)  # fmt: skip
        ax.plot(range(low, high + 1), [0] * (high - low + 1), "|", color="0.5", ms=5)
        ax.set(xlim=(low - 0.5, high + 0.5), ylim=(-0.04 * high, 1.12 * high), yticks=[])
        ax.spines["left"].set_visible(False)
        ax.set_title(LABELS.get(name, name), loc="left", color=COLORS.get(name, "k"), pad=2)
    np.atleast_1d(axes)[-1].set_xlabel("level t   (0 clean, T noise)")
    return fig


def cuts_over_steps(cuts: dict[str, dict[int, tuple[int, ...]]], T: int):
    """Where a student of K steps stops between steps: a panel a label, a row a K, a dot a cut."""
    fig, axes = plt.subplots(len(cuts), 1, figsize=(WIDTH, 1.3 * len(cuts) + 0.4), sharex=True)
    for ax, (label, by_steps) in zip(np.atleast_1d(axes), cuts.items(), strict=True):
        for K, levels in by_steps.items():
            ax.plot([0, T], [K, K], color="0.85", lw=0.8, zorder=0)
            ax.plot(levels, [K] * len(levels), "o", ms=4, color=COLORS["vanilla"])
        ax.set(ylabel="$K$", yticks=list(by_steps)[::2], xlim=(-0.5, T + 0.5))
        ax.set_title(label, loc="left", pad=3)
    np.atleast_1d(axes)[-1].set_xlabel("level t   (0 clean, T noise)")
    return fig
