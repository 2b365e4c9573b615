"""Spectra of real data, and what plans lose on them."""

import matplotlib.pyplot as plt
import numpy as np

from tdmlib.plots.style import COLORS, LABELS, WIDTH


def spectra_in_phases(panels: dict[str, dict], boundaries: tuple[float, float]):
    """Spectra over their rank on shaded phases; panels[title] = {label: (λ, line style)}."""
    fig, axes = plt.subplots(len(panels), 1, figsize=(WIDTH, 2.7 * len(panels)), sharex=True)
    low, high = boundaries
    for ax, (title, spectra) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        for label, (lam, style) in spectra.items():
            lam = np.sort(lam[lam > 0])[::-1]
            ranks = np.arange(1, lam.size + 1)
            if lam.size > 500:  # more dots would hide each other
                ranks = np.unique(np.geomspace(1, lam.size, 300).astype(int))
            ax.loglog(ranks, lam[ranks - 1], style, color=COLORS["data"], ms=3, lw=1.2)
            ax.annotate(label, (lam.size, lam[-1]), xytext=(5, 0), va="center",
                        textcoords="offset points", annotation_clip=False,
                        bbox=dict(fc="white", ec="none", alpha=0.7, pad=0.5))  # fmt: skip
        bottom, top = ax.get_ylim()
        for start, end, name in (
            (bottom, low, "sequential_boot"), (low, high, None), (high, top, "vanilla"),
        ):  # fmt: skip
            ax.axhspan(start, end, color=COLORS.get(name, "0.6"), alpha=0.18, lw=0)
            if name:
                x, ha = (0.97, "right") if name == "vanilla" else (0.03, "left")
                ax.annotate(LABELS[name], (x, start), (0, 6), ("axes fraction", "data"),
                            "offset points", ha=ha, color=COLORS[name])  # fmt: skip
        for boundary in boundaries:
            ax.axhline(boundary, color="0.5", lw=0.8, ls=":")
        ax.set(ylabel=r"variance $\lambda$ (log scale)", ylim=(bottom, top))
        ax.set_title(title, loc="left", pad=3)
    np.atleast_1d(axes)[-1].set_xlabel("principal axis, by rank (log scale)")
    return fig


def pareto_front(errors, front, marked: dict[str, int], labels: tuple[str, str]):
    """Every plan as a dot, its two errors as coordinates; the front joined, some plans named.

    `errors` has shape (plans, 2); `front` and the values of `marked` are rows of it.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    ax.plot(*np.transpose(errors), ".", color="0.7", ms=4)
    front = np.asarray(front)[np.argsort(errors[front, 0])]
    ax.plot(*errors[front].T, "o-", color=COLORS["tdm"], ms=4, lw=1)
    for name, row in marked.items():
        color = COLORS.get(name, COLORS["data"])
        ax.plot(*errors[row], "o", color=color, ms=7, mfc="none", mew=1.8)
        ax.annotate(LABELS.get(name, name), errors[row], (9, -5 if name in LABELS else 6),
                    textcoords="offset points", color=color, va="center",
                    bbox=dict(fc="white", ec="none", alpha=0.8, pad=0.5))  # fmt: skip
    ax.set(xlabel=labels[0], ylabel=labels[1], ymargin=0.1)
    return fig


def losses(rows: dict[str, dict[str, float]], xlabel: str):
    """A row a data set, a dot a way to plan it; names that are no strategy are drawn in black."""
    fig, ax = plt.subplots(figsize=(WIDTH, 0.55 * len(rows) + 1.6))
    for place, values in enumerate(rows.values()):
        for shape, (name, value) in zip("osDv*|", values.items(), strict=False):
            ax.plot(value, place, shape, color=COLORS.get(name, COLORS["data"]), ms=8,
                    mew=1.8, label=LABELS.get(name, name) if place == 0 else None)  # fmt: skip
    ax.set(yticks=range(len(rows)), yticklabels=rows, xscale="log", xlabel=f"{xlabel} (log scale)",
           ylim=(len(rows) - 0.5, -0.5))  # fmt: skip
    ax.grid(axis="y", color="0.9", lw=0.8)
    fig.legend(loc="outside upper left", ncols=3, fontsize=9, handletextpad=0.2, columnspacing=1)
    return fig


def jump_losses(curves: dict[str, tuple], ylabel: str):
    """Losses of jumps (m, T] over m, the least marked; curves[label] = (losses, line style)."""
    fig, ax = plt.subplots()
    for label, (values, style) in curves.items():
        ax.plot(values, color=COLORS["data"], ls=style, lw=1.3)
        least = int(np.argmin(values))
        ax.plot(least, values[least], "o", color=COLORS["tdm"], ms=6)
        ax.annotate(label, (len(values) - 1, values[-1]), xytext=(12, 0), va="center",
                    textcoords="offset points", annotation_clip=False)  # fmt: skip
        for end, name in ((0, "vanilla"), (len(values) - 1, "sequential_boot")):
            ax.plot(end, values[end], "o", color=COLORS[name], ms=5)
    ax.set(xlabel="level m where the jump lands", ylabel=ylabel)
    return fig


def denoising(times, curves: dict[str, tuple], ylabel: str):
    """Two denoising errors over the level, the upper first; curves[label] = (values, color)."""
    fig, ax = plt.subplots()
    sides = (((-8, 6), "right"), ((8, -12), "left"))
    for (offset, ha), (label, (values, color)) in zip(sides, curves.items(), strict=True):
        ax.plot(times, values, "o-", color=COLORS[color], ms=3.5)
        middle = len(values) // 2
        ax.annotate(label, (times[middle], values[middle]), offset, color=COLORS[color], ha=ha,
                    textcoords="offset points")  # fmt: skip
    ax.set(xlabel="noise level t / T", ylabel=ylabel, ylim=(0, None))
    return fig
