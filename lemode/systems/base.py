"""What every system shares: solving it for many initial states, and sampling trajectories."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..errors import SolveError
from ..trajectories import Trajectories
from ..types import Array
from .facts import Fact
from .watch import Watch, derivatives

__all__ = ["CallableSystem", "System"]


class System:
    """An ordinary differential equation x' = f(t, x) with names for its D variables.

    A subclass sets `names` and defines `rhs`, `jacobian` and `sample_initial`, and `method` where the default solver does not
    fit. One that belongs to the library sets what follows, too.

    Attributes
    ----------
    source : where the equations stand, with their numbers
    units : the unit of time, ``"t"``, and of each variable; empty for a dimensionless system
    facts : numbers to check an implementation against, for the default parameters

    Examples
    --------
    A system of one's own:

    >>> class Decay(System):
    ...     names = ("x",)
    ...     def rhs(self, t, x): return -0.5 * x
    ...     def sample_initial(self, n, rng): return rng.uniform(1, 2, (n, 1))
    >>> data = Decay().trajectories(100, np.linspace(0, 4, 41), seed=0)
    >>> data.x.shape, bool(np.allclose(data.x[:, -1], data.x[:, 0] * np.exp(-2)))
    ((100, 41, 1), True)
    >>> Decay().jacobian(0.0, np.ones(1)).round(6)  # by central differences
    array([[-0.5]])
    """

    source: ClassVar[str] = ""
    units: ClassVar[Mapping[str, str]] = MappingProxyType({})
    facts: ClassVar[Mapping[str, Fact]] = MappingProxyType({})

    @property
    def method(self) -> str:
        """The solver to use by default."""
        return "DOP853"

    @property
    def time_scales(self) -> dict[str, float]:
        """The natural time scales, in the unit of t, for these parameters."""
        return {}

    @property
    def time_scale_ratio(self) -> float:
        """The longest of the natural time scales over the shortest; nan where none are known."""
        scales = self.time_scales.values()
        return max(scales) / min(scales) if scales else float("nan")

    @property
    def names(self) -> tuple[str, ...]:
        """The D variables."""
        raise TypeError(f"{type(self).__name__} sets no names for its variables.")

    def rhs(self, t: Any, x: Any) -> Any:
        """f(t, x) for an array or a tensor x ``(..., D)``; the same shape and kind."""
        raise TypeError(f"{type(self).__name__} defines no right-hand side.")

    def jacobian(self, t: Any, x: Any) -> Any:
        """df/dx ``(..., D, D)``; by central differences, to about 1e-9 relative, unless the system knows better."""
        x = np.asarray(x, dtype=np.float64)
        columns = []
        for j in range(x.shape[-1]):
            h = np.cbrt(np.finfo(float).eps) * np.maximum(np.abs(x[..., j : j + 1]), 1.0)
            e = h * np.eye(x.shape[-1])[j]
            columns.append((self.rhs(t, x + e) - self.rhs(t, x - e)) / (2 * h))
        return np.stack(columns, -1)

    def sample_initial(self, n: int, rng: np.random.Generator) -> Array:
        """n initial states ``(n, D)`` from the system's standard distribution."""
        raise TypeError(f"{type(self).__name__} has no standard initial states: give them to solve() or trajectories(x0=...).")

    def solve(self, x0: ArrayLike, t: ArrayLike, method: str | None = None, rtol: float = 1e-10, atol: float = 1e-12) -> Array:
        """Solve for one or many initial states with the error controlled per trajectory.

        DOP853 advances all trajectories at once with the step that the most demanding one needs; the other methods
        of scipy.integrate.solve_ivp solve one after another and are handed the Jacobian. What takes more than 5 seconds shows a
        progress bar, unless within `lemode.systems.silent`.

        Parameters
        ----------
        x0 : (D,) or (n, D), the state at t[0]
        t : (T,) increasing output times
        method : 'DOP853', or for stiff systems 'Radau', 'BDF', 'LSODA'; the system's own `method` by default
        rtol, atol : tolerances of the local error

        Returns
        -------
        (T, D) or (n, T, D) float64

        Raises
        ------
        SolveError
            If the solver stops before t[-1], the solution is not finite, or, looked at every 50,000 evaluations, an explicit method is
            held up by the stability of a stiff system and has more than 1,000,000 evaluations to go.
        ValueError
            For shapes that do not fit or values that are not finite, those of rhs at the initial states among them.

        Examples
        --------
        >>> oscillator = CallableSystem(lambda t, x: np.stack([x[1], -x[0]]), dimension=2)
        >>> x = oscillator.solve([[0.0, 1.0], [1.0, 0.0]], np.linspace(0, np.pi, 5))  # two initial states
        >>> x.shape, x[:, -1].round(8) + 0.0
        ((2, 5, 2), array([[ 0., -1.],
               [-1.,  0.]]))
        """
        from scipy.integrate import solve_ivp  # half a second to import

        from .batch_solver import BatchDOP853

        x0, t = np.asarray(x0, dtype=np.float64), np.asarray(t, dtype=np.float64)
        self._check(x0, t)
        method = method or self.method
        x = x0.reshape(-1, x0.shape[-1])
        options: dict[str, Any] = {"t_eval": t, "rtol": rtol, "atol": atol}
        with np.errstate(over="ignore", invalid="ignore"):  # a blow-up is reported below, with its time
            if method == "DOP853":
                n, D = x.shape
                with Watch(
                    lambda s, y: np.ravel(self.rhs(s, y.reshape(n, D))), (n, D), method, t[0], t[-1], self.jacobian
                ) as rhs:
                    rhs.start(x.ravel())
                    parts = [solve_ivp(rhs, (t[0], t[-1]), x.ravel(), method=BatchDOP853, dimension=D, **options)]
            else:
                parts = []
                for k, state in enumerate(x):
                    jac = {} if method in ("RK45", "RK23") else {"jac": self.jacobian}
                    shape = (1, len(state))
                    with Watch(self.rhs, shape, method, t[0], t[-1], self.jacobian, (k, len(x))) as rhs:
                        rhs.start(state)
                        try:
                            parts.append(solve_ivp(rhs, (t[0], t[-1]), state, method=method, **jac, **options))
                        except ValueError as e:
                            if "infs or NaNs" not in str(e):  # how scipy's implicit methods find it out
                                raise
                            raise SolveError(
                                f"{method} cannot go on: rhs returned {rhs.bad or 'a derivative that overflows'}."
                            ) from None
                    if parts[-1].status != 0:
                        break
        for k, part in enumerate(parts):
            if part.status != 0 or not np.isfinite(part.y).all():
                self._explain(part, t, k if len(parts) > 1 else None, method, rhs.bad)
        y = np.stack([part.y.T.reshape(len(t), -1, x.shape[-1]) for part in parts])  # (parts, T, n per part, D)
        y = y.transpose(0, 2, 1, 3).reshape(len(x), len(t), -1)
        return y[0] if x0.ndim == 1 else y

    def _check(self, x0: Array, t: Array) -> None:
        if x0.ndim not in (1, 2) or x0.shape[-1] != len(self.names) or 0 in x0.shape:
            raise ValueError(
                f"x0 has shape {x0.shape}: give (D,) or (n, D) with D={len(self.names)} ({', '.join(self.names)})."
            )
        if not np.isfinite(x0).all():
            raise ValueError(
                f"x0 holds a value that is not finite, in initial state {int(np.argwhere(~np.isfinite(x0))[0][0])}."
            )
        if t.ndim != 1 or len(t) < 2 or not np.isfinite(t).all() or not np.all(np.diff(t) > 0):
            raise ValueError(f"t has shape {t.shape}: give at least two finite, strictly increasing times.")

    @staticmethod
    def _explain(part: Any, t: Array, k: int | None, method: str, bad: str | None) -> None:
        reached = part.t[-1] if len(part.t) else t[0]
        where = "" if k is None else f" of initial state {k}"
        if bad is not None:
            raise SolveError(
                f"{method} stopped shortly after t={reached:g} (of {t[-1]:g}){where}: rhs returned {bad}. Check rhs there."
            )
        raise SolveError(
            f"{method} stopped shortly after t={reached:g} (of {t[-1]:g}){where}: {part.message} The solution blows up there, or "
            "the system is stiff: check rhs near this time, or try method='Radau'."
        )

    def trajectories(
        self, n: int, t: ArrayLike, seed: int | np.random.Generator = 0, x0: ArrayLike | None = None, **solve: Any
    ) -> Trajectories:
        """n solutions at times t ``(T,)`` from `sample_initial` (or the given ``x0 (n, D)``), as `Trajectories`.

        The seed, or the generator, decides the initial states; further keywords go to `solve`.

        Examples
        --------
        >>> from lemode.systems import FitzHughNagumo
        >>> FitzHughNagumo().trajectories(3, np.linspace(0, 10, 11), seed=0).x[:, 0, 1]  # w starts at 0
        array([0., 0., 0.])
        """
        start = self._start(n, np.random.default_rng(seed), x0)
        return Trajectories(np.asarray(t, dtype=np.float64), self.solve(start, t, **solve), self.names)

    def _start(self, n: int, rng: np.random.Generator, x0: ArrayLike | None) -> Array:
        if x0 is None:
            if n < 1:
                raise ValueError(f"n={n}: give a positive number of trajectories.")
            return self.sample_initial(n, rng)
        if np.shape(x0)[0] != n:
            raise ValueError(f"n={n}, but x0 holds {np.shape(x0)[0]} initial states.")
        return np.asarray(x0, dtype=np.float64)


class CallableSystem(System):
    """A user's own right-hand side ``rhs(t, x)`` with x ``(D,)``, as for scipy.integrate.solve_ivp.

    Where ``rhs`` also accepts columns, x ``(D, n)``, as NumPy code usually does, all trajectories are solved at once;
    this is found out at construction, by comparing both on random states. `lemode.systems.from_callable` is another name.

    Parameters
    ----------
    rhs : callable, f(t, x)
    dimension : int, D
    names : D names of the variables; x0, x1, ... by default
    probe : (D,), a state at which rhs may be tried; 0 by default
    jacobian : callable, df/dx(t, x) ``(D, D)`` of a state ``(D,)``; central differences by default

    Raises
    ------
    ValueError
        If there are not D names, or rhs does not return D derivatives.

    Examples
    --------
    >>> decay = CallableSystem(lambda t, x: -x, dimension=1)
    >>> bool(abs(decay.solve([1.0], [0.0, 1.0])[-1, 0] - np.exp(-1)) < 1e-9)
    True
    """

    names: tuple[str, ...] = ()

    def __init__(
        self,
        rhs: Callable[[float, Array], ArrayLike],
        dimension: int,
        names: Sequence[str] = (),
        probe: ArrayLike | None = None,
        jacobian: Callable[[float, Array], ArrayLike] | None = None,
    ) -> None:
        self.function, self.derivative = rhs, jacobian
        self.names = tuple(names) or tuple(f"x{i}" for i in range(dimension))
        if len(self.names) != dimension:
            raise ValueError(f"names={self.names}: give {dimension} names, one per variable.")
        state = np.zeros(dimension) if probe is None else np.asarray(probe, dtype=np.float64)
        derivatives(rhs(0.0, state), (dimension,), 0.0, state)
        self.vectorized = self._accepts_columns(state)

    def _accepts_columns(self, state: Array) -> bool:
        columns = state[:, None] + 1e-2 * np.random.default_rng(0).standard_normal((len(state), len(state) + 1))
        with np.errstate(all="ignore"):
            single = np.stack([derivatives(self.function(0.0, c.copy()), c.shape, 0.0, c) for c in columns.T], 1)
            try:
                batch = np.asarray(self.function(0.0, columns.copy()), dtype=np.float64)
            except Exception:  # any failure of foreign code here only means: one state at a time
                return False
        return batch.shape == single.shape and np.allclose(batch, single, rtol=1e-12, atol=0, equal_nan=True)

    def rhs(self, t: float | Array, x: Array) -> Array:
        if x.ndim == 1:
            return derivatives(self.function(t, x), x.shape, t, x)  # type: ignore[arg-type]
        flat = x.reshape(-1, x.shape[-1])
        if self.vectorized:
            return np.asarray(self.function(t, flat.T), dtype=np.float64).T.reshape(x.shape)  # type: ignore[arg-type]
        return np.stack([derivatives(self.function(t, row), row.shape, t, row) for row in flat]).reshape(x.shape)  # type: ignore[arg-type]

    def jacobian(self, t: Any, x: Any) -> Any:
        if self.derivative is None:
            return super().jacobian(t, x)
        x = np.asarray(x, dtype=np.float64)
        rows = [np.asarray(self.derivative(t, row), dtype=np.float64) for row in x.reshape(-1, x.shape[-1])]
        return np.stack(rows).reshape(*x.shape, x.shape[-1])
