"""Sparse identification of a polynomial right-hand side, by pysindy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..systems.base import CallableSystem, SolveError
from .base import Baseline, need

__all__ = ["SINDy"]

Array = NDArray[np.float64]


class SINDy(Baseline):
    """Sparse polynomial ODE, fitted to smoothed derivatives and solved between the samples. Needs the full state.

    Parameters
    ----------
    degree : of the polynomials
    threshold : below which a coefficient of the normalised problem is set to zero
    """

    def __init__(self, degree: int = 3, threshold: float = 0.02, observe: tuple[str, ...] | None = None) -> None:
        self.degree = degree
        self.threshold = threshold
        self.observe = observe

    def _fit(self, x: Array) -> None:
        ps = need("pysindy", "SINDy")
        self.model_ = ps.SINDy(
            optimizer=ps.STLSQ(threshold=self.threshold),
            feature_library=ps.PolynomialLibrary(degree=self.degree),
            differentiation_method=ps.FiniteDifference(order=4),
        )
        self.model_.fit(list(x), t=self.step_)
        library, coefficients = self.model_.feature_library, self.model_.coefficients()

        def rhs(t: float, state: Array) -> Array:
            values: Array = np.asarray(library.transform(np.atleast_2d(state.T))) @ coefficients.T
            return values.T if state.ndim == 2 else values[0]

        self.system_ = CallableSystem(rhs, x.shape[-1])

    def _predict(self, x: Array) -> Array:
        flat = x.reshape(-1, x.shape[-1])
        return self.system_.solve(flat, [0.0, self.step_], rtol=1e-8, atol=1e-8)[:, -1].reshape(x.shape)

    def _forecast(self, x: Array, steps: int) -> Array:
        out = np.full((len(x), steps, x.shape[-1]), np.nan)
        t = self.step_ * np.arange(steps + 1)
        for i, series in enumerate(x):
            try:
                out[i] = self.system_.solve(series[-1], t, rtol=1e-8, atol=1e-8)[1:]
            except SolveError:  # an identified ODE may blow up: that forecast has failed, and stays not finite
                continue
        return out
