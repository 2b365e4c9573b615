"""Every figure of the book, in one look: a thing keeps its colour from first chapter to last."""

import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import distance_transform_edt

from tdmlib.linear.merging import STRATEGIES, MergePlan
from tdmlib.linear.operators import signal_noise
from tdmlib.schedules import Schedule

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLORS = {
    "data": "#222222",
    "teacher": "#7f7f7f",
    "vanilla": "#0072b2",
    "progressive": "#009e73",
    "sequential_consistency": "#e69f00",
    "sequential_boot": "#cc79a7",
    "tdm": "#d55e00",
    "TDM, 4 steps": "#d55e00",
    "TDM, 1 step": "#56b4e9",
}
LABELS = {
    "vanilla": "vanilla",
    "progressive": "progressive",
    "sequential_consistency": "seq. consistency",
    "sequential_boot": "seq. BOOT",
}
STYLES = {  # beside the colours, for curves that cross or run close together
    "vanilla": "-",
    "progressive": (0, (6, 1.5)),
    "sequential_consistency": (0, (6, 1.5, 1, 1.5)),
    "sequential_boot": (0, (2.5, 1)),
}
WIDTH = 5.0  # inches: a phone then shrinks the type by a quarter, not by half


def use_style() -> None:
    """Set the book's look, and in a notebook vector output that is the same at every run."""
    mpl.rcParams.update(
        {
            "figure.figsize": (WIDTH, 3.1),
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "font.size": 10.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": mpl.cycler(color=list(COLORS.values())[2:]),
            "lines.linewidth": 1.8,
            "legend.frameon": False,
            "image.cmap": "gray_r",
            "svg.hashsalt": "tdmlib",
        }
    )
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        # PNG for notebooks that JupyterLab does not trust yet: it shows no SVG in those.
        set_matplotlib_formats("svg", "png", metadata={"Date": None})


def _end_labels(ax, curves: dict[str, tuple[float, float]], gap: float = 0.075) -> None:
    """Write each curve's name at its right end, pushed apart where they would overlap."""
    to_axes = ax.transData.transform
    low, high = ax.bbox.y0, ax.bbox.y1
    places = sorted(
        (float((to_axes(xy)[1] - low) / (high - low)), name) for name, xy in curves.items()
    )
    height = -np.inf
    for place, name in places:
        height = max(place, height + gap)
        ax.annotate(
            LABELS.get(name, name),
            (1.01, height),
            xycoords="axes fraction",
            color=COLORS.get(name, COLORS["data"]),
            va="center",
        )


def ellipse(schedule: Schedule, lams=(0.3, 3.0), t: int = 4):
    """Fig. 1: v_t on its ellipse, and A_t as the projection of v_{t−1} on v_t. A panel a λ."""
    fig, axes = plt.subplots(len(lams), 1, figsize=(WIDTH, 2.6 * len(lams)))
    for ax, lam in zip(np.atleast_1d(axes), lams, strict=True):
        v = signal_noise(schedule, lam)
        angle = np.linspace(0, np.pi / 2, 200)
        ax.plot(np.sqrt(lam) * np.cos(angle), np.sin(angle), color="0.8", lw=1.2, zorder=0)
        for k in range(schedule.T + 1):
            ax.plot(*zip((0, 0), v[k], strict=True), color=COLORS["teacher"], lw=0.8, alpha=0.5)
        foot = v[t] * (v[t - 1] @ v[t]) / (v[t] @ v[t])
        arrow = dict(angles="xy", scale_units="xy", scale=1, units="inches", width=0.03, zorder=3)
        ax.quiver(0, 0, *v[t], color=COLORS["vanilla"], **arrow)
        ax.quiver(0, 0, *v[t - 1], color=COLORS["data"], **arrow)
        ax.plot(*zip(v[t], foot, strict=True), color=COLORS["vanilla"], ls=":", lw=1.4)
        ax.plot(*zip(v[t - 1], foot, strict=True), color=COLORS["tdm"], ls="--", lw=1.4)
        ax.plot(*foot, "o", color=COLORS["tdm"], ms=5, zorder=4)
        ratio = (v[t - 1] @ v[t]) / (v[t] @ v[t])
        for name, vector, offset, color in (
            (f"$v_{t}$", v[t], (-14, 4), COLORS["vanilla"]),
            (f"$v_{t - 1}$", v[t - 1], (6, -12), COLORS["data"]),
        ):
            ax.annotate(name, 0.6 * vector, xytext=offset, textcoords="offset points", color=color)
        ax.set(
            xlabel=r"signal $\alpha_t\sqrt{\lambda}$",
            ylabel=r"noise $\sigma_t$",
            aspect="equal",
            xlim=(0, 1.12 * max(np.sqrt(lam), 1.0)),
            ylim=(0, 1.12),
        )
        ax.text(0.99, 0.97, rf"$\lambda = {lam:g}$,  $A_{t} = {ratio:.3f}$", ha="right", va="top",
                transform=ax.transAxes)  # fmt: skip
    return fig


def _over_lambda(ax, lams, boundaries) -> None:
    """The axis of λ, logarithmic where wide; thin vertical lines named above for `boundaries`."""
    scale, said = ("log", " (log scale)") if lams[-1] > 4 * lams[0] else ("linear", "")
    label = rf"data variance $\lambda${said}"
    ax.set(xlabel=label, xlim=(lams[0], lams[-1]), xscale=scale)
    for name, value in dict(boundaries).items():
        if lams[0] <= value <= lams[-1]:
            ax.axvline(value, color="0.6", lw=0.9, ls=":")
            ax.annotate(name, (value, 1.01), xycoords=("data", "axes fraction"), ha="center")


def curves_over_lambda(lams, curves: dict, ylabel: str, boundaries=(), log: bool = True):
    """One curve a strategy over the variance λ; `boundaries` are marked by thin vertical lines."""
    fig, ax = plt.subplots()
    for name, values in curves.items():
        ax.plot(lams, values, color=COLORS.get(name, COLORS["data"]), ls=STYLES.get(name))
    ax.set_ylabel(ylabel)
    if log:
        ax.set_yscale("log")
        ax.set_ylabel(f"{ylabel} (log scale)")
    _over_lambda(ax, lams, boundaries)
    fig.canvas.draw()
    _end_labels(ax, {name: (lams[-1], values[-1]) for name, values in curves.items()})
    return fig


def _heights(plan: MergePlan) -> list[tuple[tuple[int, int], int]]:
    """Each merge's span, and how many merges stand in line below it, itself included."""
    below, merges = [], []
    for i, j, k in plan.nodes():
        height = 1 + max(below[-k:]) if k else 0
        del below[len(below) - k :]
        below.append(height)
        merges += [((i, j), height)] if k else []
    return merges


def merge_arcs(plans: dict[str, MergePlan]):
    """Merge plans as arcs over the levels t, noise at the right; darker after a longer chain."""
    fig, axes = plt.subplots(len(plans), 1, figsize=(WIDTH, 1.25 * len(plans)), sharex=True)
    for ax, (name, plan) in zip(np.atleast_1d(axes), plans.items(), strict=True):
        (low, high), heights = plan.span, _heights(plan)
        for (i, j), height in heights:
            shade = 0.25 + 0.75 * height / heights[-1][1]
            angle = np.linspace(0, np.pi, 60)
            ax.plot((i + j) / 2 + (j - i) / 2 * np.cos(angle), (j - i) * np.sin(angle),
                    color=COLORS.get(name, COLORS["data"]), alpha=shade, lw=1.2)  # fmt: skip
        ax.plot(range(low, high + 1), [0] * (high - low + 1), "|", color="0.5", ms=5)
        ax.set(xlim=(low - 0.5, high + 0.5), ylim=(-0.04 * high, 1.12 * high), yticks=[])
        ax.spines["left"].set_visible(False)
        ax.set_title(LABELS.get(name, name), loc="left", color=COLORS.get(name, "k"), pad=2)
    np.atleast_1d(axes)[-1].set_xlabel("level t   (0 clean, T noise)")
    return fig


def sample_grid(rows: dict, columns: int = 10):
    """Images in rows of one sampler each, the same noise in a column; n images per name.

    `rows` maps a label to images (n, 1, h, w) in [−1, 1]; n may be several times `columns`.
    """
    heights = [-(-len(images) // columns) for images in rows.values()]
    total = sum(heights)
    fig, axes = plt.subplots(
        len(rows), 1, figsize=(WIDTH, WIDTH / columns * total + 0.3 * len(rows)),
        height_ratios=heights, squeeze=False,
    )  # fmt: skip
    for ax, (label, images), height in zip(axes[:, 0], rows.items(), heights, strict=True):
        pixels = np.asarray(images)[: height * columns, 0]
        h, w = pixels.shape[1:]
        canvas = np.full((height * (h + 1), columns * (w + 1)), -1.0)
        for k, image in enumerate(pixels):
            row, column = divmod(k, columns)
            canvas[row * (h + 1) : row * (h + 1) + h, column * (w + 1) : column * (w + 1) + w] = (
                image
            )
        ax.imshow(canvas, vmin=-1, vmax=1, interpolation="nearest")
        ax.set_title(label, loc="left", pad=3, fontsize=10)
        ax.set_axis_off()
    return fig


def distance_over_steps(teacher: dict[int, float], students: dict, floor: float, ylabel: str):
    """A distance over sampling steps: the teacher's curve, students' seeds as dots, the floor."""
    fig, ax = plt.subplots()
    ax.loglog(list(teacher), list(teacher.values()), "o-", color=COLORS["teacher"], ms=4)
    ax.annotate("teacher", (2.2, teacher[2]), color=COLORS["teacher"], xytext=(6, 2),
                textcoords="offset points")  # fmt: skip
    for label, (steps, values) in students.items():
        ax.plot([steps] * len(values), values, "o", color=COLORS[label], ms=5, alpha=0.7)
        ax.annotate(label, (steps, np.mean(values)), color=COLORS[label], xytext=(8, -4),
                    textcoords="offset points")  # fmt: skip
    ax.axhline(floor, color=COLORS["data"], ls=":", lw=1)
    ax.annotate("real training images", (max(teacher), floor), ha="right", va="bottom",
                color=COLORS["data"])  # fmt: skip
    ax.set(xlabel="sampling steps (log scale)", ylabel=f"{ylabel} (log scale)")
    ax.set_xticks(list(teacher), [str(k) for k in teacher])
    ax.minorticks_off()
    return fig


def training_curves(curves: dict[str, list], ylabels: dict[str, str], color: str = "tdm"):
    """A panel a quantity, a thin line a seed: curves[quantity] = [[[update, value], …], …]."""
    fig, axes = plt.subplots(len(ylabels), 1, figsize=(WIDTH, 1.7 * len(ylabels)), sharex=True)
    for ax, (name, ylabel) in zip(np.atleast_1d(axes), ylabels.items(), strict=True):
        for run in curves[name]:
            ax.plot(*np.array(run).T, color=COLORS[color], lw=1.2, alpha=0.7)
        ax.set(ylabel=ylabel, ylim=(0, None))
    np.atleast_1d(axes)[-1].set_xlabel("update")
    return fig


def training_decay(times, curves: dict[str, tuple], ylabel: str):
    """What is left of the start over training time: curves[label] = (flow, spread, runs).

    `flow`, shape (n,), is drawn dashed; within flow · exp(±2 · spread) lies the grey band; `runs`,
    shape (seeds, n), are thin lines.
    """
    fig, ax = plt.subplots()
    for label, (flow, spread, runs) in curves.items():
        ax.fill_between(times, flow * np.exp(-2 * spread), flow * np.exp(2 * spread),
                        color="0.85", lw=0)  # fmt: skip
        ax.plot(times, np.transpose(runs), color=COLORS["vanilla"], lw=0.8)
        ax.plot(times, flow, color=COLORS["data"], ls="--", lw=1.2)
        ax.annotate(label, (times[-1], flow[-1]), xytext=(4, 0), textcoords="offset points",
                    va="center", annotation_clip=False)  # fmt: skip
    ax.set(xlabel="training time s", ylabel=f"{ylabel} (log scale)", yscale="log")
    ax.set_xlim(times[0], times[-1])
    return fig


def strategy_map(lams, times, comparisons: dict, boundaries=()):
    """Which strategy loses least, over λ and s, a panel a comparison; lines: what plans can gain.

    `comparisons` maps a title to a `tdmlib.linear.Comparison` of shape (len(times), len(lams)).
    """
    size = (WIDTH, 2.4 * len(comparisons) + 0.3)
    fig, axes = plt.subplots(len(comparisons), 1, figsize=size, sharex=True)
    for ax, (title, found) in zip(np.atleast_1d(axes), comparisons.items(), strict=True):
        colors = mpl.colors.ListedColormap([COLORS[name] for name in STRATEGIES])
        ax.pcolormesh(lams, times, found.best, cmap=colors, vmin=-0.5, vmax=3.5, rasterized=True)
        lines = ax.contour(lams, times, found.gap, [0.001, 0.01, 0.1], colors="k", linewidths=0.9)
        ax.clabel(lines, fmt=lambda gap: f"{gap:.1%}", fontsize=8)
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
            ax.annotate(name, (value, 1.01), xycoords=("data", "axes fraction"), ha="center")
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


def range_over_lambda(lams, low, high, curves: dict, boundaries=()):
    """The range of all plans' signed errors as a band around the teacher's line at zero.

    `low` and `high` are S_min − P and S_max − P; `curves` are strategies within the band. The axis
    is linear up to 1e-8 and logarithmic beyond.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    ax.fill_between(lams, low, high, color="0.85", lw=0)
    ax.axhline(0, color=COLORS["teacher"], lw=1.8)
    for name, values in curves.items():
        ax.plot(lams, values, color=COLORS.get(name), ls=STYLES.get(name))
    ax.set_ylabel("signed error S − P (symmetric log scale)")
    ax.set_yscale("symlog", linthresh=1e-8)
    _over_lambda(ax, lams, boundaries)
    fig.canvas.draw()
    ends = {name: (lams[-1], values[-1]) for name, values in curves.items()}
    _end_labels(ax, {"teacher": (lams[-1], 0.0), "all plans": (lams[-1], low[-1]), **ends})
    return fig


def spectra_in_phases(panels: dict[str, dict], boundaries: tuple[float, float]):
    """Spectra over their rank on shaded phases; panels[title] = {label: (λ, line style)}."""
    fig, axes = plt.subplots(len(panels), 1, figsize=(WIDTH, 2.7 * len(panels)), sharex=True)
    low, high = boundaries
    for ax, (title, spectra) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        for label, (lam, style) in spectra.items():
            lam = np.sort(lam[lam > 0])[::-1]
            ax.loglog(np.arange(1, lam.size + 1), lam, style, color=COLORS["data"], ms=3, lw=1.2)
            ax.annotate(label, (lam.size, lam[-1]), xytext=(5, 0), va="center",
                        textcoords="offset points", annotation_clip=False)  # fmt: skip
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
        ax.annotate(LABELS.get(name, name), errors[row], (9, -9 if name in LABELS else 2),
                    textcoords="offset points", color=color)  # fmt: skip
    ax.set(xlabel=labels[0], ylabel=labels[1])
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
