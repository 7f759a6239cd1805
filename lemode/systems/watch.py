"""What goes wrong in a long solve is found while it runs: values that are no derivatives, a stiff system, and no news for minutes."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..errors import SolveError
from ..types import Array

__all__ = ["Watch", "derivatives", "silent"]

CHECK_EVERY = 50_000  # evaluations, after which stability is looked at
TOO_MANY = 1_000_000  # further evaluations of a stiff system
PATIENCE = 5.0  # seconds without a sign of progress
PAUSE = 30.0  # seconds between two lines in a file, in which a bar would leave its control characters
# evaluations a step, and half of the decay rate times step at which the explicit method turns unstable (Hairer and Wanner, IV.2)
EXPLICIT = {"DOP853": (12, 3.0), "RK45": (6, 1.6), "RK23": (3, 1.2)}

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Inside it no solve of a system shows a progress bar; otherwise one does when it takes more than 5 seconds.

    Examples
    --------
    >>> with silent():
    ...     x = lemode.systems.Lorenz63().solve([1.0, 1.0, 20.0], [0.0, 1.0])
    """
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def _screen() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def derivatives(value: Any, shape: tuple[int, ...], t: Any, x: Any) -> Array:
    """What a user's right-hand side returned for a state of the given shape, as float64; ValueError if that is no derivative.

    Examples
    --------
    >>> derivatives([1, 2], (2,), 0.0, np.zeros(2))
    array([1., 2.])
    >>> derivatives(None, (2,), 0.0, np.zeros(2))
    Traceback (most recent call last):
    ValueError: rhs returned NoneType at t=0, x=[0. 0.]: return one real derivative per variable, shape (2,).
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # ragged lists; tensors that require grad
        array = np.empty(shape, dtype=object)
    real = array.dtype.kind in "biuf"
    if not real or array.shape != shape:
        what = f"shape {array.shape}" if real else "no real numbers" if array.ndim else type(value).__name__
        raise ValueError(f"rhs returned {what} at {_at(t, x)}: return one real derivative per variable, shape {shape}.")
    return array.astype(np.float64, copy=False)


class Watch:
    """A right-hand side ``f(t, y)`` of flat vectors that is watched while scipy integrates it; closed, it takes down its bar.

    Examples
    --------
    >>> with Watch(lambda t, y: -y, (1, 2), "DOP853", 0.0, 1.0) as rhs:
    ...     rhs.start(np.ones(2))
    ...     rhs(0.5, np.ones(2))
    array([-1., -1.])
    >>> with Watch(lambda t, y: y * np.nan, (1, 2), "DOP853", 0.0, 1.0) as rhs:
    ...     rhs.start(np.ones(2))
    Traceback (most recent call last):
    ValueError: rhs returned nan at t=0, x=[1. 1.], where the solution starts: give another initial state, or check rhs there.
    """

    def __init__(
        self,
        rhs: Callable[[float, Array], Any],
        shape: tuple[int, int],
        method: str,
        start: float,
        end: float,
        jacobian: Callable[[float, Array], Any] | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.rhs, self.shape, self.method, self.jacobian = rhs, shape, method, jacobian
        self.t0, self.t1, self.part = float(start), float(end), part
        self.calls, self.broken, self.pace_from = 0, 0, float(start)
        self.bad: str | None = None  # where rhs last began not to be finite
        self.began, self.said = time.monotonic(), -np.inf
        self.bar: Any = None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def start(self, y: Array) -> None:
        """Try the initial states: a solver that starts from nan may never come back."""
        value = self(self.t0, y).reshape(self.shape)
        wrong = ~np.isfinite(value).all(1)
        if wrong.any():
            raise ValueError(
                f"rhs returned {self.bad}, where the solution starts: give another initial state, or check rhs there."
            )

    def __call__(self, t: float, y: Array) -> Array:
        value = np.asarray(self.rhs(t, y))
        if value.shape != y.shape:
            raise ValueError(f"rhs returned shape {value.shape} at {_at(t, y)}: return one derivative per variable.")
        self.calls += 1
        if np.isfinite(value).all():
            self.broken = 0
        else:
            self._note(t, y, value)
        if self.calls % CHECK_EVERY == 0:
            self._stiffness(t, y)
        if not _quiet.get() and time.monotonic() - self.began > PATIENCE:
            self._show(t)
        return value

    def _note(self, t: float, y: Array, value: Array) -> None:
        """A trial step may leave the domain, and is then taken back; not a thousand times running."""
        if self.broken == 0:
            rows, states = value.reshape(self.shape), y.reshape(self.shape)
            k = int(np.argmax(~np.isfinite(rows).all(1)))
            self.bad = f"{rows[k][~np.isfinite(rows[k])][0]} at {_at(t, states[k])}"
        self.broken += 1
        if self.broken > 1000:
            raise SolveError(f"{self.method} does not get on: rhs returned {self.bad}. Check rhs there.")

    def _stiffness(self, t: float, y: Array) -> None:
        pace, self.pace_from = (t - self.pace_from) / CHECK_EVERY, t
        if self.method not in EXPLICIT or self.jacobian is None:
            return
        remaining = (self.t1 - t) / pace if pace > 0 else np.inf
        stages, limit = EXPLICIT[self.method]
        if remaining < TOO_MANY:
            return
        states = y.reshape(self.shape)
        J = np.asarray(self.jacobian(t, states[:: max(1, len(states) // 16)]), dtype=np.float64)
        if not np.isfinite(J).all():
            return
        rates = -np.linalg.eigvals(J).real
        fast = float(rates.max())
        if fast * max(pace, 0.0) * stages > limit:
            member = rates[int(rates.max(1).argmax())]
            slow = float(member[member > 0].min())
            raise SolveError(
                f"{self.method} is at t={t:g} of {self.t1:g} after {self.calls:,} evaluations of rhs, and would need about "
                f"{remaining:.1e} more: the system is stiff (decay rates from {slow:.3g} to {fast:.3g}). Use method='Radau'."
            )

    def _show(self, t: float) -> None:
        k, parts = self.part
        done = (k + (t - self.t0) / (self.t1 - self.t0)) / parts
        if not _screen():
            if time.monotonic() - self.said > PAUSE:
                print(f"solve by {self.method}: {max(0.0, done):.0%}", file=sys.stderr, flush=True)
                self.said = time.monotonic()
            return
        from tqdm.auto import tqdm

        if self.bar is None:
            bar = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
            self.bar = tqdm(total=1.0, desc=f"solve by {self.method}", bar_format=bar, mininterval=0.5, leave=False)
        self.bar.update(max(0.0, done - self.bar.n))


def _at(t: Any, x: Any) -> str:
    x = np.asarray(x)
    shown = np.array2string(x.ravel()[:6], precision=4, separator=" ")
    return f"t={float(np.max(t)):g}, x={shown[:-1] + ' ...]' if x.size > 6 else shown}"
