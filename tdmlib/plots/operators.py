"""The linear regime's geometry, and training as it follows the flow."""

import matplotlib.pyplot as plt
import numpy as np

from tdmlib.linear.operators import signal_noise
from tdmlib.plots.style import COLORS, WIDTH
from tdmlib.schedules import Schedule


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
