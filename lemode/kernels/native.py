r"""A sequence in the compiled core, with derivatives; and as one operator that torch.compile, torch.export and the like see whole.

The formulas of the first derivative are those of `lemode.kernels.adjoint`; a derivative of it is that of the plain loop,
`lemode.kernels.derivatives`. The operator costs 0.2 ms more a training step than the plain autograd function, which a small network would
notice. It also runs what the core does not: other schemes, devices and dtypes, by the plain loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..ode import MultiscaleODE, plain
from ..schemes import Scheme, get_scheme
from . import backends, bridge, core, derivatives, reference

__all__ = ["no_second_derivative", "operator_gradients", "run", "run_operator"]


def run(
    ode: MultiscaleODE, scheme: Scheme, u: Tensor, y0: Tensor, z0: Tensor, dt: float | Tensor, memory: str = "full"
) -> tuple[Tensor, Tensor]:
    """See `lemode.kernels.run`."""
    args = _arguments(ode, u, y0, z0, dt)
    if torch.is_grad_enabled() and any(a.requires_grad for a in args):
        ys, zs = _Sequence.apply(*args, scheme.name, memory == "full")
        return ys, zs
    without_saved: Any = (*args, scheme.name, False)
    ys, zs, _ = bridge.forward(*without_saved)
    return ys, zs


def run_operator(
    ode: MultiscaleODE, scheme: Scheme, u: Tensor, y0: Tensor, z0: Tensor, dt: float | Tensor, memory: str = "full"
) -> tuple[Tensor, Tensor]:
    """As `run`, for any scheme, device and dtype, as one operator."""
    args = _arguments(ode, u, y0, z0, dt)
    save = memory == "full" and torch.is_grad_enabled() and any(a.requires_grad for a in args) and _in_core(args, scheme)
    ys, zs, _ = _sequence(*args, scheme.name, save)
    return ys, zs


def _arguments(ode: MultiscaleODE, u: Tensor, y0: Tensor, z0: Tensor, dt: float | Tensor) -> Any:
    step = dt if isinstance(dt, Tensor) else u.new_full((1, 1), dt)
    return u, y0, z0, step, ode.weight_ih, ode.weight_hh, ode.weight_zy, ode.stacked_bias()


def _in_core(args: tuple[Tensor, ...], scheme: Scheme) -> bool:
    return scheme.leak is not None and core.available() and backends.fits_core(args)


def _loop(scheme: str) -> Callable[..., tuple[Tensor, Tensor]]:
    """The plain loop as a function of the eight tensors."""

    def run(u: Tensor, y0: Tensor, z0: Tensor, dt: Tensor, *weights: Any) -> tuple[Tensor, Tensor]:
        return reference.run(plain(*weights), get_scheme(scheme), u, y0, z0, dt)

    return run


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor]:
        ys, zs, saved = bridge.forward(*args)
        _keep(ctx, args[:8], ys, zs, saved, args[8])
        return ys, zs

    @staticmethod
    def backward(ctx: Any, grad_ys: Tensor | None, grad_zs: Tensor | None) -> tuple[Tensor | None, ...]:
        # ctx.saved_tensors is read once on every way: gradient checkpointing allows no more
        if torch.is_grad_enabled() or backends.transformed():  # create_graph=True; vmap over incoming gradients
            inputs, need = ctx.saved_tensors[:8], ctx.needs_input_grad[:8]
            return *derivatives.gradients(_loop(ctx.scheme), inputs, (grad_ys, grad_zs), need), None, None
        # torch calls an operator once for each of several gradients, and knows nothing of a foreign call
        function = _sequence_backward if backends.batched(grad_ys, grad_zs) else bridge.backward
        return *_first_gradients(function, ctx, grad_ys, grad_zs), None, None


def _keep(ctx: Any, tensors: Any, ys: Tensor, zs: Tensor, saved: Tensor, scheme: str) -> None:
    ctx.save_for_backward(*tensors, ys, zs, saved)
    ctx.set_materialize_grads(False)
    ctx.scheme, ctx.isa = scheme, core.isa()


def _first_gradients(function: Any, ctx: Any, grad_ys: Tensor | None, grad_zs: Tensor | None) -> tuple[Tensor | None, ...]:
    need = ctx.needs_input_grad[:8]
    *tensors, saved = ctx.saved_tensors
    if ctx.isa != core.isa():
        saved = saved.new_empty(0)  # laid out for the vectors of another instruction set
    grads = function(grad_ys, grad_zs, *tensors, saved, ctx.scheme, [need[0], need[3], any(need[4:])])
    return tuple(g if wanted else None for g, wanted in zip(grads, need, strict=True))


def operator_gradients(grads: Any, inputs: Any, ys: Tensor, zs: Tensor, scheme: str, need: Any) -> tuple[Tensor | None, ...]:
    """Gradients by the eight `inputs` that `need` marks, by the operator: for several `grads` at once, see `backends.batched`.

    Examples
    --------
    >>> ode, zero, one = lemode.MultiscaleODE(1, 2), torch.zeros(1, 2), torch.ones(3, 1, 2)
    >>> inputs = [one[..., :1], zero, zero, torch.ones(1, 1), *(p.detach() for p in ode.parameters())]
    >>> found = operator_gradients((one, None), inputs, one, one, "imex", [True] + [False] * 7)
    >>> found[0].shape, found[1]
    (torch.Size([3, 1, 1]), None)
    """
    found = _sequence_backward(*grads, *inputs, ys, zs, ys.new_empty(0), scheme, [need[0], need[3], any(need[4:])])
    return tuple(g if wanted else None for g, wanted in zip(found, need, strict=True))


# the operator --------------------------------------------------------------------------------------------------------------

_INPUTS = "Tensor u, Tensor y0, Tensor z0, Tensor dt, Tensor weight_ih, Tensor weight_hh, Tensor weight_zy, Tensor bias"


def _operator_forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    *tensors, scheme, _ = args
    if _in_core(tuple(tensors), get_scheme(scheme)):
        return bridge.forward(*args)
    bridge.check_sequence(*tensors)
    ys, zs = _loop(scheme)(*tensors)
    return ys, zs, tensors[0].new_empty(0)


def _operator_backward(grad_ys: Tensor | None, grad_zs: Tensor | None, *args: Any) -> tuple[Tensor, ...]:
    *tensors, _, _, _, scheme, need = args
    if _in_core(tuple(tensors), get_scheme(scheme)):
        return bridge.backward(grad_ys, grad_zs, *args)
    grads = derivatives.products(_loop(scheme), tensors, (grad_ys, grad_zs))
    wanted = (need[0], True, True, need[1], *[need[2]] * 4)
    return tuple(g if n else g.new_empty(0) for g, n in zip(grads, wanted, strict=True))


_sequence = torch.library.custom_op(
    "lemode::sequence",
    _operator_forward,
    mutates_args=(),
    schema=f"({_INPUTS}, str scheme, bool save) -> (Tensor, Tensor, Tensor)",
)
_sequence_backward = torch.library.custom_op(
    "lemode::sequence_backward",
    _operator_backward,
    mutates_args=(),
    schema=f"(Tensor? grad_ys, Tensor? grad_zs, {_INPUTS}, Tensor ys, Tensor zs, Tensor saved, str scheme, bool[] need)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)


@_sequence.register_fake
def _(u, y0, z0, dt, weight_ih, weight_hh, weight_zy, bias, scheme, save):  # type: ignore[no-untyped-def]
    (L, N, _), d = u.shape, weight_zy.shape[0]
    return u.new_empty(L, N, d), u.new_empty(L, N, d), u.new_empty(bridge.saved_size(L, N, d, u.dtype) if save else 0)


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
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        need = ctx.needs_input_grad[:8]
        return *derivatives.gradients(_loop(ctx.scheme), ctx.saved_tensors[:8], (grad_ys, grad_zs), need), None, None
    return *_first_gradients(_sequence_backward, ctx, grad_ys, grad_zs), None, None


def no_second_derivative(ctx: Any, *grads: Tensor | None) -> None:
    """The derivative of an operator's backward: a sentence with the remedy.

    Examples
    --------
    >>> try:
    ...     no_second_derivative(None)
    ... except RuntimeError as error:
    ...     print(error)
    a recorded operator has first derivatives only: use backend='reference' to differentiate a gradient.
    """
    raise RuntimeError("a recorded operator has first derivatives only: use backend='reference' to differentiate a gradient.")


_sequence.register_autograd(_backward, setup_context=_setup)
_sequence_backward.register_autograd(no_second_derivative)
