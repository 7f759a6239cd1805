"""The network of a continuous surrogate: the data and the LEM's state as one differential equation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from .._renamed import renamed
from ..lem import LEM
from .network import IncrementNetwork

__all__ = ["FlowNetwork"]

# old names, for one version
__getattr__ = renamed(__name__, {"ContinuousNetwork": "lemode.surrogate.flow_network.FlowNetwork"})


class FlowNetwork(IncrementNetwork):
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
    >>> net = FlowNetwork(LEM(2, 4), 4, 2)
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
            u = self.held(x)
            u = u if e is None else torch.cat([u, e, e], -1)  # the discrete network reads e at both ends of a step
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


def _advance(
    rate: Callable[[Tensor, Tensor | None], Tensor],
    s: Tensor,
    e: tuple[Tensor, ...] | None,
    length: float | Tensor,
    substeps: int,
) -> Tensor:
    """s after an interval, by the classical Runge-Kutta method; e at its beginning and end."""
    # not `continuous.integrators.rk4_step`: it rounds the sum of the slopes otherwise, and a fit would no longer end at the weights it did;
    # it knows times, too, where e is asked for by the part of a step, which is the same for intervals of all lengths
    h = length / substeps
    for j in range(substeps):
        begin, middle, end = (None if e is None else torch.lerp(e[0], e[1], (j + way) / substeps) for way in (0.0, 0.5, 1.0))
        k1 = rate(s, begin)
        k2 = rate(s + h / 2 * k1, middle)
        k3 = rate(s + h / 2 * k2, middle)
        k4 = rate(s + h * k3, end)
        s = s + h / 6 * (k1 + 2 * (k2 + k3) + k4)
    return s
