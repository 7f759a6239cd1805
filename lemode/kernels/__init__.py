r"""How a scheme is run along a sequence: one contract, several backends that agree.

`run` maps ``u (L, N, m)``, ``y0, z0 (N, d)`` to the states ``ys, zs (L, N, d)``; ``dt`` is a number or a tensor
``(L, 1)`` or ``(L, N)``. Every backend returns the same numbers and the same gradients, up to rounding.

- ``reference``: the plain loop over `lemode.schemes`, differentiated by autograd. Slow, obviously right.
- ``torch``: hand-derived forward and adjoint in torch operations; every scheme but ``explicit``.
"""

from __future__ import annotations

from torch import Tensor

from ..ode import MultiscaleODE
from ..schemes import Scheme
from . import adjoint, reference
from .rollout import Layer, rollout

__all__ = ["BACKENDS", "Layer", "rollout", "run"]

BACKENDS = ("auto", "reference", "torch")


def run(
    ode: MultiscaleODE, scheme: Scheme, u: Tensor, y0: Tensor, z0: Tensor, dt: float | Tensor, backend: str = "auto"
) -> tuple[Tensor, Tensor]:
    """States ``ys, zs (L, N, d)`` of `scheme` driven by ``u (L, N, m)`` from ``y0, z0 (N, d)``."""
    if backend not in BACKENDS:
        raise ValueError(f"backend={backend!r}: known backends are {', '.join(BACKENDS)}.")
    supported = scheme.name in adjoint.LEAKS
    if backend == "torch" and not supported:
        raise ValueError(f"backend='torch' runs {', '.join(adjoint.LEAKS)}; use backend='reference' for {scheme.name!r}.")
    if backend == "reference" or not supported:
        return reference.run(ode, scheme, u, y0, z0, dt)
    return adjoint.run(ode, scheme, u, y0, z0, dt)
