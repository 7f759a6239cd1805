"""Sparse identification of a polynomial right-hand side, by pysindy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..systems.base import CallableSystem, SolveError
from .base import Baseline, need

__all__ = ["SINDy"]

Array = NDArray[np.float64]


class SINDy(Baseline):
    r"""Sparse polynomial ODE, fitted to finite differences of fourth order and solved between the samples. Needs the full state.

    .. math:: \dot x = \Theta(x)\,\Xi, \qquad \Xi \text{ sparse, by sequentially thresholded least squares}

    with the polynomials :math:`\Theta` up to the degree, in normalised variables. A forecast that blows up is not finite.

    Parameters
    ----------
    degree : of the polynomials
    threshold : below which a coefficient of the normalised problem is set to zero

    Examples
    --------
    It finds the equations of a rotation, dx/dt = y, dy/dt = -x:

    >>> t = np.linspace(0, 10, 501)
    >>> circle = np.stack([np.sin(t), np.cos(t)], -1)
    >>> model = SINDy(degree=1).fit(lemode.Trajectories(t[:400], circle[None, :400], ("x", "y")))
    >>> bool(np.abs(model.forecast(circle[:400], steps=101) - circle[400:]).max() < 1e-4)
    True

    References
    ----------
    Brunton, Proctor, Kutz, Proc. Natl. Acad. Sci. 113 (2016) 3932-3937; de Silva et al., PySINDy, J. Open Source Softw. 5 (2020) 2104.
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
