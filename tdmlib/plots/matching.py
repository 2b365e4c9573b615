"""Matching of linear students: training paths, the race with merging, and what fakes get wrong."""

import matplotlib.pyplot as plt
import numpy as np

from tdmlib.plots.style import COLORS, STYLES, WIDTH, end_labels

SHADES = plt.get_cmap("viridis")


def matching_paths(times, paths: dict[str, tuple], ylabel: str):
    """What is matched over training time: paths[label] = (flow, runs), runs (seeds, n).

    The flow is dashed and black, each run thin and of its path's colour; 1 is marked.
    """
    fig, ax = plt.subplots()
    ax.axhline(1, color=COLORS["teacher"], lw=1)
    for n, (flow, runs) in enumerate(paths.values()):
        color = SHADES(0.1 + 0.75 * n / max(len(paths) - 1, 1))
        ax.plot(times, np.transpose(runs), color=color, lw=1.2, alpha=0.8)
        ax.plot(times, flow, color=COLORS["data"], ls="--", lw=1)
    ax.set(xlabel="training time s", ylabel=ylabel, xlim=(times[0], times[-1]))
    fig.canvas.draw()
    end_labels(ax, {label: (times[-1], flow[-1]) for label, (flow, _) in paths.items()})
    return fig


def race(times, panels: dict[str, dict[str, dict]], styles: dict[str, str]):
    """Errors over training time, a row a key of `panels`, a column a reference.

    panels[row][column] maps a name to its errors, shape (len(times),); `styles` are line styles.
    """
    rows, columns = list(panels), list(next(iter(panels.values())))
    fig, axes = plt.subplots(
        len(rows), len(columns), figsize=(WIDTH, 1.75 * len(rows) + 0.5), sharex=True, sharey=True,
        squeeze=False,
    )  # fmt: skip
    for row, line in zip(rows, axes, strict=True):
        for column, ax in zip(columns, line, strict=True):
            for name, values in panels[row][column].items():
                color = COLORS.get(name, COLORS["data"])
                ax.loglog(times, values, styles[name], color=color, lw=1.5, label=name)
            ax.text(0.03, 0.05, row, transform=ax.transAxes)
            ax.set(ylim=(1e-4, 5), xlim=(times[0], times[-1]))
    for column, top, bottom in zip(columns, axes[0], axes[-1], strict=True):
        top.set_title(column, fontsize="medium")
        bottom.set_xlabel("training time s")
    fig.supylabel("relative $W_2$ error (log scale)", fontsize="medium")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=len(labels), handlelength=1.6,
               columnspacing=1.0)  # fmt: skip
    return fig


def level_curves(x, curves: dict, xlabel: str, ylabel: str, marks=(), dots=(), log: bool = False):
    """Curves over a level or a share of noise; `marks` name vertical lines, `dots` are points.

    `dots` maps the name of a curve to (x, y).
    """
    fig, ax = plt.subplots()
    styles = ["-", *list(STYLES.values())[1:]]
    shades = [COLORS["tdm"], COLORS["vanilla"], COLORS["progressive"], COLORS["data"]]
    for n, (name, values) in enumerate(curves.items()):
        color = COLORS.get(name, shades[n % 4])
        ax.plot(x, values, color=color, ls=styles[n % 4], label=name)
        if name in dots:
            ax.plot(*dict(dots)[name], "o", color=color, ms=4)
    for name, place in dict(marks).items():
        ax.axvline(place, color="0.6", lw=0.9, ls=":")
        ax.annotate(name, (place, 1.01), xycoords=("data", "axes fraction"), ha="center")
    ax.set(xlabel=xlabel, ylabel=ylabel + (" (log scale)" if log else ""), xlim=(x[0], x[-1]))
    if log:
        ax.set_yscale("log")
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def fixed_line(paths, line, point, labels: tuple[str, str]):
    """Paths of gradient flow in a plane, each (n, 2), the `line` they end on, and the right point.

    Starts are hollow dots, ends filled.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    ax.plot(*np.transpose(line), color=COLORS["teacher"], lw=4, alpha=0.35, zorder=0)
    for path in paths:
        ax.plot(*np.transpose(path), color=COLORS["vanilla"], lw=1.3)
        ax.plot(*path[0], "o", mfc="white", mec=COLORS["vanilla"], ms=5)
        ax.plot(*path[-1], "o", color=COLORS["vanilla"], ms=5)
    ax.plot(*point, "*", color=COLORS["tdm"], ms=13)
    ax.annotate("the data", point, color=COLORS["tdm"], xytext=(8, 6), textcoords="offset points")
    ax.set(xlabel=labels[0], ylabel=labels[1], xlim=(0, None), ylim=(0, None))
    return fig
