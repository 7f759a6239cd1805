r"""Fields on a periodic interval, :math:`u_t + u\,u_x = A u`, by a dealiased Fourier-Galerkin method and ETDRK4."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import SolveError
from ..types import Array
from ._arrays import constant, module_of
from .base import System
from .etdrk4 import ETDRK4

__all__ = ["FlowMap", "PeriodicField", "ResolutionWarning"]

TAIL = 1e-3  # of the largest amplitude: above it the high wavenumbers that are missing matter visibly


class ResolutionWarning(UserWarning):
    """The grid is too coarse for the solution: the spectrum has not decayed where it is cut off.

    Examples
    --------
    >>> from lemode.systems import Burgers
    >>> coarse = Burgers(N=16)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = coarse.solve(np.sin(2 * np.pi * coarse.grid / coarse.L), [0.0, 2.0])
    >>> caught[0].category.__name__, str(caught[0].message)[-5:]
    ('ResolutionWarning', 'N=32.')
    """


@dataclass(frozen=True)
class PeriodicField(System):
    r"""N values of a field u(x, t) on [0, L), with :math:`u_t + (u^2/2)_x = A u` and A diagonal in Fourier space.

    The state is u on the grid. Products are evaluated on 3N/2 points, which removes all aliasing, so that this is the Galerkin
    method for the wavenumbers below N/2. (The unpaired wavenumber N/2 of an even N is only damped.) The mean of u is conserved
    to rounding. A subclass defines `symbol`.

    Examples
    --------
    An equation of one's own, :math:`u_t + u u_x = -u_{xxxx}`:

    >>> class Smoothing(PeriodicField):
    ...     def symbol(self, q): return -(q**4)
    >>> field = Smoothing(L=2 * np.pi, N=32, step=0.01)
    >>> u = field.solve(1 + np.sin(field.grid), [0.0, 0.5])
    >>> round(float(u[-1].mean()), 12), bool(np.ptp(u[-1]) < np.ptp(u[0]))
    (1.0, True)
    """

    L: float
    N: int
    step: float

    method = "ETDRK4"

    def __post_init__(self) -> None:
        if self.N < 8:
            raise ValueError(f"N={self.N}: give at least 8 grid points.")
        for name in ("L", "step"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name}={getattr(self, name)}: give a finite positive number.")

    def symbol(self, q: Array) -> Array:
        """A as a function of the wavenumber q ``(K,)``, real."""
        raise NotImplementedError

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f"u{i}" for i in range(self.N))

    @cached_property
    def grid(self) -> Array:
        """The N points in [0, L)."""
        return np.asarray(self.L * np.arange(self.N) / self.N)

    @cached_property
    def wavenumbers(self) -> Array:
        """Of the real Fourier transform, (N // 2 + 1,)."""
        return np.asarray(2 * np.pi / self.L * np.arange(self.N // 2 + 1))

    @cached_property
    def _linear(self) -> Array:
        return self.symbol(self.wavenumbers)

    @cached_property
    def _minus_derivative(self) -> NDArray[np.complex128]:
        d = np.asarray(-1j * self.wavenumbers, dtype=np.complex128)
        if self.N % 2 == 0:
            d[-1] = 0.0
        return d

    # -- the equation ---------------------------------------------------------------------------------------------------

    def _fine(self, v: Any) -> Any:
        """From Fourier coefficients to 3N/2 points, without the unpaired wavenumber."""
        xp, M = module_of(v), self._fine_points
        keep = (self.N + 1) // 2
        pad = xp.zeros((*v.shape[:-1], M // 2 + 1 - keep), dtype=v.dtype)
        return xp.fft.irfft(xp.concatenate([v[..., :keep], pad], -1), M) * (M / self.N)

    def _flux(self, product: Any) -> Any:
        """Minus the derivative of values at 3N/2 points, as Fourier coefficients."""
        v = module_of(product).fft.rfft(product)[..., : self.N // 2 + 1] * (self.N / self._fine_points)
        return constant(self._minus_derivative, v) * v

    @property
    def _fine_points(self) -> int:
        return 2 * ((3 * self.N + 3) // 4)

    def rhs(self, t: Any, x: Any) -> Any:
        fft = module_of(x).fft
        v = fft.rfft(x)
        return fft.irfft(constant(self._linear, x) * v + self._flux(self._fine(v) ** 2 / 2), self.N)

    def jacobian(self, t: Any, x: Any) -> Any:
        xp = module_of(x)
        eye = xp.fft.rfft(constant(np.eye(self.N), x))
        fine = self._fine(xp.fft.rfft(x))[..., None, :]
        columns = constant(self._linear, x) * eye + self._flux(fine * self._fine(eye))
        return xp.swapaxes(xp.fft.irfft(columns, self.N), -1, -2)

    # -- its solution ---------------------------------------------------------------------------------------------------

    def solve(self, x0: ArrayLike, t: ArrayLike, method: str | None = None, rtol: float = 1e-10, atol: float = 1e-12) -> Array:
        """As `System.solve`; by default with ETDRK4 and steps of at most `step` that divide the intervals of t evenly.

        Every method of `System.solve` works, too; rtol and atol are theirs. `ResolutionWarning` if the amplitudes at the
        highest eighth of the wavenumbers exceed 1e-3 of the largest at any of the times after the first.
        """
        x, times = np.asarray(x0, dtype=np.float64), np.asarray(t, dtype=np.float64)
        if (method or self.method) == "ETDRK4":
            self._check(x, times)
            u = self._etdrk4(x, times)
        else:
            u = super().solve(x, times, method, rtol, atol)
        self._warn_if_coarse(u[..., 1:, :])
        return u

    def _etdrk4(self, x: Array, t: Array) -> Array:
        integrators: dict[tuple[float, int], ETDRK4] = {}
        v, out = np.fft.rfft(x), [x]
        with np.errstate(over="ignore", invalid="ignore"):
            for k, interval in enumerate(np.diff(t)):
                count = max(1, int(np.ceil(interval / self.step - 1e-9)))
                h = float(f"{interval / count:.12g}")  # intervals that differ by rounding share an integrator
                integrator = integrators.setdefault((h, count), ETDRK4(self._linear, h))
                for _ in range(count):
                    v = integrator.step(v, lambda w: self._flux(self._fine(w) ** 2 / 2))
                if not np.isfinite(v).all():
                    raise SolveError(
                        f"ETDRK4 stopped between t={t[k]:g} and {t[k + 1]:g} (of {t[-1]:g}): the solution is not finite. Take a "
                        f"step smaller than {self.step:g}, or more points than N={self.N}."
                    )
                out.append(np.fft.irfft(v, self.N))
        return np.stack(out, -2)

    def tail(self, u: Array) -> float:
        """Amplitude in the highest eighth of the wavenumbers, relative to the largest (mean apart), over all of u ``(..., N)``.

        Examples
        --------
        >>> from lemode.systems import KuramotoSivashinsky
        >>> ks = KuramotoSivashinsky(L=22, N=32)
        >>> ks.tail(np.cos(2 * np.pi * ks.grid / ks.L)) < 1e-15  # one wave, resolved
        True
        """
        amplitude = np.abs(np.fft.rfft(u))[..., 1 : (self.N + 1) // 2]
        high = amplitude[..., -max(1, amplitude.shape[-1] // 8) :]
        return float(high.max() / max(amplitude.max(), np.finfo(float).tiny))

    def _warn_if_coarse(self, u: Array) -> None:
        tail = self.tail(u)
        if tail > TAIL:
            warnings.warn(
                f"{type(self).__name__}(L={self.L:g}, N={self.N}) does not resolve this solution: its spectrum is still at {tail:.1g} "
                f"of its maximum at the highest wavenumbers (should be below {TAIL:g}). Take more points, N={2 * self.N}.",
                ResolutionWarning,
                stacklevel=3,
            )

    def flow_map(self, dt: float) -> FlowMap:
        """The map u(t) -> u(t + dt) and its Jacobian, e.g. for `lemode.analysis.lyapunov.spectrum_of_map`.

        Examples
        --------
        >>> from lemode.systems import KuramotoSivashinsky
        >>> ks = KuramotoSivashinsky(L=22, N=32)
        >>> u = np.cos(2 * np.pi * ks.grid / ks.L)
        >>> bool(np.allclose(ks.flow_map(0.5)(u), ks.solve(u, [0.0, 0.5])[-1], atol=1e-12))
        True
        """
        return FlowMap(self, dt)


class FlowMap:
    r"""u to u a time dt later, with its exact Jacobian, by ETDRK4 applied to the equation and its linearisation

    .. math:: \delta_t + (u\,\delta)_x = A\,\delta .

    Raises
    ------
    ValueError
        For a time that is not positive.

    Examples
    --------
    The Jacobian beside a difference quotient:

    >>> from lemode.systems import KuramotoSivashinsky
    >>> ks = KuramotoSivashinsky(L=22, N=32)
    >>> flow, u = ks.flow_map(0.1), np.cos(2 * np.pi * ks.grid / ks.L)
    >>> quotient = (flow(u + 1e-6 * np.eye(32)) - flow(u - 1e-6 * np.eye(32))).T / 2e-6
    >>> bool(np.abs(flow.jacobian(u) - quotient).max() < 1e-7)
    True
    """

    def __init__(self, field: PeriodicField, dt: float) -> None:
        if not (np.isfinite(dt) and dt > 0):
            raise ValueError(f"dt={dt}: give a finite positive time.")
        self.field, self.dt = field, dt
        self.count = max(1, int(np.ceil(dt / field.step - 1e-9)))
        self.integrator = ETDRK4(field._linear, dt / self.count)

    def __call__(self, u: Array) -> Array:
        """u ``(..., N)``; the same shape."""
        v = np.fft.rfft(u)
        for _ in range(self.count):
            v = self.integrator.step(v, lambda w: self.field._flux(self.field._fine(w) ** 2 / 2))
        return np.asarray(np.fft.irfft(v, self.field.N))

    def tangent(self, u: Array, Q: Array) -> tuple[Array, Array]:
        """(the map of u, its Jacobian times Q) for u ``(..., N)`` and Q ``(..., N, k)``."""
        field = self.field
        v = np.fft.rfft(np.concatenate([u[..., None, :], np.swapaxes(Q, -1, -2)], -2))  # u and the tangents as rows

        def nonlinear(w: NDArray[np.complex128]) -> NDArray[np.complex128]:
            fine = field._fine(w)
            base = fine[..., :1, :]
            products = fine * base
            products[..., :1, :] /= 2
            return np.asarray(field._flux(products))

        for _ in range(self.count):
            v = self.integrator.step(v, nonlinear)
        out = np.fft.irfft(v, field.N)
        return out[..., 0, :], np.swapaxes(out[..., 1:, :], -1, -2)

    def jacobian(self, u: Array) -> Array:
        """``(..., N, N)``."""
        N = self.field.N
        return self.tangent(u, np.broadcast_to(np.eye(N), (*u.shape, N)))[1]
