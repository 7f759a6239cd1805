r"""The recursion and its adjoint in the compiled core, as PyTorch operators: torch.compile and torch.export see them whole.

The formulas are those of `lemode.kernels.adjoint`. The operators have first derivatives only.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..ode import MultiscaleODE
from ..schemes import Scheme
from . import core, pool
from .layer import Layer

__all__ = ["fits", "rollout", "run"]


def fits(*tensors: Tensor) -> bool:
    """Whether the core runs tensors of this kind: on the CPU, float32 or float64, all alike."""
    dtype = tensors[0].dtype
    return dtype in core.DTYPES and all(t.device.type == "cpu" and t.dtype == dtype for t in tensors)


def run(ode: MultiscaleODE, scheme: Scheme, u: Tensor, y0: Tensor, z0: Tensor, dt: float | Tensor) -> tuple[Tensor, Tensor]:
    """See `lemode.kernels.run`."""
    step = dt if isinstance(dt, Tensor) else u.new_full((1, 1), dt)
    args = (u, y0, z0, step, ode.weight_ih, ode.weight_hh, ode.weight_zy, ode.stacked_bias())
    save = torch.is_grad_enabled() and any(a.requires_grad for a in args)
    ys, zs, _ = _sequence(*args, scheme.name, save)
    return ys, zs


def rollout(
    layers: Sequence[Layer], readout: Tensor, readout_bias: Tensor, x0: Tensor, state: Sequence[tuple[Tensor, Tensor]],
    steps: int, residual: bool, exogenous: Tensor | None,
) -> Tensor:  # fmt: skip
    """See `lemode.kernels.rollout`."""
    N, D = x0.shape
    extra = 0 if exogenous is None else exogenous.shape[2]
    xs = pool.empty((steps, N, D), x0.dtype)
    kept: list[Tensor] = []

    def address(t: Tensor) -> int:
        kept.append(t.contiguous())
        return kept[-1].data_ptr()

    structs = (core.LayerStruct * len(layers))(*(
        core.LayerStruct(
            m=layer.weight_ih.shape[1], d=layer.weight_zy.shape[0], dt=layer.dt, scheme=core.SCHEMES[layer.scheme],
            weight_ih=address(layer.weight_ih), weight_hh=address(layer.weight_hh), weight_zy=address(layer.weight_zy),
            bias=address(layer.bias), y0=address(y), z0=address(z),
        )
        for layer, (y, z) in zip(layers, state, strict=True)
    ))  # fmt: skip
    work = steps * N * 4.0 * sum(s.d * (s.d + s.m) for s in structs)
    call = core.RolloutStruct(
        steps=steps, N=N, D=D, extra=extra, layers=len(layers), residual=residual, threads=core.threads(work),
        layer=ctypes.addressof(structs), readout=address(readout), readout_bias=address(readout_bias), x0=address(x0),
        exogenous=address(exogenous) if exogenous is not None else None, xs=xs.data_ptr(),
    )  # fmt: skip
    if getattr(core.require(), f"lemode_rollout_{core.DTYPES[x0.dtype]}")(ctypes.byref(call)):
        raise MemoryError("the core could not get working memory.")
    return xs


_INPUTS = "Tensor u, Tensor y0, Tensor z0, Tensor dt, Tensor weight_ih, Tensor weight_hh, Tensor weight_zy, Tensor bias"


@torch.library.custom_op(
    "lemode::sequence",
    mutates_args=(),
    device_types="cpu",
    schema=f"({_INPUTS}, str scheme, bool save) -> (Tensor, Tensor, Tensor)",
)
def _sequence(
    u: Tensor, y0: Tensor, z0: Tensor, dt: Tensor, weight_ih: Tensor, weight_hh: Tensor, weight_zy: Tensor, bias: Tensor,
    scheme: str, save: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """States ys, zs and, to be handed to the backward operator, the gates (empty if not `save`)."""
    (L, N, _), d = u.shape, weight_zy.shape[0]
    ys, zs = pool.empty((L, N, d), u.dtype), pool.empty((L, N, d), u.dtype)
    saved = pool.empty((_saved_size(L, N, d) if save else 0,), u.dtype)
    call = _Call("forward", scheme, u, y0, z0, dt, weight_ih, weight_hh, weight_zy, bias)
    call.set(ys=ys, zs=zs, saved=saved)
    call()
    return ys, zs, saved


@_sequence.register_fake
def _(u, y0, z0, dt, weight_ih, weight_hh, weight_zy, bias, scheme, save):  # type: ignore[no-untyped-def]
    (L, N, _), d = u.shape, weight_zy.shape[0]
    return u.new_empty(L, N, d), u.new_empty(L, N, d), u.new_empty(_saved_size(L, N, d) if save else 0)


@torch.library.custom_op(
    "lemode::sequence_backward",
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor? grad_ys, Tensor? grad_zs, {_INPUTS}, Tensor ys, Tensor zs, Tensor saved, str scheme, bool[] need)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _sequence_backward(
    grad_ys: Tensor | None, grad_zs: Tensor | None,
    u: Tensor, y0: Tensor, z0: Tensor, dt: Tensor, weight_ih: Tensor, weight_hh: Tensor, weight_zy: Tensor, bias: Tensor,
    ys: Tensor, zs: Tensor, saved: Tensor, scheme: str, need: list[bool],
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients by the eight inputs; `need` says whether those by u, dt and the weights are wanted (else empty)."""
    L, N, m = u.shape
    need_u, need_dt, need_weights = need
    weights = (weight_ih, weight_hh, weight_zy, bias)
    grad_u = pool.empty((L, N, m) if need_u else (0,), u.dtype)
    grad_dt = u.new_empty((L, N) if need_dt else (0,))
    grad_y0, grad_z0 = y0.new_empty(y0.shape), z0.new_empty(z0.shape)
    grad_weights = [w.new_empty(w.shape if need_weights else (0,)) for w in weights]
    call = _Call("backward", scheme, u, y0, z0, dt, *weights)
    call.set(ys=ys, zs=zs, saved=saved, grad_u=grad_u, grad_dt=grad_dt, grad_y0=grad_y0, grad_z0=grad_z0)
    call.set(
        **{f"grad_{name}": g for name, g in zip(("weight_ih", "weight_hh", "weight_zy", "bias"), grad_weights, strict=True)}
    )
    call.set_strided("grad_ys", "gy", grad_ys)
    call.set_strided("grad_zs", "gz", grad_zs)
    call()
    if need_dt:
        grad_dt = grad_dt.sum_to_size(dt.shape)
    return grad_u, grad_y0, grad_z0, grad_dt, *grad_weights


@_sequence_backward.register_fake
def _(grad_ys, grad_zs, u, y0, z0, dt, weight_ih, weight_hh, weight_zy, bias, ys, zs, saved, scheme, need):  # type: ignore[no-untyped-def]
    def like(t: Tensor, wanted: bool = True) -> Tensor:
        return t.new_empty(t.shape if wanted else (0,))

    need_u, need_dt, need_weights = need
    weights = (like(w, need_weights) for w in (weight_ih, weight_hh, weight_zy, bias))
    return like(u, need_u), like(y0), like(z0), like(dt, need_dt), *weights


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, scheme, _ = inputs
    ctx.save_for_backward(*tensors, *output)
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)
    ctx.scheme = scheme


def _backward(ctx: Any, grad_ys: Tensor | None, grad_zs: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    need = ctx.needs_input_grad
    groups = [need[0], need[3], any(need[4:8])]
    grads = _sequence_backward(grad_ys, grad_zs, *ctx.saved_tensors, ctx.scheme, groups)
    return *(g if wanted else None for g, wanted in zip(grads, need[:8], strict=True)), None, None


def _no_second_derivative(ctx: Any, *grads: Tensor | None) -> None:
    raise RuntimeError("the native core has first derivatives only: use backend='reference' to differentiate a gradient.")


_sequence.register_autograd(_backward, setup_context=_setup)
_sequence_backward.register_autograd(_no_second_derivative)


def _saved_size(L: int, N: int, d: int) -> int:
    return L * N * 4 * ((d + 15) // 16 * 16)  # as lemode_saved_size; the fake operator cannot call it on symbolic sizes


class _Call:
    """One call of the core; keeps every tensor whose address it passes."""

    def __init__(
        self, kind: str, scheme: str, u: Tensor, y0: Tensor, z0: Tensor, dt: Tensor,
        weight_ih: Tensor, weight_hh: Tensor, weight_zy: Tensor, bias: Tensor,
    ) -> None:  # fmt: skip
        (L, N, m), d = u.shape, weight_zy.shape[0]
        self.kept: list[Tensor] = []
        self.kind, self.dtype = kind, u.dtype
        work = L * N * 4.0 * d * (d + m)
        self.struct = core.SequenceStruct(L=L, N=N, m=m, d=d, scheme=core.SCHEMES[scheme], threads=core.threads(work))
        self.set(y0=y0, z0=z0, weight_ih=weight_ih, weight_hh=weight_hh, weight_zy=weight_zy, bias=bias)
        self.set_strided("u", "u", u)
        self.set_strided("dt", "dt", dt.unsqueeze(-1).expand(L, N, 1))

    def set(self, **tensors: Tensor) -> None:
        for name, t in tensors.items():
            t = t.contiguous()
            self.kept.append(t)
            setattr(self.struct, name, t.data_ptr() if t.numel() else None)

    def set_strided(self, name: str, stride: str, t: Tensor | None) -> None:
        """Features must be contiguous; time and sample may have any stride, 0 included."""
        if t is None:
            return
        if t.stride(2) != 1 and t.shape[2] != 1:
            # the gradient of a sum is one number seen everywhere: copy it once, not L N times
            shape, (L, N, _) = t.shape, (1 if s == 0 else n for n, s in zip(t.shape, t.stride(), strict=True))
            t = t[:L, :N].contiguous().expand(shape)
        self.kept.append(t)
        setattr(self.struct, name, t.data_ptr() if t.numel() else None)
        setattr(self.struct, f"{stride}_n", t.stride(0))
        setattr(self.struct, f"{stride}_b", t.stride(1))

    def __call__(self) -> None:
        function = getattr(core.require(), f"lemode_{self.kind}_{core.DTYPES[self.dtype]}")
        if function(ctypes.byref(self.struct)):
            raise MemoryError("the core could not get working memory.")
