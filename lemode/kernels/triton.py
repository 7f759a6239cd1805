"""A sequence in one launch on a GPU, by Triton, which needs no compiler: forward, and the adjoint of `lemode.kernels.adjoint`.

The input enters by one matrix product before the launch, the gradients of the weights are matrix products after it. Not yet measured on
a GPU: ``make interpreter`` compiles the kernels for one, and runs their tests by Triton's interpreter, on the CPU, with the variable
TRITON_INTERPRET=1.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from ..ode import MultiscaleODE, plain
from ..schemes import Scheme
from . import backends, core, derivatives, native, reference

__all__ = ["run", "why_not"]

TILE = 32  # units of a tile: 12 kB of a card's shared memory. At 64 Triton 3.9 compiles for half a minute
ROWS = 16  # samples a program: the least that Triton multiplies
DTYPES = (torch.float32, torch.bfloat16, torch.float16)  # of the tensors; the time loop is in float32
LARGEST = 2**31 - 1  # an index is 32 bits wide


def why_not(tensors: Sequence[Tensor], hidden_size: int, samples: int = 1) -> str:
    """Why these tensors are not run by Triton; empty if they are.

    Raises
    ------
    RuntimeError
        Where only the package is missing.

    Examples
    --------
    >>> why_not([torch.zeros(2).double()], 4)
    'Triton runs float32, bfloat16 or float16 here, all tensors alike'
    """
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if tensors[0].dtype not in DTYPES or any(t.dtype != tensors[0].dtype for t in tensors):
        return "Triton runs float32, bfloat16 or float16 here, all tensors alike"
    if not all(t.is_cuda or interpreted for t in tensors):
        return "Triton runs on a GPU"
    if 4 * hidden_size * max(hidden_size, samples) > LARGEST:
        return f"Triton's indices have 32 bits here: {samples} samples of {hidden_size} hidden units are too many"
    if find_spec("triton") is None:
        raise RuntimeError("backend='triton' needs the package triton: pip install 'lemode[triton]'; or use backend='auto'.")
    return ""


def run(ode: MultiscaleODE, scheme: Scheme, u: Tensor, y0: Tensor, z0: Tensor, dt: float | Tensor) -> tuple[Tensor, Tensor]:
    """See `lemode.kernels.run`."""
    if not u.numel():
        return reference.run(ode, scheme, u, y0, z0, dt)
    steps = dt if isinstance(dt, Tensor) else u.new_full((1, 1), dt)
    inputs = u, y0, z0, steps, ode.weight_ih, ode.weight_hh, ode.weight_zy, ode.stacked_bias()
    # small steps would be lost to rounding in fewer bits; autograd returns each gradient in its tensor's type
    ys, zs = _Fused.apply(scheme, *(t.float() for t in inputs))
    return ys.to(u.dtype), zs.to(u.dtype)


def _launch(
    kernel: str, last: bool, scheme: Scheme, u: Tensor, dt: Tensor, weights: Sequence[Tensor], *tensors: Tensor
) -> None:  # fmt: skip
    from . import _fused

    (L, N, m), d = u.shape, weights[1].shape[1]
    weight_ih, weight_hh, weight_zy, bias = weights
    from_input = torch.addmm(bias, u.reshape(L * N, m), weight_ih.t()).view(L, N, 4 * d)
    steps = dt.expand(L, N)
    if last:
        from_input, steps = from_input[-1:], steps[-1:]
    getattr(_fused, kernel)[((N + ROWS - 1) // ROWS,)](
        from_input, weight_hh.contiguous(), weight_zy.contiguous(), steps, *tensors, L, N, d, *dt.expand(L, N).stride(),
        SCHEME=core.SCHEME_CODES[scheme.name], D=16 if d <= 16 else TILE, B=ROWS,
    )  # fmt: skip


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scheme: Scheme, u: Tensor, y0: Tensor, z0: Tensor, dt: Tensor, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        L, (N, d) = len(u), y0.shape
        ys, zs = u.new_empty(L + 1, N, d), u.new_empty(L + 1, N, d)
        ys[0], zs[0] = y0, z0
        _launch("forward", False, scheme, u, dt, weights, ys, zs)
        ctx.scheme = scheme
        ctx.save_for_backward(u, y0, z0, dt, *weights, ys, zs)
        ctx.set_materialize_grads(False)
        return ys[1:], zs[1:]

    @staticmethod
    def backward(ctx: Any, grad_ys: Tensor | None, grad_zs: Tensor | None) -> tuple[Tensor | None, ...]:
        *inputs, ys, zs = ctx.saved_tensors
        u, _, _, dt, *weights = inputs
        scheme, need, grads = ctx.scheme, ctx.needs_input_grad[1:], (grad_ys, grad_zs)
        if torch.is_grad_enabled() or backends.transformed():  # create_graph=True; vmap over incoming gradients

            def loop(u: Tensor, y0: Tensor, z0: Tensor, dt: Tensor, *weights: Any) -> tuple[Tensor, Tensor]:
                return reference.run(plain(*weights), scheme, u, y0, z0, dt)

            return None, *derivatives.gradients(loop, inputs, grads, need)
        if backends.batched(*grads):
            return None, *native.operator_gradients(grads, inputs, ys[1:], zs[1:], scheme.name, need)
        (L, N, m), d = u.shape, ys.shape[-1]
        above = [u.new_zeros(L, N, d) if g is None else g.contiguous() for g in grads]
        grad_a, grad_dt = u.new_empty(L, N, 4 * d), u.new_empty(L, N)
        dy, dz = u.new_zeros(N, d), u.new_zeros(N, d)  # they carry the adjoint
        ends = [t[-1:] for t in (ys, zs, *above, grad_a, grad_dt)]  # the adjoint begins at the last step
        _launch("backward", True, scheme, u, dt, weights, *ends, dy, dz)
        rows, (weight_ih, _, _, _) = grad_a.view(L * N, 4 * d), weights
        return (
            None,
            (rows @ weight_ih).view(L, N, m) if need[0] else None,
            dy,
            dz,
            grad_dt.sum_to_size(dt.shape) if need[3] else None,
            rows.t() @ u.reshape(L * N, m) if need[4] else None,
            rows[:, : 3 * d].t() @ ys[:-1].reshape(L * N, d) if need[5] else None,
            rows[:, 3 * d :].t() @ zs[1:].reshape(L * N, d) if need[6] else None,
            rows.sum(0) if need[7] else None,
        )
