"""A scheme run along a sequence, by the backend that `lemode.kernels.backends` chooses."""

from __future__ import annotations

import warnings

from torch import Tensor

from ..ode import MultiscaleODE
from ..schemes import Scheme
from . import adjoint, bridge, native, parallel, reference, triton
from .backends import decide, handed_on, noted

__all__ = ["run"]


def run(
    ode: MultiscaleODE,
    scheme: Scheme,
    u: Tensor,
    y0: Tensor,
    z0: Tensor,
    dt: float | Tensor,
    backend: str = "auto",
    memory: str = "full",
    tol: float | None = None,
) -> tuple[Tensor, Tensor]:
    """States ``ys, zs (L, N, d)`` of `scheme` driven by ``u (L, N, m)`` from ``y0, z0 (N, d)``.

    ``dt`` is a number, or a tensor ``(L, 1)`` or ``(L, N)``. With ``memory="low"`` the native core keeps y and z only for the
    derivative, a third of the memory, and computes the gates again. `tol` is for the backend 'parallel': the largest error of a state;
    1e-5 in float32 and 1e-10 in float64 by default. Where its sweeps do not converge, the sequence is run by 'auto', with a
    RuntimeWarning.

    Raises
    ------
    ValueError
        For an unknown backend, one that does not run this scheme, device or dtype, or tensors that do not fit each other.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 4, dt=0.5)
    >>> u, zero = torch.ones(100, 8, 1), torch.zeros(8, 4)
    >>> backends = "auto", "torch", "parallel", "reference"
    >>> found = [run(cell.ode, cell.scheme, u, zero, zero, cell.dt, backend)[0] for backend in backends]
    >>> found[0].shape, all(torch.allclose(ys, found[-1], atol=1e-6) for ys in found)
    (torch.Size([100, 8, 4]), True)
    """
    weights = ode.weight_ih, ode.weight_hh, ode.weight_zy, ode.stacked_bias()
    tensors = [u, y0, z0, *weights, *([dt] if isinstance(dt, Tensor) else [])]
    why = ""
    if backend == "parallel" and len(u) == 1:
        why = "one step is no sequence"
    if backend == "triton":
        why = triton.why_not(tensors, ode.hidden_size, u.shape[1])
    choice = decide("auto" if why else backend, scheme, tensors, ode.hidden_size)
    noted(handed_on(backend, why, choice) if why else choice)
    if choice.backend == "native":
        return native.run(ode, scheme, u, y0, z0, dt, memory)
    bridge.check_sequence(u, y0, z0, dt, *weights)
    if choice.backend == "operator":
        return native.run_operator(ode, scheme, u, y0, z0, dt, memory)
    if choice.backend == "triton":
        return triton.run(ode, scheme, u, y0, z0, dt)
    if choice.backend == "parallel":
        found = parallel.run(ode, scheme, u, y0, z0, dt, tol)
        if found is None:
            warnings.warn(
                f"backend='parallel': {parallel.MAX_SWEEPS} sweeps over the {len(u)} steps are not enough, so they were run one after "
                "the other; use backend='auto'.",
                RuntimeWarning,
                stacklevel=2,
            )
            return run(ode, scheme, u, y0, z0, dt, "auto", memory)
        return found
    loop = adjoint if choice.backend == "torch" else reference
    return loop.run(ode, scheme, u, y0, z0, dt)
