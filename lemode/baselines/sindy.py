"""Sparse identification of a polynomial right-hand side, by pysindy."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SolveError
from ..surrogate.parameters import check_count, check_number
from ..systems.base import System
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
        check_count("degree", self.degree)
        check_number("threshold", self.threshold, zero=True)
        ps = need("pysindy", "SINDy")
        self.model_ = ps.SINDy(
            optimizer=ps.STLSQ(threshold=self.threshold),
            feature_library=ps.PolynomialLibrary(degree=self.degree),
            differentiation_method=ps.FiniteDifference(order=4),
        )
        self.model_.fit(list(x), t=self.step_)
        self.system_ = _Identified(self.model_, x.shape[-1])

    def _predict(self, x: Array) -> Array:
        return self._solve(x.reshape(-1, x.shape[-1]), np.array([0.0, float(self.step_)]))[:, -1].reshape(x.shape)

    def _forecast(self, x: Array, steps: int) -> Array:
        t = self.step_ * np.arange(steps + 1)
        try:
            return self._solve(x[:, -1], t)
        except SolveError:  # an identified ODE may blow up: each forecast on its own, and what fails stays not finite
            out = np.full((len(x), steps, x.shape[-1]), np.nan)
        for i, series in enumerate(x):
            with contextlib.suppress(SolveError):
                out[i] = self._solve(series[-1:], t)[0]
        return out

    def _solve(self, x0: Array, t: NDArray[Any]) -> Array:
        solution: Array = self.system_.solve(x0, t, rtol=1e-8, atol=1e-8)[:, 1:]
        return solution


class _Identified(System):
    """The identified equations; the library of polynomials itself would take milliseconds a call."""

    def __init__(self, model: Any, dimension: int) -> None:
        coefficients = model.coefficients()
        kept = np.flatnonzero(coefficients.any(0))
        self.dimension, self.coefficients = dimension, coefficients.T[kept]
        powers = model.feature_library.powers_[kept]
        # a term is a product of so many variables, with repetition; what its degree leaves over is the constant 1 behind the variables
        self.factors = np.full((len(kept), int(powers.sum(1).max(initial=0))), dimension)
        for term, exponents in zip(self.factors, powers, strict=True):
            term[: exponents.sum()] = np.repeat(np.arange(dimension), exponents)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"x{i}" for i in range(self.dimension))

    def rhs(self, t: Any, x: Any) -> Any:
        padded = np.concatenate([x, np.ones((*x.shape[:-1], 1))], -1)
        return padded[..., self.factors].prod(-1) @ self.coefficients
