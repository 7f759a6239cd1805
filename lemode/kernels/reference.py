"""The plain loop: one call of the scheme a step, differentiated by autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from ..ode import MultiscaleODE
from ..schemes import Scheme

__all__ = ["run"]


def run(ode: MultiscaleODE, scheme: Scheme, u: Tensor, y0: Tensor, z0: Tensor, dt: float | Tensor) -> tuple[Tensor, Tensor]:
    """See `lemode.kernels.run`."""
    if isinstance(dt, Tensor):
        dt = dt.expand(len(u), *dt.shape[1:])
    state, ys, zs = (y0, z0), [], []
    for n in range(len(u)):
        state = scheme.step(ode, state, u[n], dt[n].unsqueeze(-1) if isinstance(dt, Tensor) else dt)
        ys.append(state[0])
        zs.append(state[1])
    if not ys:
        return y0.expand(0, *y0.shape), z0.expand(0, *z0.shape)
    return torch.stack(ys), torch.stack(zs)
