"""Beyond the linear regime: measured numbers over what was varied, with every seed shown."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from tdmlib.plots.style import COLORS, STYLES, WIDTH, end_labels


def spread_curves(x, curves: dict, xlabel: str, ylabel: str, styles: dict = STYLES):
    """A line through the mean of the seeds, a dot a seed; curves[name] has shape (len(x), seeds).

    `x` are numbers, or labels to stand at equal distances. Names without a colour of their own are
    told apart by `styles`; their dots are hollow where the line is not solid.
    """
    fig, ax = plt.subplots()
    places = x if not isinstance(x[0], str) else np.arange(len(x))
    for name, values in curves.items():
        color, style = COLORS.get(name, COLORS["data"]), styles.get(name, "-")
        face = color if name in COLORS or style == "-" else "none"
        ax.plot(places, np.mean(values, axis=1), color=color, ls=style, lw=1.4)
        for seed in np.transpose(values):
            ax.plot(places, seed, "o", color=color, mfc=face, ms=3.5, alpha=0.6)
    ax.set(yscale="log", xlabel=xlabel, ylabel=f"{ylabel} (log scale)")
    ax.set_xticks(places, [str(value) for value in x])
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(mpl.ticker.LogFormatter(minor_thresholds=(1.5, 0.5)))
    fig.canvas.draw()
    end_labels(ax, {name: (places[-1], np.mean(v[-1])) for name, v in curves.items()})
    return fig


def clouds(panels: dict, reach: float = 2.2):
    """Samples in the plane, (n, 2) each, two panels a row, on a square of half width `reach`."""
    rows = -(-len(panels) // 2)
    fig, axes = plt.subplots(rows, 2, figsize=(WIDTH, 0.53 * WIDTH * rows), squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, points) in zip(axes.flat, panels.items(), strict=False):
        ax.set_axis_on()
        ax.plot(*np.transpose(points), ".", ms=1.2, color=COLORS.get(name, COLORS["data"]),
                alpha=0.5, rasterized=True)  # fmt: skip
        ax.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
        ax.spines[["top", "right"]].set_visible(True)
        ax.set_title(name, loc="left", pad=3, fontsize=10)
    return fig
