"""Plots of what `lemode.analysis` finds; a Protocol each says what is read of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from ..types import Array
from .style import BLACK, BLUE, GREEN, ORANGE, VERMILION, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "certified_forecast",
    "gradient_flow",
    "lyapunov_convergence",
    "order_plot",
    "stability_region",
    "time_scale_histogram",
]


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
class Certified(Protocol):
    """What `certified_forecast` draws: a forecast ``(N, D)`` at times ``(N,)`` with its radius, and what followed where that is known."""

    @property
    def names(self) -> Sequence[str]: ...
    @property
    def t(self) -> Array: ...
    @property
    def forecast(self) -> Array: ...
    @property
    def truth(self) -> Array | None: ...
    @property
    def radius(self) -> Array: ...
    @property
    def tolerance(self) -> Array: ...
    @property
    def errors(self) -> Array | None: ...
    @property
    def horizons(self) -> Array: ...


@runtime_checkable
class Flows(Protocol):
    """What `gradient_flow` draws: an audit's flows, one a layer."""

    @property
    def flows(self) -> Sequence[Flow]: ...


def certified_forecast(found: Certified, variable: int | str = 0, ax: Axes | None = None) -> Axes:
    """A forecast with the band that it is proved to be within of the truth, as far as it is at most the tolerance wide, and a bit beyond.

    Parameters
    ----------
    found : lemode.analysis.CertifiedHorizon
    variable : int or str
        By its place or name.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from lemode.analysis import CertifiedHorizon
    >>> t = np.arange(1.0, 9)
    >>> made = CertifiedHorizon(("v",), t, np.sin(t)[:, None], None, 0.1 * t[:, None], np.array([0.5]), np.array([0.1]))
    >>> certified_forecast(made).get_ylabel()
    'v'
    """
    _of(Certified, "found", found, "a CertifiedHorizon, from lemode.analysis.certified_horizon")
    names = list(found.names)
    if variable not in names and not (isinstance(variable, int) and -len(names) <= variable < len(names)):
        raise ValueError(f"variable={variable!r}: choose from {', '.join(names)}, or their places.")
    i = names.index(variable) if isinstance(variable, str) else range(len(names))[variable]
    ax = axes_or_new(ax)
    t, forecast, radius, horizon = found.t, found.forecast[:, i], found.radius[:, i], int(found.horizons[i])
    near = radius <= 4 * found.tolerance[i]
    for within, alpha, label in (
        (near, 0.15, None),
        (np.arange(len(t)) < horizon, 0.35, f"proved, within {found.tolerance[i]:.3g}"),
    ):
        low, high = (np.where(within, forecast + way * np.where(within, radius, 0), np.nan) for way in (-1, 1))
        ax.fill_between(t, low, high, color=BLUE, alpha=alpha, lw=0, label=label)
    if found.truth is not None:
        ax.plot(t, found.truth[:, i], color=BLACK, lw=1, label="data")
    ax.plot(t, forecast, color=VERMILION, lw=1, ls="--", label="forecast")
    if horizon:
        ax.axvline(t[horizon - 1], color=GREEN, lw=1, label=f"certified horizon, {horizon} steps")
    given = "" if found.errors is None else f"if no one-step error exceeds {found.errors[i]:.3g}"
    ax.set(xlabel="time after the history", ylabel=names[i], title=given)
    ax.margins(x=0)
    ax.legend(fontsize="small", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
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
    ax, flow = axes_or_new(ax), report.flows[layer]
    k = np.arange(len(flow.median))
    ax.fill_between(k, flow.smallest, flow.largest, color=BLUE, alpha=0.25, lw=0, label="measured, range over samples")
    ax.plot(k, flow.median, color=BLUE, label="measured, median")
    # bounds that run away exponentially are drawn only near the data
    low, top = 1e-6 * max(flow.smallest[flow.smallest > 0].min(initial=1.0), 1e-280), 1e6 * flow.largest.max()
    for values, color, style, label in (
        (flow.ceiling_posterior, VERMILION, "--", "ceiling, a posteriori (J2)"),
        (flow.ceiling, VERMILION, "-", "ceiling, a priori (J7)"),
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
    ax = axes_or_new(ax)
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
    ax = axes_or_new(ax)
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
    ax = axes_or_new(ax)
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
    ax = axes_or_new(ax)
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


def _of(kind: type, name: str, value: Any, where: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {type(value).__name__}: give {where}.")
