r"""The recursion in the compiled core, with derivatives: first ones only. The formulas are those of `lemode.kernels.adjoint`.

Two ways lead to the same call: a plain autograd function and, where torch.compile, torch.export or a tensor subclass looks on,
operators that they see whole. The operators cost 0.2 ms more a training step, which a small network would notice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..ode import MultiscaleODE
from ..schemes import Scheme
from . import call, core

__all__ = ["fits", "run"]


def fits(*tensors: Tensor) -> bool:
    """Whether the core runs tensors of this kind: on the CPU, float32 or float64, all alike."""
    dtype = tensors[0].dtype
    return dtype in core.DTYPES and all(t.device.type == "cpu" and t.dtype == dtype for t in tensors)


def run(
    ode: MultiscaleODE, scheme: Scheme, u: Tensor, y0: Tensor, z0: Tensor, dt: float | Tensor, memory: str = "full"
) -> tuple[Tensor, Tensor]:
    """See `lemode.kernels.run`."""
    step = dt if isinstance(dt, Tensor) else u.new_full((1, 1), dt)
    args = (u, y0, z0, step, ode.weight_ih, ode.weight_hh, ode.weight_zy, ode.stacked_bias())
    derivative = torch.is_grad_enabled() and any(a.requires_grad for a in args)
    save = derivative and memory == "full"
    if torch.compiler.is_compiling() or not all(type(a) in (Tensor, nn.Parameter) for a in args):
        ys, zs, _ = _sequence(*args, scheme.name, save)
    elif derivative:
        ys, zs = _Sequence.apply(*args, scheme.name, save)
    else:
        ys, zs, _ = call.forward(*args, scheme.name, save)
    return ys, zs


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor]:
        ys, zs, saved = call.forward(*args)
        _keep(ctx, args[:8], ys, zs, saved, args[8])
        return ys, zs

    @staticmethod
    def backward(ctx: Any, grad_ys: Tensor | None, grad_zs: Tensor | None) -> tuple[Tensor | None, ...]:
        # under create_graph the operator, whose derivative says what to do instead
        return *_gradients(_sequence_backward if torch.is_grad_enabled() else call.backward, ctx, grad_ys, grad_zs), None, None


def _keep(ctx: Any, tensors: Any, ys: Tensor, zs: Tensor, saved: Tensor, scheme: str) -> None:
    ctx.save_for_backward(*tensors, ys, zs, saved)
    ctx.set_materialize_grads(False)
    ctx.scheme = scheme


def _gradients(function: Any, ctx: Any, grad_ys: Tensor | None, grad_zs: Tensor | None) -> tuple[Tensor | None, ...]:
    need = ctx.needs_input_grad[:8]
    grads = function(grad_ys, grad_zs, *ctx.saved_tensors, ctx.scheme, [need[0], need[3], any(need[4:])])
    return tuple(g if wanted else None for g, wanted in zip(grads, need, strict=True))


_INPUTS = "Tensor u, Tensor y0, Tensor z0, Tensor dt, Tensor weight_ih, Tensor weight_hh, Tensor weight_zy, Tensor bias"

_sequence = torch.library.custom_op(
    "lemode::sequence",
    call.forward,
    mutates_args=(),
    device_types="cpu",
    schema=f"({_INPUTS}, str scheme, bool save) -> (Tensor, Tensor, Tensor)",
)
_sequence_backward = torch.library.custom_op(
    "lemode::sequence_backward",
    call.backward,
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor? grad_ys, Tensor? grad_zs, {_INPUTS}, Tensor ys, Tensor zs, Tensor saved, str scheme, bool[] need)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)


@_sequence.register_fake
def _(u, y0, z0, dt, weight_ih, weight_hh, weight_zy, bias, scheme, save):  # type: ignore[no-untyped-def]
    (L, N, _), d = u.shape, weight_zy.shape[0]
    return u.new_empty(L, N, d), u.new_empty(L, N, d), u.new_empty(call.saved_size(L, N, d, u.dtype) if save else 0)


@_sequence_backward.register_fake
def _(grad_ys, grad_zs, u, y0, z0, dt, weight_ih, weight_hh, weight_zy, bias, ys, zs, saved, scheme, need):  # type: ignore[no-untyped-def]
    def like(t: Tensor, wanted: bool = True) -> Tensor:
        return t.new_empty(t.shape if wanted else (0,))

    need_u, need_dt, need_weights = need
    weights = (like(w, need_weights) for w in (weight_ih, weight_hh, weight_zy, bias))
    return like(u, need_u), like(y0), like(z0), like(dt, need_dt), *weights


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    _keep(ctx, inputs[:8], *output, inputs[8])
    ctx.mark_non_differentiable(output[2])


def _backward(ctx: Any, grad_ys: Tensor | None, grad_zs: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    return *_gradients(_sequence_backward, ctx, grad_ys, grad_zs), None, None


def _no_second_derivative(ctx: Any, *grads: Tensor | None) -> None:
    raise RuntimeError("the native core has first derivatives only: use backend='reference' to differentiate a gradient.")


_sequence.register_autograd(_backward, setup_context=_setup)
_sequence_backward.register_autograd(_no_second_derivative)
