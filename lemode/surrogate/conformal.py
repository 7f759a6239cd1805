r"""Split-conformal bands: how wide they are is read off forecasts of series that no fit has seen.

With scores :math:`r_i` of n calibration windows at one lead time and of one variable, the half-width is :math:`q\, s^\gamma` with

.. math:: r_i = \frac{|x_i - \hat x_i|}{s_i^\gamma}, \qquad q = r_{(k)}, \quad k = \lceil (n + 1)\, \mathrm{level} \rceil

the k-th smallest. For a new window that is exchangeable with the n,

.. math:: \mathrm{level} \le P(|x - \hat x| \le q\, s^\gamma) \le \mathrm{level} + \tfrac{1}{n + 1}

whatever the model is and however s was made of what it has said; the upper bound where no two scores are equal. That is the share on
average over calibration sets; given one of them its standard deviation is about :math:`\sqrt{\mathrm{level}(1 - \mathrm{level}) / n}`.

The future of one series is not exchangeable with its past. There `adaptive` bands follow what has come of them: with misses :math:`m_t`, 0
or 1, of a band of which :math:`\alpha_t` are to miss,

.. math:: \alpha_{t+1} = \alpha_t + \rho\, (1 - \mathrm{level} - m_t)

each at its lead, when the truth has come. Whatever the series is, over T windows the share of misses differs from
:math:`1 - \mathrm{level}` by at most :math:`(1 + \rho (H + 1)) / (\rho T)`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["adaptive", "conformal_quantile", "half_width", "least_windows", "scores", "spread_power"]

Array = NDArray[np.floating[Any]]

# members that agree to the last bit have no spread to divide by
TINY = 1e-300
# That errors do not go with the spread weighs as much as log-spreads whose squares sum to this: the variance of log|N(0, 1)|, pi^2/8 = 1.2,
# over that of a power of which nothing is known, 1/4
PRIOR = 5.0


def least_windows(level: float) -> int:
    """Calibration windows without which there is no bound at this level.

    Examples
    --------
    >>> least_windows(0.5), least_windows(0.9), least_windows(0.99)
    (1, 9, 99)
    """
    return math.ceil(round(level / (1 - level), 9))


def conformal_quantile(scores: Array, level: float | Array) -> Array:
    """The k-th smallest along the first axis, :math:`k = \\lceil (n + 1)\\, level \\rceil`; infinite where n are too few, 0 where k is.

    NaN is no score. There may be a level for each of the other axes.

    Examples
    --------
    >>> conformal_quantile(np.array([[3.0, 1.0], [1.0, np.nan], [2.0, 2.0]]), 0.7)
    array([ 3., inf])
    """
    n = np.isfinite(scores).sum(0) + np.isinf(scores).sum(0)
    k = np.ceil(np.round((n + 1) * level, 9)).astype(np.int64)
    ordered = np.sort(scores, axis=0)  # NaN last
    found = np.take_along_axis(ordered, np.clip(k - 1, 0, len(scores) - 1)[None], 0)[0]
    return np.where(k > n, np.inf, np.where(k < 1, 0.0, found))


def adaptive(calibration: Array, later: Array, level: float, rate: float) -> Array:
    """Quantiles ``(windows + 1, H, D)`` before each of the later windows, and after them: at a level that follows the misses, of the
    calibration and of what has come since.

    Parameters
    ----------
    calibration : (n, H, D), scores
    later : (windows, H, D), scores of windows that begin one sample after the other; each counts when all of it has come, H samples later
    level : share of a band
    rate : by how much of a miss the level is changed

    References
    ----------
    Gibbs and Candes, Adaptive conformal inference under distribution shift, Advances in Neural Information Processing Systems 34 (2021).

    Examples
    --------
    Errors that are three times what they were:

    >>> rng = np.random.default_rng(0)
    >>> calibration, later = abs(rng.normal(size=(200, 1, 1))), 3 * abs(rng.normal(size=(500, 1, 1)))
    >>> found = adaptive(calibration, later, 0.9, 0.05)
    >>> (later < found[0]).mean().round(2).item(), (later < found[:-1]).mean().round(2).item()
    (0.38, 0.9)
    """
    H = later.shape[1]
    miss = np.full(later.shape[1:], 1 - level)
    found = np.empty((len(later) + 1, *later.shape[1:]))
    known = np.concatenate([calibration, later])
    for t in range(len(found)):
        if t >= H:
            passed, there = later[t - H] > found[t - H], ~np.isnan(later[t - H])
            miss += np.where(there, rate * (1 - level - passed), 0.0)
        found[t] = conformal_quantile(known[: len(calibration) + max(t - H + 1, 0)], 1 - miss)
    return found


def spread_power(spread: Array, error: Array, weight: float = 1.0) -> Array:
    r"""How errors go with the spread, by lead ``(H,)``: :math:`\gamma` of :math:`|e| \propto s^\gamma`, between 0 and 1.

    A regression of :math:`\log |e|` on :math:`\log s` over windows and variables, each about its own mean, held back where there are few.

    Parameters
    ----------
    spread, error : (windows, H, D), in standard deviations of the data; NaN where there is no truth
    weight : what a window counts for, less than 1 where they overlap

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> spread = np.exp(rng.normal(size=(400, 2, 1)))
    >>> error = rng.normal(size=spread.shape)
    >>> error[:, 0] *= spread[:, 0]  # at the first lead errors are as the spread, at the second they are not
    >>> spread_power(spread, error).round(1)
    array([0.9, 0. ])
    """
    with np.errstate(invalid="ignore"):
        there = np.isfinite(error) & np.isfinite(spread) & (error != 0) & (spread > 0)
    x, y = (np.log(np.where(there, np.abs(v), 1.0)) for v in (spread, error))
    count = np.maximum(there.sum(0), 1)
    x, y = (np.where(there, v - np.where(there, v, 0.0).sum(0) / count, 0.0) for v in (x, y))
    return np.asarray(np.clip(weight * (x * y).sum((0, 2)) / (weight * (x * x).sum((0, 2)) + PRIOR), 0.0, 1.0))


def scores(error: Array, spread: Array, power: Array) -> Array:
    """Conformal scores ``(windows, H, D)`` of errors and spreads, with the power of each lead; NaN where the truth is, infinite where the
    forecast is no number.

    Examples
    --------
    >>> scores(np.full((1, 2, 1), -3.0), np.full((1, 2, 1), 2.0), np.array([0.0, 1.0]))[0, :, 0]
    array([3. , 1.5])
    """
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.abs(error) / half_width(np.ones((len(power), 1)), spread, power)
    # an infinite error over an infinite spread
    return np.where(np.isinf(error), np.inf, found)


def half_width(quantile: Array, spread: Array, power: Array) -> Array:
    """Of a band: the quantile ``(H, D)`` times the spread ``(..., leads, D)`` to the power of its lead ``(H,)``, for the first leads.

    Examples
    --------
    >>> half_width(np.array([[2.0], [2.0]]), np.full((2, 1), 9.0), np.array([0.0, 0.5]))[:, 0]
    array([2., 6.])
    """
    leads = spread.shape[-2]
    return np.asarray(quantile[:leads] * np.maximum(spread, TINY) ** power[:leads, None])
