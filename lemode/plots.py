"""Plots: every function takes and returns a matplotlib Axes; none of them shows or saves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from ._checks import array, checks, finite_positive
from .types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "forecast",
    "gradient_flow",
    "lyapunov_convergence",
    "order_plot",
    "phase_plane",
    "spacetime",
    "spectra",
    "stability_region",
    "time_scale_histogram",
    "time_scales",
    "training_history",
]

# Okabe and Ito's palette, which colour-blind readers can tell apart
BLACK, ORANGE, BLUE, GREEN, VERMILION = "#000000", "#E69F00", "#0072B2", "#009E73", "#D55E00"


class TrainingHistory(Protocol):
    """What `training_history` draws: a surrogate's ``history_``."""

    @property
    def loss(self) -> Sequence[float]: ...
    @property
    def validation(self) -> Sequence[tuple[int, float]]: ...
    @property
    def best_step(self) -> int: ...


@runtime_checkable
class Study(Protocol):
    """What `order_plot` draws: errors ``(n,)`` of steps ``dt (n,)``, with their bounds where there are any."""

    @property
    def scheme(self) -> str: ...
    @property
    def order(self) -> int: ...
    @property
    def dt(self) -> Array: ...
    @property
    def local_error(self) -> Array: ...
    @property
    def global_error(self) -> Array: ...
    @property
    def local_bound(self) -> Array | None: ...
    @property
    def global_bound(self) -> Array | None: ...


class Known(Protocol):
    """A known time scale."""

    @property
    def scale(self) -> float: ...


@runtime_checkable
class Scales(Protocol):
    """What `time_scale_histogram` draws: medians ``(layers, 2, d)``, z before y, and known scales."""

    @property
    def median(self) -> Array: ...
    @property
    def known(self) -> Sequence[Known]: ...


@runtime_checkable
class Spectrum(Protocol):
    """What `lyapunov_convergence` draws: running estimates ``trace (n, k)`` at ``times (n,)``, and their ends ``(k,)``."""

    @property
    def exponents(self) -> Array: ...
    @property
    def standard_error(self) -> Array: ...
    @property
    def times(self) -> Array: ...
    @property
    def trace(self) -> Array: ...


class Flow(Protocol):
    """One layer of what `gradient_flow` draws, each ``(N + 1,)``."""

    @property
    def layer(self) -> int: ...
    @property
    def smallest(self) -> Array: ...
    @property
    def median(self) -> Array: ...
    @property
    def largest(self) -> Array: ...
    @property
    def floor(self) -> Array: ...
    @property
    def ceiling(self) -> Array: ...
    @property
    def ceiling_posterior(self) -> Array: ...


@runtime_checkable
class Flows(Protocol):
    """What `gradient_flow` draws: an audit's flows, one a layer."""

    @property
    def flows(self) -> Sequence[Flow]: ...


def _of(kind: type, name: str, value: Any, where: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {type(value).__name__}: give {where}.")


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(6, 3), layout="constrained")[1]


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
    ax, t_forecast = _axes(ax), np.asarray(t_forecast)
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
    ax = _axes(ax)
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
    ax = _axes(ax)
    steps, errors = zip(*history.validation) if history.validation else ((), ())
    ax.semilogy(np.arange(1, len(history.loss) + 1), np.sqrt(history.loss), color=BLUE, lw=0.7, alpha=0.6, label="training")
    ax.semilogy(steps, errors, color=VERMILION, lw=1.2, label="validation")
    ax.axvline(history.best_step, color=BLACK, lw=0.8, ls=":", label=f"best, step {history.best_step}")
    ax.set(xlabel="gradient step", ylabel="one-step error / increment std")
    ax.legend(fontsize="small")
    return ax


def order_plot(study: Study, ax: Axes | None = None) -> Axes:
    """Local and global errors of a scheme over the step size, lines of the declared orders, and the proved bounds where there are any.

    Examples
    --------
    >>> from lemode.analysis import convergence_study
    >>> study = convergence_study(lemode.MultiscaleODE(1, 2), u=torch.ones(1), scheme="strang", halvings=3)
    >>> order_plot(study).get_title()
    'strang: order 2'
    """
    _of(Study, "study", study, "a ConvergenceStudy, from lemode.analysis.convergence_study")
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
    ax.minorticks_off()  # over so few decades matplotlib would label them, one over the other
    ax.set_xticks(study.dt[::2], [f"{dt:.3g}" for dt in study.dt[::2]])
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
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


def time_scale_histogram(scales: Scales, names: tuple[str, ...] = (), ax: Axes | None = None) -> Axes:
    """How many units rest at which time scale, y and z, with the known scales of the system as lines.

    Parameters
    ----------
    scales : lemode.analysis.Timescales
        Of `lemode.analysis.timescales`, whose ``known`` gives the lines.
    names : names of the known scales
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from lemode.analysis import timescales
    >>> time_scale_histogram(timescales(lemode.LEM(1, 8), torch.zeros(20, 1), known=[5.0])).get_xscale()
    'log'
    """
    _of(Scales, "scales", scales, "a Timescales, from lemode.analysis.timescales")
    ax = _axes(ax)
    median = scales.median  # (layers, 2, d), z before y
    known = [k.scale for k in scales.known]
    low, high = min([median.min(), *known]) / 1.5, max([median.max(), *known]) * 1.5
    bins = np.geomspace(low, high, 25)
    ax.hist([median[:, 1].ravel(), median[:, 0].ravel()], bins.tolist(), stacked=True, color=[BLUE, ORANGE], label=["y", "z"])
    for i, scale in enumerate(known):
        ax.axvline(scale, color=VERMILION, lw=1.2, ls="--")
        ax.annotate(
            f"{names[i]}: {scale:.3g}" if i < len(names) else f"{scale:.3g}", (scale, 0.97), xycoords=("data", "axes fraction"),
            rotation=90, ha="right", va="top", color=VERMILION, fontsize="small",
        )  # fmt: skip
    ax.set(xscale="log", xlabel="median time scale", ylabel="units")
    ax.legend(fontsize="small", frameon=False)
    return ax


def lyapunov_convergence(spectrum: Spectrum, known: ArrayLike | None = None, ax: Axes | None = None) -> Axes:
    """The running estimates of the Lyapunov exponents over time, with their standard errors at the end, and known values dashed.

    Parameters
    ----------
    spectrum : lemode.analysis.LyapunovSpectrum
    known : values to compare with, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from lemode.analysis import spectrum_of_map
    >>> halving = spectrum_of_map(lambda x: 0.5 * x, torch.ones(1, dtype=torch.float64), 100)
    >>> lyapunov_convergence(halving, known=[-0.693]).get_xlabel()
    'averaging time'
    """
    _of(Spectrum, "spectrum", spectrum, "a LyapunovSpectrum, from lemode.analysis.lyapunov_spectrum")
    ax = _axes(ax)
    colors = (BLUE, VERMILION, GREEN, ORANGE, BLACK)
    for i in range(spectrum.trace.shape[1]):
        color = colors[i % len(colors)]
        label = rf"$\lambda_{{{i + 1}}} = {spectrum.exponents[i]:.3g} \pm {spectrum.standard_error[i]:.1g}$"
        ax.plot(spectrum.times, spectrum.trace[:, i], color=color, lw=1, label=label if i < 6 else None)
        ax.errorbar(
            spectrum.times[-1:], spectrum.exponents[i : i + 1], spectrum.standard_error[i : i + 1], color=color, capsize=2
        )
    values = np.atleast_1d(np.asarray([] if known is None else known, dtype=float))
    for value in values:
        ax.axhline(value, color=BLACK, lw=0.8, ls="--")
    # the first estimates are far off, and would leave the rest a flat line
    shown = np.concatenate([spectrum.trace[len(spectrum.trace) // 20 :].ravel(), values])
    shown = shown[np.isfinite(shown)]
    if len(shown) and np.ptp(shown) > 0:
        ax.set_ylim(shown.min() - 0.1 * np.ptp(shown), shown.max() + 0.1 * np.ptp(shown))
    ax.set(xlabel="averaging time", ylabel="exponent, running mean")
    ax.margins(x=0.01)
    ax.legend(fontsize="small", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


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
    from .metrics import power_spectrum

    ax = _axes(ax)
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


def stability_region(ax: Axes | None = None) -> Axes:
    r"""Where the linearised LEM step of a damped oscillator is stable (6.3), and the limits of LEM and of plain forward Euler.

    The oscillator is :math:`\dot z = g(-z - \omega y)`, :math:`\dot y = g(-y + \omega z)`, which the ODE damps for every :math:`\omega`.

    Parameters
    ----------
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> ax = stability_region()
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['LEM, $2/(1 + \\omega)$', 'old z, $2/(1 + \\omega^2)$']
    """
    ax = _axes(ax)
    omega = np.linspace(0, 6, 241)
    ax.fill_between(omega, 2 / (1 + omega), color=BLUE, alpha=0.25, lw=0)
    ax.plot(omega, 2 / (1 + omega), color=BLUE, lw=1.5, label=r"LEM, $2/(1 + \omega)$")
    ax.plot(omega, 2 / (1 + omega**2), color=VERMILION, lw=1.5, ls="--", label=r"old z, $2/(1 + \omega^2)$")
    ax.axhline(1, color=BLACK, lw=0.8, ls=":")
    ax.annotate("the cube is kept below", (5.9, 1.03), ha="right", fontsize="small")
    ax.set(xlabel=r"coupling $\omega$", ylabel=r"leak $\Delta t\,g$", ylim=(0, 2.2))
    ax.margins(x=0)
    ax.legend(frameon=False)
    return ax


def gradient_flow(report: Flows, layer: int = -1, ax: Axes | None = None) -> Axes:
    """The gradient of the loss at the last step by the state at step k, with its floor and ceilings: ``report.plot`` on an Axes.

    Parameters
    ----------
    report : lemode.analysis.AuditReport
    layer : int
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from lemode.analysis import audit
    >>> gradient_flow(audit(lemode.LEM(1, 2, dt=0.1), torch.randn(10, 3, 1))).get_yscale()
    'log'
    """
    _of(Flows, "report", report, "an AuditReport, from lemode.analysis.audit")
    if not -len(report.flows) <= layer < len(report.flows):
        raise ValueError(f"layer={layer}: the audit has layers 0 to {len(report.flows) - 1}.")
    ax, flow = _axes(ax), report.flows[layer]
    k = np.arange(len(flow.median))
    ax.fill_between(k, flow.smallest, flow.largest, color=BLUE, alpha=0.25, lw=0, label="measured, range over samples")
    ax.plot(k, flow.median, color=BLUE, label="measured, median")
    # bounds that run away exponentially are drawn only near the data
    low, top = 1e-6 * max(flow.smallest[flow.smallest > 0].min(initial=1.0), 1e-280), 1e6 * flow.largest.max()
    for values, color, style, label in (
        (flow.ceiling_posterior, VERMILION, "--", "ceiling, a posteriori (J2)"),
        (flow.ceiling, VERMILION, "-", "ceiling, a priori (J1)"),
        (flow.floor, GREEN, "-", "floor, a priori (5.2)"),
    ):
        near = (values >= low) & (values <= top)
        if near.sum() > 1:
            ax.plot(k, np.where(near, values, np.nan), color=color, ls=style, label=label)
    ax.set(
        yscale="log",
        xlabel="step k",
        ylabel=r"$\|\partial E_N / \partial x_k\|_1$",
        title=f"gradient flow, layer {flow.layer}",
    )
    ax.legend(frameon=False)
    return ax
