"""FitzHugh-Nagumo with a current that changes in time, a different one for every trajectory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..trajectories import Trajectories
from ..types import Array
from .base import System
from .currents import Current, Given, SmoothCurrent, Steps
from .facts import Fact
from .fitzhugh_nagumo import FitzHughNagumo

__all__ = ["ForcedFitzHughNagumo"]

Forcing = Current | Callable[[float], Any]


@dataclass(frozen=True)
class ForcedFitzHughNagumo(FitzHughNagumo):
    r"""FitzHugh-Nagumo under a current I(t): at rest, spiking, or at rest depolarised, as the current has it.

    .. math:: \dot v = v - v^3/3 - w + I(t), \qquad \dot w = \varepsilon\,(v + a - b\,w)

    With the default constants the state of rest is unstable, and the model spikes, for a constant I between 0.302 and
    1.448 (trace of the Jacobian). `trajectories` returns v, w and I, for surrogates that see the input: ``Surrogate(observe=["v"], inputs=["I"])``.

    Parameters
    ----------
    I : float
        The current where none is given.
    a, b, eps : float
        The constants of the recovery.

    Examples
    --------
    >>> data = ForcedFitzHughNagumo().trajectories(3, np.linspace(0, 40, 101), seed=0)
    >>> data.names, data.x.shape
    (('v', 'w', 'I'), (3, 101, 3))
    """

    source = FitzHughNagumo.source + "; the families of currents are those of lemode/systems/currents.py"
    facts: ClassVar = {
        "lower threshold": Fact(0.3016426455, 1e-9, "exact: I at which the trace of the Jacobian at rest vanishes, v < 0"),
        "upper threshold": Fact(1.4483573545, 1e-9, "exact: the same, v > 0"),
    }

    def solve(
        self,
        x0: ArrayLike,
        t: ArrayLike,
        method: str | None = None,
        rtol: float = 1e-10,
        atol: float = 1e-12,
        current: Forcing | None = None,
        breaks: Sequence[float] = (),
    ) -> Array:
        """As `System.solve`, under `current`: a function of time that returns a number, or ``(n,)`` for n initial states.

        The solver stops and starts again at `breaks`, the times where the function is not smooth: without them a jump costs
        time, and a short pulse may be stepped over. `SmoothCurrent` and `Steps` of lemode.systems.currents bring their own.

        Raises
        ------
        SolveError, ValueError
            As `System.solve`, and for a current without one value for each initial state.

        Examples
        --------
        >>> neuron, t = ForcedFitzHughNagumo(), np.linspace(0, 100, 201)
        >>> kick = lambda s: 1.0 if 20 <= s < 30 else 0.0
        >>> v = neuron.solve([-1.2, -0.62], t, current=kick, breaks=[20, 30])[:, 0]
        >>> bool(v[t <= 20].max() < 0 < v.max())  # at rest, until the pulse makes it spike
        True
        """
        if current is None:
            return super().solve(x0, t, method, rtol, atol)
        x, times = np.asarray(x0, dtype=np.float64), np.asarray(t, dtype=np.float64)
        self._check(x, times)
        rows = x.reshape(-1, 2)
        I = _as_current(current, len(rows), breaks)
        if I(times[0]).shape != (len(rows),):
            raise ValueError(f"current has {len(I(times[0]))} values for {len(rows)} initial states: give one each.")
        if method in (None, "DOP853"):  # advances all trajectories at once
            y = _piecewise(_Driven(self, I, slice(None)), rows, times, "DOP853", rtol, atol)
        else:
            y = np.stack([_piecewise(_Driven(self, I, i), row, times, method, rtol, atol) for i, row in enumerate(rows)])
        return y[0] if x.ndim == 1 else y

    def trajectories(
        self,
        n: int,
        t: ArrayLike,
        seed: int | np.random.Generator = 0,
        x0: ArrayLike | None = None,
        current: str | Forcing = "both",
        breaks: Sequence[float] = (),
        **solve: Any,
    ) -> Trajectories:
        """n solutions with the current as third variable, named "I"; where it jumps, the value from then on.

        Parameters
        ----------
        current : str or function
            'smooth' and 'steps' draw from `SmoothCurrent.sample` and `Steps.sample` with their defaults, 'both' (the default)
            uses the former for the first half of the trajectories and the latter for the others. Or as in `solve`.

        Raises
        ------
        SolveError, ValueError
            As `solve`, and for an unknown name of a current.

        Examples
        --------
        >>> ramp = ForcedFitzHughNagumo().trajectories(2, [0.0, 5.0, 10.0], current=lambda s: 0.05 * s)
        >>> ramp.x[0, :, 2]
        array([0.  , 0.25, 0.5 ])
        """
        times, rng = np.asarray(t, dtype=np.float64), np.random.default_rng(seed)
        start = self._start(n, rng, x0)
        if not isinstance(current, str):
            groups = [(start, _as_current(current, n, breaks))]
        elif current in ("smooth", "steps", "both"):
            half = {"smooth": n, "steps": 0, "both": (n + 1) // 2}[current]
            groups = [(start[:half], SmoothCurrent.sample(half, rng))] if half else []
            groups += [(start[half:], Steps.sample(n - half, rng, times))] if half < n else []
        else:
            raise ValueError(f"current={current!r}: choose 'smooth', 'steps' or 'both', or give a function of time.")
        x = np.concatenate([self.solve(rows, times, current=I, **solve) for rows, I in groups])
        I = np.concatenate([I(times) for _, I in groups])
        return Trajectories(times, np.concatenate([x, I[..., None]], -1), (*self.names, "I"))


def _as_current(current: Forcing, n: int, breaks: Sequence[float]) -> Current:
    if isinstance(current, Current):
        return current
    return Given(current, n, np.array(sorted(breaks), dtype=np.float64))


@dataclass(frozen=True)
class _Driven(System):
    """The model under one or all of the currents, as they are before the time `end`."""

    model: FitzHughNagumo
    current: Current
    which: int | slice
    end: float = np.inf

    names = FitzHughNagumo.names

    def rhs(self, t: float | Array, x: Array) -> Array:
        before = min(float(t), np.nextafter(self.end, -np.inf))  # at its end a step would see the next level
        I: Any = self.current(before)[self.which]
        return replace(self.model, I=I).rhs(t, x)

    def jacobian(self, t: float | Array, x: Array) -> Array:
        return self.model.jacobian(t, x)


def _piecewise(driven: _Driven, x: Array, t: Array, method: str | None, rtol: float, atol: float) -> Array:
    """From each break of the current to the next."""
    breaks = driven.current.breaks
    edges = [t[0], *breaks[(breaks > t[0]) & (breaks < t[-1])], t[-1]]
    pieces = [x[..., None, :]]
    for start, end in pairwise(edges):
        inside = t[(t > start) & (t <= end)]
        stops = np.unique([start, *inside, end])
        y = System.solve(replace(driven, end=end), x, stops, method, rtol, atol)
        pieces.append(y[..., 1 : 1 + len(inside), :])
        x = y[..., -1, :]
    return np.concatenate(pieces, axis=-2)
