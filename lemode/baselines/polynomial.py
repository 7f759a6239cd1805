"""A polynomial map of the last values, solved for exactly: next-generation reservoir computing."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement

import numpy as np

from ..surrogate.least_squares import StreamingQR
from ..surrogate.parameters import check_count, check_number
from .base import Array, Baseline

__all__ = ["Polynomial"]


class Polynomial(Baseline):
    r"""The increment as a polynomial of the present value and of some before it, next-generation reservoir computing.

    .. math:: \hat x_{k+1} = x_k + s \odot \sum_{|\alpha| \le \text{degree}} c_\alpha\, (x_k, x_{k-1}, \dots, x_{k-p})^\alpha

    in normalised variables, by the least squares that `lemode.Surrogate` has for its readouts. For the full state of a system with a
    polynomial right-hand side, and a short step, it is hard to beat.

    Parameters
    ----------
    degree : of the polynomial
    delays : p, previous values that are read
    ridge : penalty on all coefficients but the constant and the linear ones, in units of their mean square
    observe : variables to learn, all by default

    Raises
    ------
    ValueError
        For parameters out of range, or more than 5,000 monomials.

    Examples
    --------
    >>> t = np.linspace(0, 20, 401)
    >>> logistic = (1 / (1 + np.exp(-t[:, None] + 3 * np.arange(5)))).T[..., None]
    >>> model = Polynomial(degree=4).fit(logistic)
    >>> float(model.rmse(logistic)) < 1e-6
    True

    References
    ----------
    Gauthier, Bollt, Griffith, Barbosa, Next generation reservoir computing, Nature Communications 12 (2021) 5564.
    """

    def __init__(self, degree: int = 2, delays: int = 0, ridge: float = 1e-20, observe: tuple[str, ...] | None = None) -> None:
        self.degree = degree
        self.delays = delays
        self.ridge = ridge
        self.observe = observe

    def _fit(self, x: Array) -> None:
        check_count("degree", self.degree)
        check_count("delays", self.delays, 0)
        check_number("ridge", self.ridge, zero=True)
        variables = x.shape[-1] * (1 + self.delays)
        count = math.comb(variables + self.degree, self.degree) - 1 - variables
        if count > 5000:
            raise ValueError(f"degree={self.degree}, delays={self.delays}: {count:,} monomials; give less, for at most 5,000.")
        self.monomials_ = [c for k in range(2, self.degree + 1) for c in combinations_with_replacement(range(variables), k)]
        self.increment_ = np.sqrt((np.diff(x, axis=1) ** 2).mean((0, 1)))
        columns = 1 + variables + len(self.monomials_)
        fit = StreamingQR(columns, x.shape[-1], 1 + variables)
        for series in x:
            fit.add(self._features(series[:-1]), np.diff(series, axis=0) / self.increment_)
        self.coefficients_ = fit.solve([self.ridge])[0].coefficients

    def _features(self, series: Array) -> Array:
        """One, the values and the monomials along a series ``(T, D)``; before its first value that value is repeated."""
        padded = np.concatenate([np.repeat(series[:1], self.delays, 0), series])
        T, p = len(series), self.delays
        v = np.concatenate([padded[p - j : p - j + T] for j in range(p + 1)], 1)
        return np.concatenate([np.ones((T, 1)), v, *(v[:, c].prod(1)[:, None] for c in map(list, self.monomials_))], 1)

    def _predict(self, x: Array) -> Array:
        return np.stack([s + self.increment_ * (self._features(s) @ self.coefficients_) for s in x])

    def _forecast(self, x: Array, steps: int) -> Array:
        n, T, D = x.shape
        p, out = self.delays, np.empty((n, steps, D))
        past = np.concatenate([np.repeat(x[:, :1], p, 1), x], 1)[:, T - 1 :]  # the last p + 1 values
        for k in range(steps):
            v = past[:, ::-1].reshape(n, -1)
            f = np.concatenate([np.ones((n, 1)), v, *(v[:, c].prod(1)[:, None] for c in map(list, self.monomials_))], 1)
            out[:, k] = past[:, -1] + self.increment_ * (f @ self.coefficients_)
            past = np.concatenate([past[:, 1:], out[:, k : k + 1]], 1)
        return out
