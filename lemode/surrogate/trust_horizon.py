r"""How long a forecast is to be believed: until its members part, as long before or after as calibration says.

A forecast is *valid* as long as its normalised error keeps below a threshold. What is stated beforehand is

.. math:: h = \lceil \tau\, T_\theta \rceil - 1, \qquad T_\theta = \max\{k : s_1, \dots, s_k < \theta\}

of the root mean square spread s of the members over the variables. :math:`\theta` is chosen on series that the fits have seen, where it
makes the stated horizons longest. :math:`\tau` is split-conformal: of n calibration windows with valid leads :math:`v_i` it is the k-th
smallest :math:`(v_i + 1) / T_{\theta, i}`, :math:`k = \lfloor (n + 1)(1 - \mathrm{confidence}) \rfloor`, so that for a new window that is
exchangeable with them :math:`P(h > v) \le 1 - \mathrm{confidence}`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["TrustRule", "calibrate_trust", "parting", "valid_leads"]

Array = NDArray[np.floating[Any]]
Counts = NDArray[np.int64]

# spreads at which members are said to have parted, in units of the threshold
SHARES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0)


class TrustRule(NamedTuple):
    r"""Which horizon is stated for members that part: :math:`\theta`, `spread`, and :math:`\tau`, `factor`.

    Examples
    --------
    >>> TrustRule(spread=0.5, factor=0.75).state(np.array([[0.1, 0.2, 0.3, 0.4, 0.6, 0.3], [0.9, 0.1, 0.1, 0.1, 0.1, 0.1]]))
    array([2, 0])
    """

    spread: float
    factor: float

    def state(self, spread: Array, horizon: int | None = None) -> Counts:
        """Stated horizons ``(windows,)`` of root mean square spreads ``(windows, leads)``: so many leads, and the longest calibrated one at
        most, which by default is that of the spreads. Of fewer leads, what is certain by then."""
        return _stated(parting(spread, self.spread), self.factor, spread.shape[1] if horizon is None else horizon)


def parting(spread: Array, threshold: float) -> Counts:
    """Leads before the spread ``(windows, H)`` first reaches a threshold; H where it never does.

    Examples
    --------
    >>> parting(np.array([[0.1, 0.6, 0.1], [0.1, 0.1, 0.1]]), 0.5)
    array([1, 3])
    """
    return np.cumprod(spread < threshold, axis=1).sum(1).astype(np.int64)  # which NaN is not


def valid_leads(error: Array, threshold: float) -> Counts:
    """Leads before the error ``(windows, H)`` first exceeds a threshold; H where it never does. NaN is a truth that is missing.

    Examples
    --------
    >>> valid_leads(np.array([[0.1, 0.6, 0.1], [0.1, np.nan, np.inf]]), 0.4)
    array([1, 2])
    """
    with np.errstate(invalid="ignore"):
        return np.cumprod(~(error > threshold), axis=1).sum(1).astype(np.int64)


def calibrate_trust(seen: tuple[Array, Array], fresh: tuple[Array, Array], threshold: float, confidence: float) -> TrustRule:
    """The rule for spreads and errors ``(windows, H)`` of series that the fits have seen, and of fresh ones.

    Examples
    --------
    Errors that are twice the spread, which grows at a rate of its own in each window:

    >>> rate = np.random.default_rng(0).uniform(0.05, 0.2, 400)[:, None]
    >>> spread = 1e-3 * np.exp(rate * np.arange(120))
    >>> pair = spread[:200], 2 * spread[:200]
    >>> rule = calibrate_trust(pair, pair, threshold=0.4, confidence=0.9)
    >>> stated, valid = rule.state(spread[200:]), valid_leads(2 * spread[200:], 0.4)
    >>> bool((stated <= valid).mean() > 0.8), bool((stated / valid).mean() > 0.9)
    (True, True)
    """

    def rule(pair: tuple[Array, Array], theta: float) -> TrustRule:
        spread, error = pair
        return TrustRule(theta, _factor(parting(spread, theta), valid_leads(error, threshold), spread.shape[1], confidence))

    candidates = [rule(seen, share * threshold) for share in SHARES]
    best = max(candidates, key=lambda r: (float(r.state(seen[0]).mean()), r.spread))
    return rule(fresh, best.spread)


def _factor(parted: Counts, valid: Counts, H: int, confidence: float) -> float:
    """A horizon is overrun where the factor exceeds (v + 1) / T, and never where no forecast failed or none is stated."""
    overrun = (valid < H) & (parted > 0)
    ratio = np.sort(np.where(overrun, (valid + 1) / np.maximum(parted, 1), np.inf))
    k = math.floor(round((len(ratio) + 1) * (1 - confidence), 9))
    return float(ratio[k - 1]) if k else 0.0


def _stated(parted: Counts, factor: float, H: int) -> Counts:
    # rounding must not carry a product that is a whole number over it
    ahead = np.ceil(np.where(parted > 0, np.minimum(factor, H + 1.0), 0.0) * parted * (1 - 1e-12)) - 1
    return np.clip(ahead, 0, H).astype(np.int64)
