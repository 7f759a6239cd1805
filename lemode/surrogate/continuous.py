"""The network of a continuous surrogate: the data and the LEM's state as one differential equation."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from ..lem import LEM
from .data import Series
from .network import IncrementNetwork
from .recipe import Recipe
from .training import ALL_DONE, History, train

__all__ = ["ContinuousNetwork", "train_continuous"]

# The differential equation begins from the discrete fit, with a share of its steps and of its learning rate. Windows are short, as it is
# solved sample by sample.
SHARE, FINE, WINDOW = 0.4, 0.5, 20


class ContinuousNetwork(IncrementNetwork):
    r"""A differential equation for the data, with the LEM's ODE as its memory.

    .. math::

        \frac{dx}{dt} = s \odot \Big(C \big(y + \frac{dy}{dt}\big) + c\Big), \qquad
        \frac{d(y, z)}{dt} = \Delta t\, F(y, z;\, x, e)

    in normalised variables and in units of the usual sampling interval; F is the vector field of `lemode.MultiscaleODE`, with the data
    x, and known inputs e(t), linear between samples, as its input. One Euler step of it, of one interval, is the discrete surrogate
    (with the scheme 'explicit'): so a discrete fit is where training begins, and dy/dt is there since LEM reads :math:`x_k` before
    it predicts :math:`x_{k+1}`. At a sample x jumps to what was measured, and y and z go on: between samples of whatever
    distance it is the same equation, solved by the classical Runge-Kutta method.

    Parameters
    ----------
    core, hidden_size, dimension, dtype, inputs
        As in `IncrementNetwork`; the core is a `lemode.LEM`. Its scheme has no meaning for the equation.
    substeps : int
        Runge-Kutta steps in an interval.

    Attributes
    ----------
    discrete : bool
        While it is True the network is the `IncrementNetwork` of the same parameters.

    Examples
    --------
    >>> net = ContinuousNetwork(LEM(2, 4), 4, 2)
    >>> increments, state = net(torch.randn(10, 3, 2))
    >>> increments.shape, state.shape
    (torch.Size([10, 3, 2]), torch.Size([1, 3, 8]))
    """

    core: LEM

    def __init__(
        self,
        core: LEM,
        hidden_size: int,
        dimension: int,
        dtype: torch.dtype | None = None,
        inputs: int = 0,
        substeps: int = 1,
    ) -> None:
        super().__init__(core, hidden_size, dimension, dtype, 0, inputs)
        self.substeps, self.discrete = substeps, False

    @property
    def kernel_rollout(self) -> bool:  # type: ignore[override]
        return self.discrete

    def forward(self, x: Tensor, e: Tensor | None = None, state: Any = None, r: Tensor | None = None) -> tuple[Tensor, Any]:
        """As `IncrementNetwork.forward`: increments over the interval after each sample, in units of the increments' scale.

        The state ``(1, n, 2 d layers)`` is y and z of every layer.
        """
        if self.discrete:
            return super().forward(x, e, state, r)
        D, rate = x.shape[-1], self._rate()
        memory = x.new_zeros(1, x.shape[1], 2 * self.core.hidden_size * len(self.core.cells)) if state is None else state
        s, out = memory[0], []
        for k in range(len(x)):
            drive = None if e is None else e[k].chunk(2, -1)
            s = _advance(rate, torch.cat([x[k], s], -1), drive, 1.0 if r is None else r[k, :, 1:], self.substeps)
            out.append(s[:, :D])
            s = s[:, D:]
        return (torch.stack(out) - x) / self.increment, s[None]

    def _rate(self) -> Callable[[Tensor, Tensor | None], Tensor]:
        """d(x, y, z, ...)/dt as a function of (x, y, z, ...) and e: the parameters of each layer are put together once."""
        layers = []
        for cell in self.core.layers():
            ode, d = cell.ode, cell.ode.hidden_size
            # what acts on (y, u) in one product
            joint = torch.cat([torch.cat([ode.weight_hh, ode.weight_hh.new_zeros(d, d)]), ode.weight_ih], 1)
            layers.append((joint, ode.stacked_bias(), ode.weight_zy, cell.dt, d))
        D = self.head.out_features

        def rate(s: Tensor, e: Tensor | None) -> Tensor:
            x, *states = s.split([D, *(d for *_, d in layers for _ in range(2))], -1)
            u = x if e is None else torch.cat([x, e, e], -1)  # the discrete network reads e at both ends of a step
            rates = []
            for k, (joint, bias, Wy, dt, d) in enumerate(layers):
                y, z = states[2 * k : 2 * k + 2]
                a12, az, ay = linear(torch.cat([y, u], -1), joint, bias).split([2 * d, d, d], -1)
                candidates = torch.tanh(torch.cat([ay + linear(z, Wy), az], -1))
                g1, g2 = torch.sigmoid(a12).chunk(2, -1)
                rates += [dt * g2 * (candidates[:, :d] - y), dt * g1 * (candidates[:, d:] - z)]
                u = y
            return torch.cat([self.increment * self.head(u + rates[-2]), *rates], -1)

        return rate


def train_continuous(
    network: ContinuousNetwork,
    series: Series,
    validation: Series,
    recipe: Recipe,
    generator: torch.Generator,
    verbose: int = 1,
    save_to: str | os.PathLike[str] | None = None,
    fingerprint: dict[str, Any] | None = None,
) -> History:
    """Fit the discrete network, then from there the differential equation, in `SHARE` as many steps, each of which costs more.

    The history is that of both, one after the other. A fit that is interrupted in the first part goes no further.

    Examples
    --------
    >>> from lemode.surrogate.data import Series
    >>> from lemode.surrogate.recipe import Recipe
    >>> waves = torch.sin(torch.linspace(0, 10, 41)[:, None] + torch.arange(5))[..., None]
    >>> network = ContinuousNetwork(LEM(1, 2), 2, 1)
    >>> network.set_scales(waves)
    >>> series, recipe = Series(network.normalise(waves)), Recipe(steps=5, window=10, washout=5)
    >>> history = train_continuous(network, series, series, recipe, torch.Generator().manual_seed(0), verbose=0)
    >>> len(history.loss), history.validation[0][0], network.discrete
    (7, 5, False)
    """
    network.discrete = True
    half = None if recipe.max_time is None else recipe.max_time / 2
    first = replace(recipe, max_time=half, stages=("one-step",))
    there = None if save_to is None else f"{os.fspath(save_to)}.discrete"
    before = train(network, series, validation, first, generator, verbose, there, fingerprint)
    network.discrete = False
    if before.stopped == "interrupted":
        return before
    second = replace(
        recipe, steps=max(1, round(SHARE * recipe.steps)), max_time=half, window=min(WINDOW, recipe.window), lr=(recipe.lr or 1e-2) * FINE,
        validate_every=100,
    )  # fmt: skip
    after = train(network, series, validation, second, generator, verbose, save_to, fingerprint)
    done = len(before.loss)
    return History(
        loss=before.loss + after.loss,
        validation=before.validation + [(done + step, error) for step, error in after.validation],
        best_step=done + after.best_step,
        seconds=before.seconds + after.seconds,
        stopped=before.stopped if after.stopped == ALL_DONE else after.stopped,
        stages=before.stages + after.stages,
    )


def _advance(
    rate: Callable[[Tensor, Tensor | None], Tensor],
    s: Tensor,
    e: tuple[Tensor, ...] | None,
    length: float | Tensor,
    substeps: int,
) -> Tensor:
    """s after an interval, by the classical Runge-Kutta method; e at its beginning and end."""
    h = length / substeps
    for j in range(substeps):
        begin, middle, end = (None if e is None else torch.lerp(e[0], e[1], (j + way) / substeps) for way in (0.0, 0.5, 1.0))
        k1 = rate(s, begin)
        k2 = rate(s + h / 2 * k1, middle)
        k3 = rate(s + h / 2 * k2, middle)
        k4 = rate(s + h * k3, end)
        s = s + h / 6 * (k1 + 2 * (k2 + k3) + k4)
    return s
