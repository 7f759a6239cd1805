"""Free-running forecast: the surrogate fed with its own predictions."""

from __future__ import annotations

import torch
from torch import Tensor

from ..kernels import Layer, rollout
from ..lem import LEM
from .network import IncrementNetwork

__all__ = ["free_run"]


@torch.no_grad()
def free_run(network: IncrementNetwork, history: Tensor, steps: int) -> Tensor:
    """Warm up on the normalised history ``(T, n, D)``, then run free: the next ``steps`` values ``(steps, n, D)``."""
    predicted, state = network.step(history)
    first = predicted[-1]
    if steps <= 1:
        return predicted[-1:][:steps]
    if isinstance(network.core, LEM):
        rest = _lem_rollout(network, network.core, first, state, steps - 1)
    else:
        xs, x = [], first[None]
        for _ in range(steps - 1):
            x, state = network.step(x, state)
            xs.append(x)
        rest = torch.cat(xs)
    return torch.cat([first[None], rest])


def _lem_rollout(network: IncrementNetwork, core: LEM, x0: Tensor, state: tuple[Tensor, Tensor], steps: int) -> Tensor:
    layers = [
        Layer(c.ode.weight_ih, c.ode.weight_hh, c.ode.weight_zy, c.ode.stacked_bias(), c.dt, c.scheme.name)
        for c in core.layers()
    ]
    s = network.increment
    states = list(zip(state[0].unbind(0), state[1].unbind(0), strict=True))
    return rollout(layers, s[:, None] * network.head.weight, s * network.head.bias, x0, states, steps)
