"""The network of a field's readout: random LEMs on what surrounds each point, a spectral filter, and a head that knows a mirror."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..conv import ConvLEM
from ..kernels import fields
from .field_network import FieldNetwork, _refuse
from .network import IncrementNetwork
from .readout_network import by_blocks, say
from .series import Series
from .side_by_side import SideBySide

__all__ = ["FieldReadoutNetwork"]


class FieldReadoutNetwork(FieldNetwork):
    r"""One step ahead of a field on a periodic grid, by a head that is linear in all that a point knows.

    .. math::

        \hat u_{k+1} = W u_k + s\, C f_k \quad \text{or} \quad
        \hat u_{k+1}(i) = (W u_k)(i) + s\, C \big(f_k(i) - f_k(i + 1)\big), \qquad
        f_k(i) = \big(w_k(i), \; (y_k, z_k)(i + q) + (y_k, z_k)(i - q) \;\text{for each}\; q \in Q\big)

    with :math:`w_k(i)` the values of :math:`W u_k` around the point i, and y, z the state of the LEMs that read them; on a plane, the sum
    is over the neighbours at the distance q in all four directions. W multiplies each wavenumber by a factor: what in the data is no
    more than noise is not fed back, and the head says anew what it ought to be. It belongs to the sampling and not to the domain, so
    that `on_grid` keeps it. On a plane, the second form is a sum over both directions, each with a head of its own.

    With a parity p of the field, :math:`u(x) \to p\,u(-x)`, f is that of the field and of its mirror image added up: every unit then has
    the symmetry of the equation, and counts for two.

    Parameters
    ----------
    core : reads ``channels * prod(kernel)`` features
    kernel : points that are read around each, in each direction
    grid, conserve, channels : as in `lemode.surrogate.field_network.FieldNetwork`
    parity : -1 or 1, the sign of all channels in a mirror, or None
    shifts : Q, distances in points at which the head reads units beside those of the point, for which there is a 0 (its own count once)

    Attributes
    ----------
    filter : ``(channels, *wavenumbers)``, W, as of `torch.fft.rfftn`; ones at first

    Examples
    --------
    >>> network = FieldReadoutNetwork(SideBySide(5, 20, dtype=torch.float64), (5,), (16,), conserve="mean", parity=-1)
    >>> u = torch.randn(10, 3, 16, dtype=torch.float64)
    >>> next_u, _ = network.step(u)
    >>> mirrored, _ = network.step(-u.flip(-1))
    >>> torch.allclose(mirrored, -next_u.flip(-1), atol=1e-12)
    True
    """

    kernel_rollout = False
    filter: Tensor

    def __init__(
        self,
        core: SideBySide,
        kernel: Sequence[int],
        grid: Sequence[int],
        conserve: str | None = None,
        channels: int = 1,
        parity: int | None = None,
        shifts: Sequence[int] = (0,),
    ) -> None:
        window, directions = channels * math.prod(kernel), len(grid) if conserve else 1
        states = 2 * core.hidden_size * len(shifts)
        super().__init__(core, directions * (window + states), grid, torch.float64, conserve, channels)
        self.kernel, self.parity, self.units, self.shifts = tuple(kernel), parity, core.hidden_size, tuple(shifts)
        self.linear = directions * window
        # a one, treated as all else that a point and its mirror image know
        self.constant = 0.0 if conserve else 1.0 + (parity or 0)
        self.register_buffer("filter", torch.ones(channels, *_wavenumbers(grid), dtype=torch.float64))

    @classmethod
    def like(
        cls, network: IncrementNetwork, units: int, parity: int | None = None, shifts: Sequence[int] = (0,)
    ) -> FieldReadoutNetwork:
        """With the scales of another network and a core like its own but for its size; the weights are yet to be drawn.

        ValueError for one whose core is no ConvLEM of one layer, or has recurrent kernels wider than 1.
        """
        core = network.core
        if not (isinstance(network, FieldNetwork) and isinstance(core, ConvLEM)):
            raise ValueError(f"train='readout' draws LEMs, and the core is {type(core).__name__}: use lemode.FieldSurrogate.")
        if fields.is_wide(core.ode):
            raise ValueError("train='readout' draws a LEM for each point of the grid: give recurrent_kernel_size=1.")
        kernel = core.ode.weight_ih.shape[2:]
        with torch.device("meta"):  # so that torch's global generator is left alone
            members = SideBySide(network.channels * kernel.numel(), units, core.dt, core.scheme.name, torch.float64)
            out = cls(members, kernel, network.grid, network.conserve, network.channels, parity, shifts)
        out.to_empty(device="cpu")
        out.filter.fill_(1.0)
        for name, buffer in network.named_buffers(recurse=False):
            getattr(out, name).copy_(buffer)
        return out

    def rebuilt_from(self) -> dict[str, Any]:
        """Its size, for `like`."""
        return {"units": self.units, "parity": self.parity, "shifts": self.shifts}

    def set_filter(self, spectrum: Tensor, cut: float) -> None:
        r"""The Wiener filter of the data's spectrum P ``(channels, *wavenumbers)`` beside white noise: the mean passes as it is.

        .. math:: W(k) = \frac{P(k)}{P(k) + c}, \qquad W(0) = 1
        """
        self.filter.copy_(spectrum / (spectrum + cut) if cut else torch.ones_like(spectrum))
        self.filter.flatten(1)[:, 0] = 1.0

    def base(self, x: Tensor) -> Tensor:
        """What the increments are added to: W x."""
        u = x.reshape(*x.shape[:2], self.channels, *self.grid)
        smooth = torch.fft.irfftn(torch.fft.rfftn(u, dim=self._axes()) * self.filter, s=self.grid, dim=self._axes())
        return smooth.reshape(x.shape)

    def forward(self, x: Tensor, e: Tensor | None = None, state: Any = None, r: Tensor | None = None) -> tuple[Tensor, Any]:
        """Scaled increments for normalised x ``(T, n, channels * points)``, and the state to go on from."""
        _refuse(e=e, r=r)
        return by_blocks(self._increments, Series(x), state, math.prod(self.grid) * self.head.in_features)

    def _increments(self, part: Series, state: Any) -> tuple[Tensor, Any]:
        (around, units), state = self._known(part.x, state)
        n = part.x.shape[1]
        images = list(zip(around.split(n, 1), units.split(n, 1)))
        out = [torch.cat([self._said(*image, i) for image in images], 1) for i in self._heads()]
        return self._combined(out, n).movedim(-1, 2).reshape(part.x.shape), state

    def _said(self, around: Tensor, units: Tensor, direction: int) -> Tensor:
        """What the head of a direction says. It comes before the shifts and the differences, to which it leaves few numbers."""
        window, states = around.shape[-1], units.shape[-1]
        total = say(self.head, around, direction * window)
        begin = self.linear + direction * len(self.shifts) * states
        for i, q in enumerate(self.shifts):
            total = total + self._shifted(say(self.head, units, begin + i * states), q)
        return total

    def features(self, x: Tensor, e: Tensor | None = None, state: Any = None, r: Tensor | None = None) -> tuple[Tensor, Any]:
        """What the head reads, ``(T, n, *grid, features)``, and the state to go on from; e and r have to be None."""
        _refuse(e=e, r=r)
        (around, units), state = self._known(x, state)
        parts = around, torch.cat([self._shifted(units, q) for q in self.shifts], -1)

        def columns(direction: int) -> Tensor:
            return torch.cat([p if i == direction else torch.zeros_like(p) for p in parts for i in self._heads()], -1)

        return self._combined([columns(i) for i in self._heads()], x.shape[1]), state

    def _heads(self) -> range:
        """The directions, each of which has a head of its own where the mean is conserved."""
        return range(len(self.grid) if self.conserve else 1)

    def _known(self, x: Tensor, state: Any) -> tuple[tuple[Tensor, Tensor], Any]:
        """The windows, and y and z, of each point, ``(T, n, *grid, ...)``, behind them those of the mirror images; and the state."""
        assert isinstance(self.core, SideBySide)
        T, n = x.shape[:2]
        u = self.core_input(self.base(x))
        if self.parity is not None:
            u = torch.cat([u, self.parity * u.flip(self._axes())], 1)
        around = fields.windows(u, torch.Size(self.kernel), circular=True)
        if state is not None:  # series are in the second dimension
            state = tuple(_series_last(s, n, u.shape[1]) for s in state)
        y, z = self.core.states(around, state)
        shape = (T, u.shape[1], *self.grid, -1)
        at_points = around.view(shape), torch.cat([y, z], -1).view(shape)
        return at_points, tuple(_series_first(s[-1:], n, u.shape[1]) for s in (y, z))

    def _shifted(self, s: Tensor, q: int) -> Tensor:
        """The sum of s ``(T, n, *grid, ...)`` over the neighbours at a distance of q points; s itself at none."""
        if q == 0:
            return s
        return torch.stack([s.roll(sign * q, 2 + axis) for axis in range(len(self.grid)) for sign in (1, -1)]).sum(0)

    def _combined(self, parts: list[Tensor], n: int) -> Tensor:
        """What the field and its mirror image say together; where the mean is conserved, what leaves a cell minus what enters it."""
        axes, total = [2 + axis for axis in range(len(self.grid))], []
        for axis, part in zip(axes, parts):
            image = None if self.parity is None else self.parity * part[:, n:].flip(axes)
            f = part[:, :n]
            if self.conserve is None:
                return f if image is None else f + image
            flux = f if image is None else f - image.roll(1, axis)  # it is between two points, and changes sides in a mirror
            total.append(flux - flux.roll(-1, axis))
        return total[0] if len(total) == 1 else torch.stack(total).sum(0)

    def regressors(self, y: Tensor) -> Tensor:
        """As they are: `features` has taken the differences."""
        return y

    def widest(self) -> int:
        """Points from the one end of what the head knows of to the other: the widest kernel, and that of the farthest neighbours."""
        return max(self.kernel) + 2 * max(self.shifts)

    def core_dt(self) -> float | None:
        """That of every member."""
        assert isinstance(self.core, SideBySide)
        return self.core.lems[0].dt

    def set_core_dt(self, dt: float | None) -> None:
        """Put back what `core_dt` said; None is no change."""
        assert isinstance(self.core, SideBySide)
        if dt is not None:
            for member in self.core.lems:
                member.dt = dt

    def on_grid(self, grid: Sequence[int]) -> FieldReadoutNetwork:
        """A copy for a grid of other sizes and the same spacing, with the same filter for the same wavelengths."""
        network = super().on_grid(grid)
        assert isinstance(network, FieldReadoutNetwork)
        values = self.filter.numpy()
        for axis, (old, new) in enumerate(zip(self.grid, grid), start=1):
            values = np.apply_along_axis(_resampled, axis, values, old, new, axis == len(self.grid))
        network.filter = torch.from_numpy(np.ascontiguousarray(values))
        return network


def _wavenumbers(grid: Sequence[int]) -> tuple[int, ...]:
    return (*grid[:-1], grid[-1] // 2 + 1)


def _resampled(values: np.ndarray[Any, Any], old: int, new: int, half: bool) -> np.ndarray[Any, Any]:
    """A function of the wavenumber, linearly between those that the old grid has."""
    if half:
        return np.interp(np.fft.rfftfreq(new), np.fft.rfftfreq(old), values)
    return np.interp(np.fft.fftfreq(new), np.fft.fftfreq(old), values, period=1.0)


def _series_first(s: Tensor, n: int, images: int) -> Tensor:
    """A state ``(1, images * points, units)`` as ``(1, n, images / n * points, units)``."""
    return s.reshape(images // n, n, -1, s.shape[-1]).transpose(0, 1).reshape(1, n, -1, s.shape[-1])


def _series_last(s: Tensor, n: int, images: int) -> Tensor:
    return s.reshape(n, images // n, -1, s.shape[-1]).transpose(0, 1).reshape(1, -1, s.shape[-1])
