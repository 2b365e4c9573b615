"""Beyond the linear regime: measured shares over a size, and clouds of samples."""

import matplotlib.pyplot as plt
import numpy as np

from tdmlib.plots.style import COLORS, LABELS, STYLES, WIDTH, end_labels


def spread_curves(x, curves: dict, xlabel: str, ylabel: str, xscale: str = "linear"):
    """A line through the mean of the seeds, a dot a seed; curves[name] has shape (len(x), seeds).

    Numbers along x that are no numbers, such as "∞", stand at equal distances beside the others.
    """
    fig, ax = plt.subplots()
    places = x if all(isinstance(value, int | float) for value in x) else np.arange(len(x))
    for name, values in curves.items():
        color, values = COLORS.get(name, COLORS["data"]), np.asarray(values, dtype=float)
        known = np.isfinite(values).all(axis=1)
        at = np.asarray(places)[known]
        ax.plot(at, values[known].mean(axis=1), color=color, ls=STYLES.get(name, "-"), lw=1.4)
        for seed in values[known].T:
            ax.plot(at, seed, "o", color=color, ms=3.5, alpha=0.6)
    ax.set(yscale="log", xlabel=xlabel, ylabel=f"{ylabel} (log scale)", xscale=xscale)
    ax.set_xticks(places, [str(value) for value in x])
    ax.minorticks_off() if xscale == "log" else None
    fig.canvas.draw()
    end_labels(ax, {name: (places[-1], np.mean(v[-1])) for name, v in curves.items()})
    return fig


def clouds(panels: dict, limit: float):
    """Points in the plane, two panels a row: panels[name] = samples (n, 2)."""
    rows = -(-len(panels) // 2)
    fig, axes = plt.subplots(
        rows, 2, figsize=(WIDTH, 2.4 * rows), sharex=True, sharey=True, squeeze=False
    )
    for ax, (name, points) in zip(axes.flat, panels.items(), strict=False):
        color = COLORS.get(name, COLORS["data"])
        ax.plot(*np.asarray(points).T, ".", color=color, ms=1.6, alpha=0.5, rasterized=True)
        ax.set_title(LABELS.get(name, name), loc="left", pad=3, fontsize=10, color=color)
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    return fig
