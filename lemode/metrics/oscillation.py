"""Oscillations and spikes: period, phase, and whether a forecast fires when the truth does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import array, checks, finite, real

__all__ = ["crossing_times", "period", "period_error", "phase_error", "spike_f1"]


# a crossing counts if the series comes from so many standard deviations of its noise below the level and goes as far above it
NOISE = 4.0
# but not from farther than this part of the range: the ends of a cycle have to be beyond
MOST = 0.2


@checks(t=array, x=array, level=finite)
def crossing_times(t: ArrayLike, x: ArrayLike, level: float | None = None) -> NDArray[np.float64]:
    """Times at which x ``(T,)`` crosses `level` upwards, to the accuracy of a cubic spline.

    The level is midway between the extremes by default, where a relaxation oscillation is fastest. Where noise takes the series across it
    to and fro, that is one crossing, at the one in the middle: to count it has to come from below the level, and to go above it, by four
    standard deviations of the noise, or a fifth of the range if that is less. The noise is what is left in third differences, which of a
    smooth series is next to nothing.

    Raises
    ------
    ValueError
        For fewer than four samples, shapes that differ, or a value that is not finite.

    Examples
    --------
    >>> t = np.arange(0, 14, 0.05)
    >>> crossing_times(t, -np.cos(t), level=0.0).round(6)  # pi/2 and 5 pi/2
    array([1.570796, 7.853982])
    >>> noisy = -np.cos(t) + 0.1 * np.random.default_rng(0).normal(size=len(t))
    >>> len(crossing_times(t, noisy))
    2
    """
    from scipy.interpolate import CubicSpline

    time, value = np.asarray(t, dtype=np.float64), np.asarray(x, dtype=np.float64)
    if value.ndim != 1 or time.shape != value.shape or len(time) < 4:
        raise ValueError(f"t has shape {time.shape}, x {value.shape}: give one series of at least four samples.")
    if not np.isfinite(value).all():
        raise ValueError(f"x holds a value that is not finite, at index {int(np.argmin(np.isfinite(value)))}.")
    middle = 0.5 * float(value.min() + value.max()) if level is None else level
    spline: Any = CubicSpline(time, value - middle)
    roots = spline.roots(extrapolate=False)
    up = np.asarray(roots[spline(roots, 1) > 0], dtype=np.float64)
    band = min(NOISE * _noise(value), MOST * float(np.ptp(value)))
    side = np.where(value - middle > band, 1, np.where(value - middle < -band, -1, 0))
    there = np.flatnonzero(side)
    # before its first sample beyond the band a series has come from below if it rises
    before = np.concatenate([[0], there[:-1]])
    rises = (side[there] > 0) & (np.concatenate([[0], side[there[:-1]]]) <= 0)
    groups = [up[(up >= time[i]) & (up <= time[j])] for i, j in zip(before[rises], there[rises], strict=True)]
    return np.array([group[len(group) // 2] for group in groups if len(group)])


def _noise(x: NDArray[np.float64]) -> float:
    """Standard deviation of white noise on a smooth series: third differences have the squares of 1, 3, 3, 1 times its variance."""
    return float(np.median(np.abs(np.diff(x, 3)))) / (0.6745 * 20**0.5)


@checks(t=array, x=array, level=finite)
def period(t: ArrayLike, x: ArrayLike, level: float | None = None) -> float:
    """Mean period of an oscillation: the mean time between upward crossings of `level`, noise aside, see `crossing_times`.

    ValueError if there are fewer than two of them.

    Examples
    --------
    >>> t = np.arange(0, 20, 0.05)
    >>> round(period(t, np.sin(t)), 6)
    6.283185
    """
    times = crossing_times(t, x, level)
    if len(times) < 2:
        raise ValueError(f"the series crosses its level upwards {len(times)} times: a period needs two crossings.")
    return float((times[-1] - times[0]) / (len(times) - 1))


@checks(t=array, prediction=array, truth=array, level=finite)
def period_error(t: ArrayLike, prediction: ArrayLike, truth: ArrayLike, level: float | None = None) -> float:
    r"""Relative error of the period of a forecast.

    .. math:: (P_{prediction} - P_{truth}) / P_{truth}

    Parameters
    ----------
    t, prediction, truth : (T,)
    level : as in `crossing_times`; by default midway between the extremes of the truth, for both

    Raises
    ------
    ValueError
        If either has fewer than two upward crossings.

    Examples
    --------
    >>> t = np.arange(0, 40, 0.05)
    >>> round(period_error(t, np.sin(t / 1.01), np.sin(t)), 6)
    0.01
    """
    level = _middle(truth) if level is None else level
    true = period(t, truth, level)
    return (period(t, prediction, level) - true) / true


@checks(t=array, prediction=array, truth=array, level=finite)
def phase_error(
    t: ArrayLike, prediction: ArrayLike, truth: ArrayLike, level: float | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""How far the forecast is ahead, in cycles, whenever the truth begins a cycle.

    .. math:: \Delta\varphi(t_k) = \varphi_{prediction}(t_k) - k, \qquad \varphi(s_j) = j, \text{ linear between}

    with the upward crossings :math:`t_k` of the truth and :math:`s_j` of the forecast. The count j starts such that the first
    error is at most half a cycle.

    Parameters
    ----------
    t, prediction, truth : (T,)
    level : as in `period_error`

    Returns
    -------
    times : (m,) those t_k that lie between the first and the last crossing of the forecast
    error : (m,) in cycles, positive where the forecast is ahead

    Raises
    ------
    ValueError
        If there is no such t_k.

    Examples
    --------
    >>> t = np.arange(0, 40, 0.05)
    >>> times, error = phase_error(t, np.sin(t + 0.1), np.sin(t))
    >>> bool(np.allclose(error, 0.1 / (2 * np.pi), atol=1e-6))
    True

    References
    ----------
    Pikovsky, Rosenblum, Kurths, Synchronization (Cambridge 2001), equation (A2.1), the phase by markers.
    """
    level = _middle(truth) if level is None else level
    own, true = crossing_times(t, prediction, level), crossing_times(t, truth, level)
    inside = np.zeros(len(true), dtype=bool) if len(own) < 2 else (true >= own[0]) & (true <= own[-1])
    if not inside.any():
        raise ValueError(
            f"the forecast crosses the level {level:g} upwards {len(own)} times, the truth {len(true)} times, and no cycle of the "
            "truth begins between crossings of the forecast: there is no phase to compare."
        )
    error = np.interp(true[inside], own, np.arange(len(own))) - np.flatnonzero(inside)
    return true[inside], error - np.round(error[0])


@checks(prediction=array, truth=array, tolerance=real)
def spike_f1(prediction: ArrayLike, truth: ArrayLike, tolerance: float) -> float:
    r"""Agreement of two spike trains: 1 if every spike has a partner within the tolerance, 0 if none has.

    .. math:: F_1 = \frac{2\,TP}{2\,TP + FP + FN}

    TP is the largest number of pairs, one spike of each train, at most `tolerance` apart; FP and FN are the spikes left over.
    Two empty trains agree: 1.

    Parameters
    ----------
    prediction, truth : (m,), (n,) times of the spikes, in order, e.g. from `crossing_times` at a threshold
    tolerance : in the unit of the times, not negative

    Raises
    ------
    ValueError
        For times that are not increasing, or a negative tolerance.

    Examples
    --------
    >>> spike_f1([1.0, 2.1, 5.0], [1.05, 2.0], tolerance=0.2)
    0.8

    References
    ----------
    Jolivet et al., J. Neurosci. Methods 169 (2008) 417-424, section 2.3, for coincidences within a window.
    """
    a, b = np.asarray(prediction, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    for name, times in (("prediction", a), ("truth", b)):
        if times.ndim != 1 or not np.isfinite(times).all() or not (np.diff(times) > 0).all():
            raise ValueError(f"{name} has shape {times.shape}: give the times of the spikes, finite and increasing.")
    if not tolerance >= 0:
        raise ValueError(f"tolerance={tolerance}: give a time that is not negative.")
    pairs = i = j = 0
    while i < len(a) and j < len(b):  # on a line pairing the earliest first is optimal
        if abs(a[i] - b[j]) <= tolerance:
            pairs, i, j = pairs + 1, i + 1, j + 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return 2 * pairs / (len(a) + len(b)) if len(a) + len(b) else 1.0


def _middle(x: ArrayLike) -> float:
    value = np.asarray(x, dtype=np.float64)
    return 0.5 * float(value.min() + value.max())
