"""Delay equations: the method of steps, and their spectral discretisation as an ordinary system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import SolveError
from ..trajectories import Trajectories
from ..types import Array
from ._arrays import constant, module_of
from .base import System
from .watch import Watch

__all__ = ["ChebyshevDelay", "DelaySystem"]

History = Callable[[float], Any]


class DelaySystem(System):
    r"""A delay equation :math:`\dot x(t) = f(t, x(t), x(t - \tau))` with one delay.

    Its state is a piece of history, so `rhs` and `jacobian` take the delayed value as well; `discretized` is the same equation as an
    ordinary system, for everything that needs one. A subclass defines `tau`, `feedback` and `slopes`.

    Examples
    --------
    x'(t) = -x(t - 1) from the history 1 is the line 1 - t, then a parabola, 1/2 - (t - 1) + ... :

    >>> class Echo(DelaySystem):
    ...     names, tau = ("x",), 1.0
    ...     def feedback(self, t, x, delayed): return -delayed
    ...     def slopes(self, t, x, delayed): return 0 * x[..., None], -np.ones_like(x)[..., None]
    >>> Echo().solve([1.0], [0.0, 0.5, 1.0, 2.0])[:, 0].round(8) + 0.0
    array([ 1. ,  0.5,  0. , -0.5])
    """

    tau: float

    def feedback(self, t: Any, x: Any, delayed: Any) -> Any:
        """f, for x and delayed ``(..., D)``."""
        raise NotImplementedError

    def slopes(self, t: Any, x: Any, delayed: Any) -> tuple[Any, Any]:
        """df/dx and df/d(delayed), ``(..., D, D)`` each."""
        raise NotImplementedError

    def rhs(self, t: Any, x: Any, delayed: Any = None) -> Any:
        """f(t, x(t), x(t - tau))."""
        return self.feedback(t, x, self._given(delayed))

    def jacobian(self, t: Any, x: Any, delayed: Any = None) -> Any:
        """``(..., D, 2 D)``: the derivatives by x(t), and by x(t - tau)."""
        return module_of(x).concatenate(self.slopes(t, x, self._given(delayed)), -1)

    def _given(self, delayed: Any) -> Any:
        if delayed is None:
            name = type(self).__name__
            raise TypeError(
                f"{name} is a delay equation: give x(t - tau), too, or use {name}(...).discretized(), an ordinary system."
            )
        return delayed

    def discretized(self, m: int = 40) -> ChebyshevDelay:
        """The equation as an ordinary system in the values at m + 1 Chebyshev points of the last tau.

        Examples
        --------
        >>> from lemode.systems import MackeyGlass
        >>> len(MackeyGlass().discretized(m=20).names)
        21
        """
        return ChebyshevDelay(self, m)

    def solve(
        self,
        x0: ArrayLike,
        t: ArrayLike,
        method: str | None = None,
        rtol: float = 1e-10,
        atol: float = 1e-12,
        history: History | None = None,
    ) -> Array:
        """Solve by the method of steps: an ordinary equation on each interval of length tau, given the solution on the one before.

        The solution has a kink at t[0], in the second derivative a tau later, and so on. DOP853 starts anew at each of these
        points, so none lies within a step; between its steps the past is its continuous extension of order 7. Trajectories are
        advanced together. At the default tolerances Mackey-Glass is accurate to 3e-9 over the first 300 time units.

        Parameters
        ----------
        x0 : (D,) or (n, D), the state at t[0], and the constant history before it unless `history` is given
        t : (T,) increasing output times
        method : 'DOP853' only
        rtol, atol : tolerances of the local error
        history : function of times up to t[0] with values shaped as x0, and x0 at t[0]

        Returns
        -------
        (T, D) or (n, T, D) float64

        Raises
        ------
        SolveError, ValueError
            As `System.solve`.
        """
        from scipy.integrate import solve_ivp

        from .batch_solver import BatchDOP853

        x, times = np.asarray(x0, dtype=np.float64), np.asarray(t, dtype=np.float64)
        self._check(x, times)
        if method not in (None, "DOP853"):
            raise ValueError(f"method={method!r}: a delay equation is solved by the method of steps with 'DOP853'.")
        rows = x.reshape(-1, x.shape[-1])
        past = _Past(lambda s: rows if history is None else history(s), rows.shape)
        if history is not None and not np.allclose(past(times[0]), rows):
            raise ValueError("history does not end at x0: give x0 = history(t[0]).")
        pieces, start, state = [rows[None]], times[0], rows.ravel()
        count = int(np.ceil((times[-1] - times[0]) / self.tau - 1e-12))
        for k in range(count):
            end = min(times[0] + (k + 1) * self.tau, times[-1])
            inside = times[(times > start) & (times <= end)]

            def rhs(s: float, y: Array, past: _Past = past) -> Array:
                return np.asarray(self.feedback(s, y.reshape(rows.shape), past(s - self.tau))).ravel()

            with np.errstate(over="ignore", invalid="ignore"), Watch(rhs, rows.shape, "DOP853", start, end) as watched:
                watched.start(state)
                part = solve_ivp(
                    watched, (start, end), state, method=BatchDOP853, dimension=rows.shape[1], dense_output=True, rtol=rtol, atol=atol
                )  # fmt: skip
            if part.status != 0 or not np.isfinite(part.y).all():
                raise SolveError(f"DOP853 stopped shortly after t={part.t[-1]:g} (of {times[-1]:g}): {part.message}")
            if len(inside):
                pieces.append(part.sol(inside).T.reshape(-1, *rows.shape))
            state, start, past = part.y[:, -1], end, _Past(part.sol, rows.shape)
        y = np.concatenate(pieces).transpose(1, 0, 2)
        return y[0] if x.ndim == 1 else y

    def trajectories(
        self,
        n: int,
        t: ArrayLike,
        seed: int | np.random.Generator = 0,
        x0: ArrayLike | None = None,
        transient: float | None = None,
        **solve: Any,
    ) -> Trajectories:
        """n solutions at times t ``(T,)``, on the attractor: solved from constant histories a time `transient` before t[0].

        `transient` is 30 tau, but 0 if x0 is given.
        """
        times = np.asarray(t, dtype=np.float64)
        if transient is None:
            transient = 30 * self.tau if x0 is None else 0.0
        start = self._start(n, np.random.default_rng(seed), x0)
        if transient == 0:
            return Trajectories(times, self.solve(start, times, **solve), self.names)
        return Trajectories(times, self.solve(start, [times[0] - transient, *times], **solve)[:, 1:], self.names)


@dataclass(frozen=True)
class _Past:
    """The solution before, as ``(n, D)``."""

    function: Callable[[float], Any]
    shape: tuple[int, ...]

    def __call__(self, t: float) -> Array:
        return np.asarray(self.function(t), dtype=np.float64).reshape(self.shape)


@dataclass(frozen=True)
class ChebyshevDelay(System):
    r"""A delay equation as an ordinary system: collocation of the history at m + 1 Chebyshev points of [-tau, 0].

    .. math:: \dot U_0 = f(t, U_0, U_m), \qquad \dot U_j = \frac{2}{\tau} \sum_{i=0}^{m} D_{ji} U_i \quad (j = 1 \dots m)

    with :math:`U_j(t) \approx x(t + \theta_j)`, :math:`\theta_j = \tau (\cos(j \pi / m) - 1)/2`, and D Chebyshev's differentiation
    matrix. The state holds :math:`U_0, U_1, \dots`, newest first. It converges faster than any power of m for smooth histories;
    the kink at the start of a solution limits the accuracy until it has been smoothed.

    Examples
    --------
    >>> from lemode.systems import MackeyGlass
    >>> ode = MackeyGlass().discretized(m=10)
    >>> len(ode.names), ode.points[[0, -1]], ode.jacobian(0.0, np.ones(11)).shape
    (11, array([  0., -17.]), (11, 11))

    References
    ----------
    Breda, Diekmann, Gyllenberg, Scarabel, Vermiglio, SIAM J. Appl. Dyn. Syst. 15 (2016) 1-23, equation (3.5); D: Trefethen, Spectral
    Methods in MATLAB (2000), theorem 7.
    """

    equation: DelaySystem
    m: int = 40

    @property
    def method(self) -> str:
        return "DOP853"

    @cached_property
    def names(self) -> tuple[str, ...]:
        base = self.equation.names
        return tuple(name if j == 0 else f"{name}_{j}" for j in range(self.m + 1) for name in base)

    @cached_property
    def points(self) -> Array:
        """The m + 1 times relative to now, 0 first and -tau last."""
        return np.asarray(self.equation.tau * (np.cos(np.pi * np.arange(self.m + 1) / self.m) - 1) / 2)

    @cached_property
    def _transport(self) -> Array:
        """((m + 1) D, (m + 1) D): the rows j >= 1; zeros in the first D."""
        theta, m = self.points, self.m
        c: Array = np.ones(m + 1)
        c[[0, m]] = 2
        c *= (-1.0) ** np.arange(m + 1)
        D = np.outer(c, 1 / c) / (theta[:, None] - theta + np.eye(m + 1))
        D -= np.diag(D.sum(1))
        D[0] = 0.0
        return np.asarray(np.kron(D, np.eye(len(self.equation.names))), dtype=np.float64)

    def rhs(self, t: Any, x: Any) -> Any:
        d = len(self.equation.names)
        moved = x @ constant(self._transport.T, x)
        newest = self.equation.feedback(t, x[..., :d], x[..., -d:])
        return module_of(x).concatenate([newest, moved[..., d:]], -1)

    def jacobian(self, t: Any, x: Any) -> Any:
        xp, d = module_of(x), len(self.equation.names)
        now, then = self.equation.slopes(t, x[..., :d], x[..., -d:])
        middle = xp.zeros((*x.shape[:-1], d, x.shape[-1] - 2 * d), dtype=x.dtype)
        rest = xp.broadcast_to(constant(self._transport[d:], x), (*x.shape[:-1], x.shape[-1] - d, x.shape[-1]))
        return xp.concatenate([xp.concatenate([now, middle, then], -1), rest], -2)

    def sample_initial(self, n: int, rng: np.random.Generator) -> Array:
        """Histories on the attractor, from the method of steps."""
        data = self.equation.trajectories(n, self.points[::-1], rng, rtol=1e-8, atol=1e-8)
        return np.asarray(data.x[:, ::-1].reshape(n, -1))
