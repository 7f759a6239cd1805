"""Measures of a forecast: errors, and the period of an oscillation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["crossing_times", "period", "rmse"]


def rmse(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Root mean square difference over all entries; ValueError unless the shapes are equal."""
    a, b = np.asarray(prediction, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"prediction has shape {a.shape}, truth {b.shape}: they must be equal.")
    return float(np.sqrt(np.mean((a - b) ** 2)))


def crossing_times(t: ArrayLike, x: ArrayLike, level: float | None = None) -> NDArray[np.float64]:
    """Times at which x ``(T,)`` crosses `level` upwards, to the accuracy of a cubic spline.

    The level is midway between the extremes by default, where a relaxation oscillation is fastest.
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
    return np.asarray(roots[spline(roots, 1) > 0], dtype=np.float64)


def period(t: ArrayLike, x: ArrayLike, level: float | None = None) -> float:
    """Mean period of an oscillation: the mean time between upward crossings of `level`, see `crossing_times`.

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
