"""What samplers draw, how far it is from the data, and how training went."""

import matplotlib.pyplot as plt
import numpy as np

from tdmlib.plots.style import COLORS, WIDTH


def sample_grid(rows: dict, columns: int = 10):
    """Images in rows of one sampler each, the same noise in a column; n images per name.

    `rows` maps a label to images (n, 1, h, w), or (n, 3, h, w) in colour, in [−1, 1]; n may be
    several times `columns`.
    """
    heights = [-(-len(images) // columns) for images in rows.values()]
    total = sum(heights)
    fig, axes = plt.subplots(
        len(rows), 1, figsize=(WIDTH, WIDTH / columns * total + 0.3 * len(rows)),
        height_ratios=heights, squeeze=False,
    )  # fmt: skip
    for ax, (label, images), height in zip(axes[:, 0], rows.items(), heights, strict=True):
        pixels = np.moveaxis(np.asarray(images)[: height * columns], 1, -1)
        h, w, channels = pixels.shape[1:]
        ground = -1.0 if channels == 1 else 1.0  # paper: grey ones are drawn dark on light
        canvas = np.full((height * (h + 1), columns * (w + 1), channels), ground)
        for k, image in enumerate(pixels):
            row, column = divmod(k, columns)
            canvas[row * (h + 1) : row * (h + 1) + h, column * (w + 1) : column * (w + 1) + w] = (
                image
            )
        if channels == 3:
            canvas = (np.clip(canvas, -1, 1) + 1) / 2
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
