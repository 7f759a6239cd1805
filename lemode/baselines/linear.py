"""Persistence and linear autoregression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..surrogate.parameters import check_count
from .base import Baseline

__all__ = ["Autoregression", "Persistence"]

Array = NDArray[np.float64]


class Persistence(Baseline):
    r"""Nothing changes: the next value is the present one.

    .. math:: \hat x_{k+1} = x_k

    Parameters
    ----------
    observe : sequence of str, optional
        The variables to predict; all by default.

    Examples
    --------
    >>> wave = np.sin(np.linspace(0, 6, 61))[:, None]
    >>> Persistence().fit(wave).predict(wave).shape
    (61, 1)
    """

    def __init__(self, observe: tuple[str, ...] | None = None) -> None:
        self.observe = observe

    def _fit(self, x: Array) -> None:
        pass

    def _predict(self, x: Array) -> Array:
        return x.copy()

    def _forecast(self, x: Array, steps: int) -> Array:
        return np.repeat(x[:, -1:], steps, 1)


class Autoregression(Baseline):
    r"""Linear in the last p values, by least squares over all series.

    .. math:: \hat x_{k+1} = c + \sum_{j=0}^{p-1} A_j\, x_{k-j}

    Before the first value of a series that value is repeated.

    Parameters
    ----------
    lags : int
        p.
    observe : sequence of str, optional
        The variables to predict; all by default.

    Raises
    ------
    ValueError
        When fitted, for lags that are not positive.

    Examples
    --------
    >>> wave = np.sin(np.linspace(0, 6, 61))[:, None]
    >>> model = Autoregression(lags=2).fit(wave)
    >>> model.rmse(wave) < 0.2 * Persistence().fit(wave).rmse(wave)
    True
    """

    def __init__(self, lags: int = 2, observe: tuple[str, ...] | None = None) -> None:
        self.lags = lags
        self.observe = observe

    def _features(self, x: Array) -> Array:
        padded = np.concatenate([np.repeat(x[:, :1], self.lags - 1, 1), x], 1)
        T = x.shape[1]
        columns = [padded[:, self.lags - 1 - j : self.lags - 1 - j + T] for j in range(self.lags)]
        return np.concatenate([*columns, np.ones((*x.shape[:2], 1))], -1)

    def _fit(self, x: Array) -> None:
        check_count("lags", self.lags)
        A = self._features(x)[:, :-1]
        self.coefficients_, *_ = np.linalg.lstsq(A.reshape(-1, A.shape[-1]), x[:, 1:].reshape(-1, x.shape[-1]), rcond=None)

    def _predict(self, x: Array) -> Array:
        return self._features(x) @ self.coefficients_

    def _forecast(self, x: Array, steps: int) -> Array:
        window = np.concatenate([np.repeat(x[:, :1], self.lags, 1), x], 1)[:, -self.lags :]
        out = np.empty((len(x), steps, x.shape[-1]))
        for k in range(steps):
            out[:, k] = self._predict(window)[:, -1]
            window = np.concatenate([window[:, 1:], out[:, k : k + 1]], 1)
        return out
