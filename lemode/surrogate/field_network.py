"""The network of a surrogate of a field on a periodic grid: a convolutional core, and a head that can keep the mean."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .network import IncrementNetwork, scales

__all__ = ["FieldNetwork", "reflected"]

Array = NDArray[np.floating[Any]]

SCALES = ("mean", "std", "increment", "lower", "upper")


class FieldNetwork(IncrementNetwork):
    r"""One step ahead of a field u on a periodic grid, the same rule at every point.

    .. math::

        \hat u_{k+1} = \mathrm{clip}(u_k + s\, \delta_k), \qquad
        \delta_k = C\, y_k + c \quad \text{or} \quad \delta_k(i) = C\, (y_k(i) - y_k(i + 1)), \qquad y_k = \mathrm{ConvLEM}(u_k)

    in variables normalised by one mean and one standard deviation of each channel for the whole grid. The second form is what leaves a
    cell minus what enters it: sums over the grid telescope, and the means of u cannot drift. Without that a free run does, and leaves
    the attractor. Nothing depends on the number of points: `on_grid` takes the same weights to a domain of another size.

    Parameters
    ----------
    core : ConvLEM of so many channels, or another module with its conventions
    hidden_size : features of its output
    grid : points in each direction
    conserve : None or 'mean'
    channels : quantities at each point; the data have ``channels * prod(grid)`` variables, all points of the first come first

    Raises
    ------
    ValueError
        For another `conserve`.

    Examples
    --------
    >>> from lemode import ConvLEM
    >>> network = FieldNetwork(ConvLEM(1, 4, 5), 4, grid=(32,), conserve="mean")
    >>> increments, state = network(torch.randn(10, 2, 32))
    >>> increments.shape, bool(increments.mean(-1).abs().max() < 1e-6)
    (torch.Size([10, 2, 32]), True)
    """

    def __init__(
        self,
        core: torch.nn.Module,
        hidden_size: int,
        grid: Sequence[int],
        dtype: torch.dtype | None = None,
        conserve: str | None = None,
        channels: int = 1,
    ) -> None:
        if conserve not in (None, "mean"):
            raise ValueError(f"conserve={conserve!r}: give 'mean', or None.")
        super().__init__(core, hidden_size, channels, dtype)
        self.grid, self.conserve, self.channels = tuple(grid), conserve, channels
        for name in SCALES:
            setattr(self, name, self.spread(getattr(self, name)))

    def set_scales(self, x: Tensor, e: Tensor | None = None, r: Tensor | None = None) -> None:
        """Learn the scales, which all points share, from training data x ``(T, n, channels * points)``; e and r have to be None."""
        _refuse(e=e, r=r)
        for name, value in zip(("mean", "std", "increment"), scales(self.by_point(x.double()).flatten(1, -2))):
            getattr(self, name).copy_(self.spread(value))

    def spread(self, values: Tensor) -> Tensor:
        """One number for every variable, from one for each channel; where all share it, one."""
        return values if self.channels == 1 else values.repeat_interleave(math.prod(self.grid))

    def forward(self, x: Tensor, e: Tensor | None = None, state: Any = None, r: Tensor | None = None) -> tuple[Tensor, Any]:
        """Scaled increments for normalised x ``(T, n, channels * points)``, and the state to go on from.

        ValueError for e or r, which the networks of `IncrementNetwork` take.
        """
        y, state = self.features(x, e, state, r)
        # the head first: it leaves few numbers of hidden_size to take differences of
        return self.regressors(self.head(y)).movedim(-1, 2).reshape(x.shape), state

    def features(self, x: Tensor, e: Tensor | None = None, state: Any = None, r: Tensor | None = None) -> tuple[Tensor, Any]:
        """What the head reads: y ``(T, n, *grid, hidden_size)``, and the state to go on from; e and r have to be None."""
        _refuse(e=e, r=r)
        # training takes states by series, which it expects in the second dimension
        state = None if state is None else tuple(s.squeeze(0) for s in state)
        y, (y_n, z_n) = self.core(self.core_input(x), state)
        return y.movedim(2, -1), (y_n.unsqueeze(0), z_n.unsqueeze(0))

    def core_input(self, x: Tensor, e: Tensor | None = None, past: Tensor | None = None) -> Tensor:
        """What the core reads ``(T, n, channels, *grid)`` where the network reads normalised x; e and past have to be None."""
        _refuse(e=e, past=past)
        return x.reshape(*x.shape[:2], self.channels, *self.grid)

    def regressors(self, y: Tensor) -> Tensor:
        """What leaves a cell minus what enters it, if the mean is conserved: y, or anything else ``(T, n, *grid, features)``."""
        if self.conserve is None:
            return y
        differences = [y - y.roll(-1, axis) for axis in range(2, 2 + len(self.grid))]
        return torch.stack(differences).sum(0) / math.sqrt(len(self.grid))

    def by_point(self, x: Tensor) -> Tensor:
        """The variables x ``(T, n, channels * points)`` as what the head predicts: ``(T, n, *grid, channels)``."""
        return x.reshape(*x.shape[:2], self.channels, *self.grid).movedim(2, -1)

    def spectrum(self, x: Tensor) -> Tensor:
        """Mean square of each wavenumber of x ``(T, n, channels * points)``: ``(channels, *wavenumbers)``; white noise has 1 / points."""
        u = x.reshape(-1, self.channels, *self.grid)
        return torch.fft.rfftn(u, dim=self._axes(), norm="forward").abs().square().mean(0)

    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-len(self.grid), 0))

    def widest(self) -> int:
        """Points of the widest kernel."""
        return max(k for p in self.core.parameters() if p.dim() > 1 for k in p.shape[2:])

    def on_grid(self, grid: Sequence[int]) -> FieldNetwork:
        """A copy for a grid of other sizes and the same spacing."""
        network, points = copy.deepcopy(self), math.prod(self.grid)
        network.grid = tuple(grid)
        for name in SCALES:
            setattr(network, name, network.spread(getattr(self, name)[::points]).clone())
        return network


def _refuse(**given: Tensor | None) -> None:
    """ValueError for what a field network would not look at."""
    whats = {"e": "known inputs", "past": "previous values", "r": "intervals of their own: resample the data to one interval"}
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name}: a field network takes no {whats[name]}.")


def reflected(x: Array, grid: Sequence[int], signs: Sequence[int] = (1,)) -> Array:
    """The field ``(..., channels * points)`` read backwards in every direction, each channel with its sign.

    Examples
    --------
    >>> reflected(np.array([1.0, 2.0, 3.0]), (3,))
    array([3., 2., 1.])
    >>> reflected(np.array([1.0, 2.0, 3.0, 4.0]), (2,), signs=(1, -1))
    array([ 2.,  1., -4., -3.])
    """
    flipped = np.flip(x.reshape(*x.shape[:-1], len(signs), *grid), tuple(range(-len(grid), 0)))
    return (flipped * np.reshape(signs, (-1,) + (1,) * len(grid)).astype(x.dtype)).reshape(x.shape)
