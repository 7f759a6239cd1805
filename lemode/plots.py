"""Plots: every function takes and returns a matplotlib Axes; none of them shows or saves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .analysis.convergence import ConvergenceStudy
    from .surrogate.training import History

__all__ = ["forecast", "order_plot", "phase_plane", "time_scales", "training_history"]

# Okabe and Ito's palette, which colour-blind readers can tell apart
BLACK, ORANGE, BLUE, GREEN, VERMILION = "#000000", "#E69F00", "#0072B2", "#009E73", "#D55E00"


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(6, 3), layout="constrained")[1]


def forecast(
    t: ArrayLike, truth: ArrayLike, t_forecast: ArrayLike, prediction: ArrayLike, name: str = "x", ax: Axes | None = None
) -> Axes:
    """The true series with the free-running forecast over it; a line marks where the forecast begins."""
    ax, t_forecast = _axes(ax), np.asarray(t_forecast)
    ax.plot(t, truth, color=BLACK, lw=2.5, alpha=0.35, label="true solution")
    ax.plot(t_forecast, prediction, color=VERMILION, lw=1, label="surrogate, running free")
    ax.axvline(t_forecast[0], color=BLACK, lw=0.8, ls=":")
    ax.set(xlabel="time t", ylabel=name)
    ax.margins(x=0)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize="small", frameon=False)
    return ax


def phase_plane(
    truth: ArrayLike,
    prediction: ArrayLike,
    nullclines: dict[str, tuple[ArrayLike, ArrayLike]] | None = None,
    names: tuple[str, str] = ("v", "w"),
    ax: Axes | None = None,
) -> Axes:
    """Orbits ``(T, 2)`` of the system and of its surrogate, with nullclines ``{label: (x, y)}`` behind them."""
    ax = _axes(ax)
    for (label, (x, y)), color in zip((nullclines or {}).items(), (BLUE, GREEN)):
        ax.plot(x, y, color=color, lw=1, ls="--", label=label)
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    ax.plot(*truth.T, color=BLACK, lw=2.5, alpha=0.35, label="true solution")
    ax.plot(*prediction.T, color=VERMILION, lw=1, label="surrogate, running free")
    # the orbits set the limits: a cubic nullcline would dwarf them
    both = np.concatenate([truth, prediction])
    low, high = both.min(0), both.max(0)
    pad = 0.15 * (high - low)
    ax.set(xlim=(low[0] - pad[0], high[0] + pad[0]), ylim=(low[1] - pad[1], high[1] + pad[1]))
    ax.set(xlabel=names[0], ylabel=names[1])
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize="small", frameon=False)
    return ax


def time_scales(t: ArrayLike, tau: ArrayLike, known: dict[str, float] | None = None, ax: Axes | None = None) -> Axes:
    """Learned time scales over time, tau ``(T, d)`` in the unit of t, one line a unit; known scales as horizontal lines."""
    import matplotlib as mpl

    ax, tau = _axes(ax), np.asarray(tau)
    order = np.argsort(np.median(tau, axis=0))
    colors = mpl.colormaps["viridis"](np.linspace(0, 0.9, tau.shape[1]))
    for color, unit in zip(colors, order):
        ax.semilogy(t, tau[:, unit], color=color, lw=0.9)
    for name, value in (known or {}).items():
        ax.axhline(value, color=VERMILION, lw=1.2, ls="--")
        ax.annotate(
            name, (0.99, value), xycoords=("axes fraction", "data"), ha="right", va="center", color=VERMILION, fontsize="small",
            bbox={"fc": "white", "ec": "none", "pad": 1},
        )  # fmt: skip
    ax.set(xlabel="time t", ylabel="time scale, a line each unit")
    ax.margins(x=0)
    return ax


def training_history(history: History | Any, ax: Axes | None = None) -> Axes:
    """Training loss and validation error over gradient steps, both as root mean square in units of the increment's std."""
    ax = _axes(ax)
    steps, errors = zip(*history.validation) if history.validation else ((), ())
    ax.semilogy(np.arange(1, len(history.loss) + 1), np.sqrt(history.loss), color=BLUE, lw=0.7, alpha=0.6, label="training")
    ax.semilogy(steps, errors, color=VERMILION, lw=1.2, label="validation")
    ax.axvline(history.best_step, color=BLACK, lw=0.8, ls=":", label=f"best, step {history.best_step}")
    ax.set(xlabel="gradient step", ylabel="one-step error / increment std")
    ax.legend(fontsize="small")
    return ax


def order_plot(study: ConvergenceStudy, ax: Axes | None = None) -> Axes:
    """Local and global errors of a scheme over the step size, lines of the declared orders, and the proved bounds where there are any."""
    ax = _axes(ax)
    p = study.order
    for name, error, bound, slope, color, marker in (
        ("global", study.global_error, study.global_bound, p, VERMILION, "o"),
        ("local", study.local_error, study.local_bound, p + 1, BLUE, "s"),
    ):
        if bound is not None:
            ax.loglog(study.dt, bound, color=color, lw=1, ls=":", label=f"proved bound, {name}")
        ax.loglog(study.dt, error, color=color, marker=marker, ms=4, lw=0, label=f"{name} error")
        line = error[-1] * (study.dt / study.dt[-1]) ** slope
        ax.loglog(study.dt, line, color=color, lw=0.8, alpha=0.6, label=f"slope {slope}")
    ax.set(xlabel=r"step size $\Delta t$", ylabel="largest error of y and z", title=f"{study.scheme}: order {p}")
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return ax
