"""Calls of the compiled core: tensors in, tensors out, no derivatives."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from . import core, pool
from .layer import Layer

__all__ = ["backward", "forward", "rollout", "saved_size"]


def forward(
    u: Tensor, y0: Tensor, z0: Tensor, dt: Tensor, weight_ih: Tensor, weight_hh: Tensor, weight_zy: Tensor, bias: Tensor,
    scheme: str, save: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """States ys, zs and, to be handed to `backward`, the gates and candidates (empty if not `save`)."""
    (L, N, _), d = u.shape, weight_zy.shape[0]
    ys, zs = pool.empty((L, N, d), u.dtype), pool.empty((L, N, d), u.dtype)
    saved = pool.empty((saved_size(L, N, d, u.dtype) if save else 0,), u.dtype)
    call = _Call(
        "forward", scheme, u, dt, y0=y0, z0=z0, weight_ih=weight_ih, weight_hh=weight_hh, weight_zy=weight_zy, bias=bias
    )
    call.add(ys=ys, zs=zs, saved=saved)
    call()
    return ys, zs, saved


def backward(
    grad_ys: Tensor | None, grad_zs: Tensor | None,
    u: Tensor, y0: Tensor, z0: Tensor, dt: Tensor, weight_ih: Tensor, weight_hh: Tensor, weight_zy: Tensor, bias: Tensor,
    ys: Tensor, zs: Tensor, saved: Tensor, scheme: str, need: list[bool],
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients by the eight inputs; `need` says whether those by u, dt and the weights are wanted (else empty).

    Where `saved` is empty the gates are computed again from ys and zs.
    """
    L, N, m = u.shape
    need_u, need_dt, need_weights = need
    weights = {"weight_ih": weight_ih, "weight_hh": weight_hh, "weight_zy": weight_zy, "bias": bias}
    grad_u = pool.empty((L, N, m) if need_u else (0,), u.dtype)
    grad_dt = u.new_empty((L, N) if need_dt else (0,))
    grad_y0, grad_z0 = u.new_empty(y0.shape), u.new_empty(z0.shape)
    grad_weights = {f"grad_{name}": u.new_empty(w.shape if need_weights else (0,)) for name, w in weights.items()}
    call = _Call("backward", scheme, u, dt, y0=y0, z0=z0, **weights)
    call.add(ys=ys, zs=zs, saved=saved, grad_u=grad_u, grad_dt=grad_dt, grad_y0=grad_y0, grad_z0=grad_z0, **grad_weights)
    call.add_strided("grad_ys", "gy", grad_ys)
    call.add_strided("grad_zs", "gz", grad_zs)
    call()
    if need_dt:
        grad_dt = grad_dt.sum_to_size(dt.shape)
    return grad_u, grad_y0, grad_z0, grad_dt, *grad_weights.values()


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
    struct = core.RolloutStruct(
        steps=steps, N=N, D=D, extra=extra, layers=len(layers), residual=residual, threads=core.threads(work),
        layer=ctypes.addressof(structs), readout=address(readout), readout_bias=address(readout_bias), x0=address(x0),
        exogenous=address(exogenous) if exogenous is not None else None, xs=xs.data_ptr(),
    )  # fmt: skip
    _invoke("rollout", x0.dtype, struct)
    return xs


def saved_size(L: int, N: int, d: int, dtype: torch.dtype) -> int:
    """Elements that `forward` saves; the sizes may be symbolic."""
    lanes = core.require().lemode_vector_bytes() // dtype.itemsize
    return L * N * 4 * ((d + lanes - 1) // lanes * lanes)


def _invoke(kind: str, dtype: torch.dtype, struct: ctypes.Structure) -> None:
    if getattr(core.require(), f"lemode_{kind}_{core.DTYPES[dtype]}")(ctypes.byref(struct)):
        raise MemoryError("the core could not get working memory.")


class _Call:
    """The fields of a SequenceStruct, and every tensor whose address is in it."""

    def __init__(self, kind: str, scheme: str, u: Tensor, dt: Tensor, **tensors: Tensor) -> None:
        (L, N, m), d = u.shape, tensors["weight_zy"].shape[0]
        self.kind, self.dtype, self.kept = kind, u.dtype, [u]
        threads = core.threads(L * N * 4.0 * d * (d + m))
        self.fields = {"L": L, "N": N, "m": m, "d": d, "scheme": core.SCHEMES[scheme], "threads": threads}
        self.add(**tensors)
        self.add_strided("u", "u", u)
        self.add_strided("dt", "dt", dt.unsqueeze(-1).expand(L, N, 1))

    def add(self, **tensors: Tensor) -> None:
        for name, t in tensors.items():
            t = t.contiguous()
            self.kept.append(t)
            self.fields[name] = t.data_ptr()  # 0, NULL, where t is empty

    def add_strided(self, name: str, stride: str, t: Tensor | None) -> None:
        """Features must be contiguous; time and sample may have any stride, 0 included."""
        if t is None:
            return
        strides = t.stride()
        if strides[2] != 1 and t.shape[2] != 1:
            # the gradient of a sum is one number seen everywhere: copy it once, not L N times
            shape, (L, N, _) = t.shape, (1 if s == 0 else n for n, s in zip(t.shape, strides, strict=True))
            t = t[:L, :N].contiguous().expand(shape)
            strides = t.stride()
        self.kept.append(t)
        self.fields |= {name: t.data_ptr(), f"{stride}_n": strides[0], f"{stride}_b": strides[1]}

    def __call__(self) -> None:
        _invoke(self.kind, self.dtype, core.SequenceStruct(**self.fields))
