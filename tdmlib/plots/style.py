"""One look through the whole book: a thing keeps its colour from first chapter to last."""

import sys

import matplotlib as mpl
import numpy as np

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


def end_labels(ax, curves: dict[str, tuple[float, float]], gap: float = 0.075) -> None:
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


def over_lambda(ax, lams, boundaries) -> None:
    """The axis of λ, logarithmic where wide; thin vertical lines named above for `boundaries`."""
    scale, said = ("log", " (log scale)") if lams[-1] > 4 * lams[0] else ("linear", "")
    label = rf"data variance $\lambda${said}"
    ax.set(xlabel=label, xlim=(lams[0], lams[-1]), xscale=scale)
    for name, value in dict(boundaries).items():
        if lams[0] <= value <= lams[-1]:
            ax.axvline(value, color="0.6", lw=0.9, ls=":")
            ax.annotate(name, (value, 1.01), xycoords=("data", "axes fraction"), ha="center")
