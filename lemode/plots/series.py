"""Plots of series and fields, true and forecast, and of the fit that made the forecast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from .._checks import array, checks, finite_positive
from .style import BLACK, BLUE, GREEN, VERMILION, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["forecast", "phase_plane", "spacetime", "spectra", "time_scales", "training_history"]


class TrainingHistory(Protocol):
    """What `training_history` draws: a surrogate's ``history_``."""

    @property
    def loss(self) -> Sequence[float]: ...
    @property
    def validation(self) -> Sequence[tuple[int, float]]: ...
    @property
    def best_step(self) -> int: ...


@checks(t=array, truth=array, t_forecast=array, prediction=array)
def forecast(
    t: ArrayLike,
    truth: ArrayLike,
    t_forecast: ArrayLike,
    prediction: ArrayLike,
    name: str = "x",
    ax: Axes | None = None,
    band: tuple[ArrayLike, ArrayLike] | None = None,
) -> Axes:
    """The true series with the free-running forecast over it; a line marks where the forecast begins.

    Parameters
    ----------
    t, truth : (T,)
        Times and the true series.
    t_forecast, prediction : (S,)
        Times and values of the forecast.
    name : str
        Label of the vertical axis.
    ax : matplotlib Axes, optional
        Where to draw; a new one by default.
    band : (low, high), each (S,), optional
        Drawn around the forecast: the range of an ensemble, for example.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> t = np.linspace(0, 10, 101)
    >>> ax = forecast(t, np.sin(t), t[50:], np.sin(1.01 * t[50:]), band=(np.sin(t[50:]) - 0.1, np.sin(t[50:]) + 0.1))
    >>> ax.get_xlabel()
    'time t'
    """
    for name_x, name_t, x, times in (("truth", "t", truth, t), ("prediction", "t_forecast", prediction, t_forecast)):
        if np.shape(x) != np.shape(times) or np.ndim(x) != 1 or not np.size(x):
            raise ValueError(f"{name_x} has shape {np.shape(x)}, {name_t} {np.shape(times)}: give one series and its times.")
    ax, t_forecast = axes_or_new(ax), np.asarray(t_forecast)
    ax.plot(t, truth, color=BLACK, lw=2.5, alpha=0.35, label="true solution")
    if band is not None:
        low, high = band
        ax.fill_between(t_forecast, np.asarray(low), np.asarray(high), color=VERMILION, alpha=0.2, lw=0)
    ax.plot(t_forecast, prediction, color=VERMILION, lw=1, label="surrogate, running free")
    ax.axvline(t_forecast[0], color=BLACK, lw=0.8, ls=":")
    ax.set(xlabel="time t", ylabel=name)
    ax.margins(x=0)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize="small", frameon=False)
    return ax


@checks(truth=array, prediction=array)
def phase_plane(
    truth: ArrayLike,
    prediction: ArrayLike,
    nullclines: dict[str, tuple[ArrayLike, ArrayLike]] | None = None,
    names: tuple[str, str] = ("v", "w"),
    ax: Axes | None = None,
) -> Axes:
    """Orbits ``(T, 2)`` of the system and of its surrogate, with nullclines ``{label: (x, y)}`` behind them.

    Examples
    --------
    >>> t = np.linspace(0, 6, 50)
    >>> orbit = np.stack([np.cos(t), np.sin(t)], -1)
    >>> phase_plane(orbit, 0.95 * orbit, {"x' = 0": (t, 0 * t)}, names=("x", "y")).get_ylabel()
    'y'
    """
    for which, x in (("truth", truth), ("prediction", prediction)):
        if np.ndim(x) != 2 or np.shape(x)[1] != 2 or not np.size(x):
            raise ValueError(f"{which} has shape {np.shape(x)}: give (T, 2).")
    if len(names) != 2:
        raise ValueError(f"names={names!r}: give two.")
    ax = axes_or_new(ax)
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


@checks(t=array, truth=array, prediction=array, lyapunov_time=finite_positive, x=array)
def spacetime(
    t: ArrayLike,
    truth: ArrayLike,
    prediction: ArrayLike,
    lyapunov_time: float | None = None,
    x: ArrayLike | None = None,
    axes: Any = None,
) -> Any:
    """Space-time (Hovmoeller) triptych of a field: truth, forecast, and forecast minus truth, over time.

    Parameters
    ----------
    t : (T,)
        Times.
    truth, prediction : (T, D)
        A field of D sites.
    lyapunov_time : float, optional
        Unit of the horizontal axis, in that of t; without it the axis is t.
    x : (D,), optional
        Positions of the sites; 0, 1, ... by default.
    axes : three Axes, optional
        Where to draw, from top to bottom.

    Returns
    -------
    array of three Axes

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> wave = np.sin(np.linspace(0, 6, 50)[:, None] + np.arange(8))
    >>> len(spacetime(np.linspace(0, 6, 50), wave, 0.9 * wave, lyapunov_time=2.0))
    3
    """
    if x is not None and (np.ndim(x) != 1 or not np.size(x) or not np.isfinite(x).all()):
        raise ValueError(f"x has shape {np.shape(x)}: give a finite position for each point of the grid, (D,).")
    t, truth, prediction = np.asarray(t, dtype=float), np.asarray(truth), np.asarray(prediction)
    if truth.ndim != 2 or truth.shape != prediction.shape or t.shape != truth.shape[:1]:
        raise ValueError(f"t {t.shape}, truth {truth.shape}, prediction {prediction.shape}: give (T,), (T, D) and (T, D).")
    if axes is None:
        import matplotlib.pyplot as plt

        axes = plt.subplots(3, 1, figsize=(6, 5), sharex=True, sharey=True, layout="constrained")[1]
    position = np.arange(truth.shape[1]) if x is None else np.asarray(x)
    time = t if lyapunov_time is None else t / lyapunov_time
    limit = float(np.abs(truth).max()) or 1.0
    error = prediction - truth
    largest = float(np.nanmax(np.abs(error), initial=0.0)) or 1.0
    for ax, field, bound, cmap, title in (
        (axes[0], truth, limit, "PuOr_r", "truth"),
        (axes[1], prediction, limit, "PuOr_r", "forecast"),
        (axes[2], error, min(largest, 2 * limit), "RdBu_r", "forecast - truth"),
    ):
        image = ax.pcolormesh(time, position, field.T, vmin=-bound, vmax=bound, cmap=cmap, shading="nearest", rasterized=True)
        ax.figure.colorbar(image, ax=ax, pad=0.01)
        ax.set_title(title, loc="left", fontsize="medium")
        ax.set_ylabel("site" if x is None else "position")
    axes[2].set_xlabel("time t" if lyapunov_time is None else "time, in Lyapunov times")
    return axes


@checks(truth=array, prediction=array, dt=finite_positive)
def spectra(truth: ArrayLike, prediction: ArrayLike, dt: float = 1.0, ax: Axes | None = None) -> Axes:
    """Power spectra of one variable, of the true series and of the surrogate's.

    Parameters
    ----------
    truth, prediction : (T,) or (n, T)
        Series of one variable; Welch's method, `lemode.metrics.power_spectrum`, over all of them.
    dt : float
        Sampling interval.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> t = np.arange(0, 100, 0.1)
    >>> spectra(np.sin(t), np.sin(1.1 * t), dt=0.1).get_xlabel()
    'frequency'
    """
    from ..metrics import power_spectrum

    ax = axes_or_new(ax)
    for series, color, width, alpha, label in (
        (truth, BLACK, 2.5, 0.35, "true solution"),
        (prediction, VERMILION, 1.0, 1.0, "surrogate, running free"),
    ):
        x = np.atleast_2d(np.asarray(series, dtype=float))
        frequency, density = power_spectrum(x[..., None], dt)
        ax.semilogy(frequency, density[:, 0], color=color, lw=width, alpha=alpha, label=label)
    ax.set(xlabel="frequency", ylabel="power spectral density")
    ax.margins(x=0)
    ax.legend(fontsize="small", frameon=False)
    return ax


@checks(t=array, tau=array)
def time_scales(t: ArrayLike, tau: ArrayLike, known: dict[str, float] | None = None, ax: Axes | None = None) -> Axes:
    """Learned time scales over time, tau ``(T, d)`` in the unit of t, one line a unit; known scales as horizontal lines.

    Examples
    --------
    >>> time_scales(np.arange(10), np.ones((10, 3)) * [1.0, 5.0, 30.0], {"slow": 25.0}).get_yscale()
    'log'
    """
    import matplotlib as mpl

    tau = np.asarray(tau)
    if tau.ndim != 2 or 0 in tau.shape or np.shape(t) != tau.shape[:1]:
        raise ValueError(f"t has shape {np.shape(t)}, tau {tau.shape}: give (T,) and (T, d).")
    ax = axes_or_new(ax)
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


def training_history(history: TrainingHistory, ax: Axes | None = None) -> Axes:
    """Training loss and validation error over gradient steps, both as root mean square in units of the increment's std.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> history = SimpleNamespace(loss=[1.0, 0.25, 0.04], validation=[(1, 0.9), (3, 0.3)], best_step=3)  # a model's `history_`
    >>> training_history(history).get_xlabel()
    'gradient step'
    """
    ax = axes_or_new(ax)
    steps, errors = zip(*history.validation) if history.validation else ((), ())
    ax.semilogy(np.arange(1, len(history.loss) + 1), np.sqrt(history.loss), color=BLUE, lw=0.7, alpha=0.6, label="training")
    ax.semilogy(steps, errors, color=VERMILION, lw=1.2, label="validation")
    ax.axvline(history.best_step, color=BLACK, lw=0.8, ls=":", label=f"best, step {history.best_step}")
    ax.set(xlabel="gradient step", ylabel="one-step error / increment std")
    ax.legend(fontsize="small")
    return ax
