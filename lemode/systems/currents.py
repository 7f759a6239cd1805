"""Input currents: functions of time with one value a trajectory, drawn from two stated families or given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .._renamed import renamed
from ..types import Array

__all__ = ["Current", "Given", "SmoothCurrent", "Steps"]


@runtime_checkable
class Current(Protocol):
    """I(t) of n trajectories; where it jumps, the value from then on.

    Examples
    --------
    >>> pulse = Given(lambda t: 1.0 if t >= 5 else 0.0, n=2, breaks=np.array([5.0]))
    >>> isinstance(pulse, Current), pulse.breaks, pulse(6.0)
    (True, array([5.]), array([1., 1.]))
    """

    def __call__(self, t: float | Array) -> Array:
        """``(n,)`` at one time, ``(n, T)`` at times ``(T,)``."""
        ...

    @property
    def breaks(self) -> Array:
        """The times at which any of the n currents is not smooth: a solver has to stop there."""
        ...


@dataclass(frozen=True)
class SmoothCurrent:
    r"""Sums of m sines.

    .. math:: I(t) = \bar I + \sum_{k=1}^{m} A_k \sin(2 \pi t / P_k + \varphi_k)

    mean : (n,); amplitude, wavelength, phase : (n, m)

    Examples
    --------
    >>> I = SmoothCurrent.sample(100, np.random.default_rng(0))
    >>> values = I(np.linspace(0, 1000, 2001))
    >>> values.shape, bool((values >= 0).all() and (values <= 1).all())
    ((100, 2001), True)
    """

    mean: Array
    amplitude: Array
    wavelength: Array
    phase: Array

    breaks = np.empty(0)

    @classmethod
    def sample(
        cls,
        n: int,
        rng: np.random.Generator,
        low: float = 0.0,
        high: float = 1.0,
        shortest: float = 40.0,
        longest: float = 400.0,
    ) -> SmoothCurrent:
        """Four sines a trajectory, within [low, high] at all times.

        The mean is uniform in [low, high]. The sines share a uniform 20 to 100 % of its distance to the nearer end, in
        proportions uniform on the simplex; their periods are log-uniform in [shortest, longest] and their phases uniform.
        """
        mean = rng.uniform(low, high, n)
        room = np.minimum(mean - low, high - mean) * rng.uniform(0.2, 1.0, n)
        amplitude = rng.dirichlet(np.ones(4), n) * room[:, None]
        wavelength = np.exp(rng.uniform(np.log(shortest), np.log(longest), (n, 4)))
        return cls(mean, amplitude, wavelength, rng.uniform(0, 2 * np.pi, (n, 4)))

    def __call__(self, t: float | Array) -> Array:
        time = np.asarray(t, dtype=np.float64)
        new = (1,) * time.ndim  # axes for the times
        angle = 2 * np.pi * time / self.wavelength.reshape(self.wavelength.shape + new) + self.phase.reshape(
            self.phase.shape + new
        )
        waves = np.einsum("nm,nm...->n...", self.amplitude, np.sin(angle))
        return np.asarray(self.mean.reshape((-1, *new)) + waves)


@dataclass(frozen=True)
class Steps:
    r"""Piecewise constant: level k while :math:`t_k \le t < t_{k+1}`; the first before, the last ever after.

    breaks : (K,) increasing, the same for all trajectories; levels : (n, K)

    Examples
    --------
    >>> I = Steps(breaks=np.array([0.0, 10.0]), levels=np.array([[0.2, 0.7]]))
    >>> I(np.array([9.99, 10.0]))
    array([[0.2, 0.7]])
    """

    breaks: Array
    levels: Array

    @classmethod
    def sample(
        cls,
        n: int,
        rng: np.random.Generator,
        t: Array,
        low: float = 0.0,
        high: float = 1.0,
        hold: float = 20.0,
        change: float = 0.4,
    ) -> Steps:
        """Levels uniform in [low, high], kept for ``hold / change`` time units on average.

        At the first of the sampling times t ``(T,)`` after each of t[0], t[0] + hold, ... every trajectory draws a new level
        with probability `change`. So a sample of the current is the current of the whole interval that follows.
        """
        marks = np.arange(t[0], t[-1], hold)
        # a time that is meant to be a mark may miss it by rounding
        breaks = t[np.unique(np.searchsorted(t, marks - 1e-9 * max(hold, abs(float(t[-1])))))]
        levels = rng.uniform(low, high, (n, len(breaks)))
        new = rng.uniform(size=levels.shape) < change
        new[:, 0] = True
        latest = np.maximum.accumulate(np.where(new, np.arange(len(breaks)), 0), axis=1)
        return cls(breaks, np.take_along_axis(levels, latest, 1))

    def __call__(self, t: float | Array) -> Array:
        level = np.maximum(np.searchsorted(self.breaks, t, side="right") - 1, 0)
        return np.asarray(self.levels[:, level])


@dataclass(frozen=True)
class Given:
    """A user's function of one time, whose value is a number or ``(n,)``; smooth but at the `breaks`.

    Examples
    --------
    >>> ramp = Given(lambda t: 0.1 * t, n=3, breaks=np.empty(0))
    >>> ramp(np.array([0.0, 5.0])).shape
    (3, 2)
    """

    function: Callable[[float], Any]
    n: int
    breaks: Array

    def __call__(self, t: float | Array) -> Array:
        values = [np.broadcast_to(np.asarray(self.function(float(s)), dtype=np.float64), self.n) for s in np.ravel(t)]
        return np.stack(values, -1).reshape((self.n, *np.shape(t)))


__getattr__ = renamed(__name__, {"Smooth": f"{__name__}.SmoothCurrent"})
