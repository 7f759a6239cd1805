r"""How a scheme is run along a sequence: one contract, several backends that agree.

`run` maps ``u (L, N, m)``, ``y0, z0 (N, d)`` to the states ``ys, zs (L, N, d)``; ``dt`` is a number or a tensor
``(L, 1)`` or ``(L, N)``. Every backend returns the same numbers and the same gradients, up to rounding.

- ``reference``: the plain loop over `lemode.schemes`, differentiated by autograd, any number of times. Slow, obviously right.
- ``torch``: hand-derived forward and adjoint in torch operations; the schemes 'imex', 'semi_implicit' and 'exponential'.
- ``native``: the same in C++ (``csrc/``), for float32 and float64 on the CPU; first derivatives only.
- ``auto``: ``native`` where it can; else ``torch`` for small networks, where it is the faster one, and ``reference`` for the rest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..ode import MultiscaleODE
from ..schemes import Scheme
from . import adjoint, core, native, reference
from .layer import Layer
from .rollout import rollout

__all__ = ["BACKENDS", "Layer", "rollout", "run"]

BACKENDS = ("auto", "native", "torch", "reference")
TORCH_UP_TO = 128  # hidden units: beyond it the plain loop beats the hand-derived adjoint in torch operations


def run(
    ode: MultiscaleODE,
    scheme: Scheme,
    u: Tensor,
    y0: Tensor,
    z0: Tensor,
    dt: float | Tensor,
    backend: str = "auto",
    memory: str = "full",
) -> tuple[Tensor, Tensor]:
    """States ``ys, zs (L, N, d)`` of `scheme` driven by ``u (L, N, m)`` from ``y0, z0 (N, d)``.

    ``dt`` is a number, or a tensor ``(L, 1)`` or ``(L, N)``. With ``memory="low"`` the native core keeps y and z only for the
    derivative, a third of the memory, and computes the gates again.

    Raises
    ------
    ValueError
        For an unknown backend, or one that does not run this scheme, device or dtype.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 4, dt=0.5)
    >>> u, zero = torch.ones(100, 8, 1), torch.zeros(8, 4)
    >>> found = [run(cell.ode, cell.scheme, u, zero, zero, cell.dt, backend)[0] for backend in ("auto", "torch", "reference")]
    >>> found[0].shape, all(torch.allclose(ys, found[-1], atol=1e-6) for ys in found)
    (torch.Size([100, 8, 4]), True)
    """
    backend = _choose(backend, ode, scheme, u, y0, z0, dt)
    if backend == "native":
        return native.run(ode, scheme, u, y0, z0, dt, memory)
    if backend == "torch":
        return adjoint.run(ode, scheme, u, y0, z0, dt)
    return reference.run(ode, scheme, u, y0, z0, dt)


def _choose(backend: str, ode: MultiscaleODE, scheme: Scheme, *args: float | Tensor) -> str:
    if backend not in BACKENDS:
        raise ValueError(f"backend={backend!r}: known backends are {', '.join(BACKENDS)}.")
    if backend == "reference" or (backend == "auto" and torch._C._are_functorch_transforms_active()):
        return "reference"  # torch.func's transforms need operations they can look into
    if scheme.name not in adjoint.LEAKS:
        if backend != "auto":
            raise ValueError(
                f"backend={backend!r} runs {', '.join(adjoint.LEAKS)}; use backend='reference' for {scheme.name!r}."
            )
        return "reference"
    if backend == "torch":
        return backend
    tensors = [a for a in (*args, ode.weight_ih) if isinstance(a, Tensor)]
    fits = native.fits(*tensors)
    if fits and core.available():
        return "native"
    if backend == "native":
        core.require()
        raise ValueError(
            "backend='native' runs float32 or float64 tensors of one dtype on the CPU; use backend='auto' for others."
        )
    if fits:
        core.warn_missing()
    return "torch" if ode.hidden_size < TORCH_UP_TO else "reference"
