"""What strategies lose: over the variance, over training time, over a student's steps."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from tdmlib.linear.merging import STRATEGIES
from tdmlib.plots.style import COLORS, LABELS, STYLES, WIDTH, end_labels, over_lambda


def curves_over_lambda(lams, curves: dict, ylabel: str, boundaries=(), log: bool = True):
    """One curve a strategy over the variance λ; `boundaries` are marked by thin vertical lines."""
    fig, ax = plt.subplots()
    for name, values in curves.items():
        ax.plot(lams, values, color=COLORS.get(name, COLORS["data"]), ls=STYLES.get(name))
    ax.set_ylabel(ylabel)
    if log:
        ax.set_yscale("log")
        ax.set_ylabel(f"{ylabel} (log scale)")
    over_lambda(ax, lams, boundaries)
    fig.canvas.draw()
    end_labels(ax, {name: (lams[-1], values[-1]) for name, values in curves.items()})
    return fig


def range_over_lambda(lams, low, high, curves: dict, boundaries=()):
    """The range of all plans' signed errors as a band around the teacher's line at zero.

    `low` and `high` are S_{min} − P and S_{max} − P; `curves` are strategies within the band. The
    axis is linear up to 1e-8 and logarithmic beyond.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    ax.fill_between(lams, low, high, color="0.85", lw=0)
    ax.axhline(0, color=COLORS["teacher"], lw=1.8)
    for name, values in curves.items():
        ax.plot(lams, values, color=COLORS.get(name), ls=STYLES.get(name))
    ax.set_ylabel("signed error S − P (symmetric log scale)")
    ax.set_yscale("symlog", linthresh=1e-8)
    over_lambda(ax, lams, boundaries)
    fig.canvas.draw()
    ends = {name: (lams[-1], values[-1]) for name, values in curves.items()}
    end_labels(ax, {"teacher": (lams[-1], 0.0), "all plans": (lams[-1], low[-1]), **ends})
    return fig


def strategy_map(lams, times, comparisons: dict, boundaries=()):
    """Which strategy loses least, over λ and s, a panel a comparison; lines: what plans can gain.

    `comparisons` maps a title to a `tdmlib.linear.Comparison` of shape (len(times), len(lams)).
    A thin line is a gain of 0.1%, a thick one of 1%.
    """
    from scipy.ndimage import distance_transform_edt  # as long to import as all the rest

    size = (WIDTH, 2.4 * len(comparisons) + 0.3)
    fig, axes = plt.subplots(len(comparisons), 1, figsize=size, sharex=True)
    for ax, (title, found) in zip(np.atleast_1d(axes), comparisons.items(), strict=True):
        colors = mpl.colors.ListedColormap([COLORS[name] for name in STRATEGIES])
        ax.pcolormesh(lams, times, found.best, cmap=colors, vmin=-0.5, vmax=3.5, rasterized=True)
        ax.contour(lams, times, found.gap, [0.001, 0.01], colors="k", linewidths=[0.6, 1.4])
        for k, name in enumerate(STRATEGIES):
            depth = distance_transform_edt(np.pad(found.best == k, 1))[1:-1, 1:-1]
            row, column = np.unravel_index(depth.argmax(), depth.shape)
            if depth.max() > 3:
                ax.annotate(LABELS[name], (lams[column], times[row]), ha="center", va="center",
                            bbox=dict(fc="white", ec="none", alpha=0.8, pad=1.5))  # fmt: skip
        ax.set(ylabel="training time $s$ (log scale)", xscale="log", yscale="log")
        ax.set_title(title, loc="left", pad=14 if boundaries else 4)
        for name, value in dict(boundaries).items():
            ax.axvline(value, color="w", lw=0.9, ls=":")
            ax.annotate(name, (value, 1.01), xycoords=("data", "axes fraction"), ha="center",
                        va="bottom")  # fmt: skip
    np.atleast_1d(axes)[-1].set_xlabel(r"data variance $\lambda$ (log scale)")
    return fig


def loss_over_steps(losses: dict, ylabel: str):
    """A student's loss over its number of steps K: losses[(label, color, style)] = {K: loss}."""
    fig, ax = plt.subplots()
    for (label, color, style), values in losses.items():
        ax.plot(list(values), list(values.values()), "o", ls=style, ms=4, color=COLORS[color])
        ax.annotate(label, list(values.items())[-1], xytext=(6, 0), va="center",
                    textcoords="offset points", color=COLORS[color])  # fmt: skip
    ax.set(xlabel="steps $K$ of the student", ylabel=f"{ylabel} (log scale)", yscale="log")
    return fig
