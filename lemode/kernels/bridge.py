"""Calls of the compiled core. Every tensor is checked here, and nowhere else, before its address is taken.

A call says of each tensor which shape it must have. What cannot be read is refused in a sentence: another shape, dtype, device or
layout, a tensor without memory (meta, fake, traced). What can be read after a copy is copied: strides that the core does not know,
the lazy negation of a view of complex numbers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from . import core, pool
from .layer import Layer

__all__ = ["backward", "check_sequence", "forward", "has_memory", "rollout", "saved_size", "tanh_"]


_ORDINARY = (Tensor, nn.Parameter)


def has_memory(t: Tensor) -> bool:
    """Whether t is an ordinary tensor, and not one that stands for another: fake, functional, a wrapper.

    Examples
    --------
    >>> has_memory(torch.zeros(2)), has_memory(torch.zeros(2, device="meta"))
    (True, False)
    """
    if type(t) not in _ORDINARY and type(t).__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl:
        return False
    return not t.is_meta


def check_sequence(u: Tensor, y0: Tensor, z0: Tensor, dt: float | Tensor, *weights: Tensor) -> None:
    """ValueError unless the eight tensors of a sequence fit each other, whatever runs it.

    Examples
    --------
    >>> ode, zero = lemode.MultiscaleODE(1, 4), torch.zeros(2, 4)
    >>> weights = [ode.weight_ih, ode.weight_hh, ode.weight_zy, ode.bias]
    >>> check_sequence(torch.zeros(10, 2, 1), zero, zero, 1.0, *weights)
    >>> try:
    ...     check_sequence(torch.zeros(10, 2, 1), zero, zero, 1.0, *weights[:3], ode.bias.double())
    ... except ValueError as error:
    ...     print(error)
    bias is torch.float64, the input u is torch.float32: give both one dtype, e.g. module.to(torch.float32).
    """
    if u.dim() != 3:
        raise ValueError(f"input u of shape {tuple(u.shape)}: give (L, N, features).")
    weight_ih, weight_hh, weight_zy, bias = weights
    (L, N, m), d = u.shape, weight_zy.shape[0]
    _check("y0", y0, (N, d), u)
    _check("z0", z0, (N, d), u)
    _check("weight_ih", weight_ih, (4 * d, m), u)
    _check("weight_hh", weight_hh, (3 * d, d), u)
    _check("weight_zy", weight_zy, (d, d), u)
    _check("bias", bias, (4 * d,), u)
    if isinstance(dt, Tensor):
        _check("dt", dt, tuple(dt.shape), u)
        if tuple(dt.shape) not in {(1, 1), (L, 1), (L, N)}:
            raise ValueError(f"dt of shape {tuple(dt.shape)}: give ({L}, 1) or one step for each sample, ({L}, {N}).")


def forward(
    u: Tensor, y0: Tensor, z0: Tensor, dt: Tensor, weight_ih: Tensor, weight_hh: Tensor, weight_zy: Tensor, bias: Tensor,
    scheme: str, save: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """States ys, zs and, to be handed to `backward`, the gates and candidates (empty if not `save`)."""
    call = _Sequence("forward", scheme, u, y0, z0, dt, weight_ih, weight_hh, weight_zy, bias)
    L, N, d = call.L, call.N, call.d
    ys, zs = pool.empty((L, N, d), u.dtype), pool.empty((L, N, d), u.dtype)
    saved = pool.empty((saved_size(L, N, d, u.dtype) if save else 0,), u.dtype)
    call.own(ys=ys, zs=zs, saved=saved)
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
    need_u, need_dt, need_weights = need
    call = _Sequence("backward", scheme, u, y0, z0, dt, weight_ih, weight_hh, weight_zy, bias)
    L, N, m, d = call.L, call.N, call.m, call.d
    weights = {"weight_ih": weight_ih, "weight_hh": weight_hh, "weight_zy": weight_zy, "bias": bias}
    grad_u = pool.empty((L, N, m) if need_u else (0,), u.dtype)
    grad_dt = u.new_empty((L, N) if need_dt else (0,))
    grad_y0, grad_z0 = u.new_empty((N, d)), u.new_empty((N, d))
    grad_weights = {f"grad_{name}": u.new_empty(w.shape if need_weights else (0,)) for name, w in weights.items()}
    states = {
        "ys": (ys, (L, N, d)),
        "zs": (zs, (L, N, d)),
        "saved": (saved, (saved_size(L, N, d, u.dtype),) if saved.numel() else (0,)),
    }
    for name, (t, shape) in states.items():
        _check(name, t, shape, u)
        call.add(**{name: t})
    call.own(grad_u=grad_u, grad_dt=grad_dt, grad_y0=grad_y0, grad_z0=grad_z0, **grad_weights)
    for name, stride, g in (("grad_ys", "gy", grad_ys), ("grad_zs", "gz", grad_zs)):
        if g is not None:
            _check(name, g, (L, N, d), u)
            call.add_strided(name, stride, g)
    call()
    if need_dt:
        grad_dt = grad_dt.sum_to_size(dt.shape)
    return grad_u, grad_y0, grad_z0, grad_dt, *grad_weights.values()


def rollout(
    layers: Sequence[Layer], readout: Tensor, readout_bias: Tensor, x0: Tensor, state: Sequence[tuple[Tensor, Tensor]],
    steps: int, residual: bool, exogenous: Tensor | None, lower: Tensor | None, upper: Tensor | None, past: Tensor | None, whole: bool,
) -> Tensor:  # fmt: skip
    """See `lemode.kernels.rollout`."""
    N, D = x0.shape
    extra, delays = 0 if exogenous is None else exogenous.shape[2], 0 if past is None else len(past)
    xs = pool.empty((steps, N, D), x0.dtype)
    kept: list[Tensor] = []

    def address(name: str, t: Tensor, shape: tuple[int, ...]) -> int:
        _check(name, t, shape, x0)
        kept.append(_readable(name, t).contiguous())
        return kept[-1].data_ptr()

    structs, m = (core.LayerStruct * len(layers))(), D * (1 + delays) + extra
    for k, (layer, (y, z)) in enumerate(zip(layers, state, strict=True)):
        d = layer.weight_zy.shape[0]
        shapes = {"weight_ih": (4 * d, m), "weight_hh": (3 * d, d), "weight_zy": (d, d), "bias": (4 * d,)}
        structs[k] = core.LayerStruct(
            m=m, d=d, dt=layer.dt, scheme=core.SCHEME_CODES[layer.scheme],
            y0=address(f"y of layer {k}", y, (N, d)), z0=address(f"z of layer {k}", z, (N, d)),
            **{name: address(f"{name} of layer {k}", getattr(layer, name), shape) for name, shape in shapes.items()},
        )  # fmt: skip
        m = d
    width = D * (1 + delays) + extra + 2 * sum(s.d for s in structs) if whole else m
    work = steps * N * 4.0 * sum(s.d * (s.d + s.m) for s in structs)
    struct = core.RolloutStruct(
        steps=steps, N=N, D=D, extra=extra, delays=delays, layers=len(layers), residual=residual, threads=core.threads(work),
        whole=whole, layer=ctypes.addressof(structs), readout=address("readout", readout, (D, width)),
        readout_bias=address("readout_bias", readout_bias, (D,)), x0=address("x0", x0, (N, D)),
        past=None if past is None else address("past", past, (delays, N, D)),
        exogenous=None if exogenous is None else address("exogenous", exogenous, (steps, N, extra)), xs=xs.data_ptr(),
        **{name: address(name, bound, (D,)) for name, bound in (("lower", lower), ("upper", upper)) if bound is not None},
    )  # fmt: skip
    _invoke("rollout", x0.dtype, struct)
    return xs


def tanh_(x: Tensor) -> Tensor:
    """tanh in place, by the core where it can: several times as fast as torch's.

    Examples
    --------
    >>> tanh_(torch.tensor([0.0, 100.0]))
    tensor([0., 1.])
    """
    if core.available() and x.dtype in core.DTYPES and x.device.type == "cpu" and x.is_contiguous() and has_memory(x):
        getattr(core.require(), f"lemode_tanh_{core.DTYPES[x.dtype]}")(x.data_ptr(), x.data_ptr(), x.numel())
        return x
    return x.tanh_()


def saved_size(L: int, N: int, d: int, dtype: torch.dtype) -> int:
    """Elements that `forward` saves; the sizes may be symbolic."""
    lanes = core.require().lemode_vector_bytes() // dtype.itemsize
    return L * N * 4 * ((d + lanes - 1) // lanes * lanes)


def _check(name: str, t: Tensor, shape: tuple[int, ...], like: Tensor) -> None:
    fits = isinstance(t, Tensor) and t.dtype == like.dtype and t.shape == shape and t.device == like.device
    if fits and t.layout == torch.strided:
        return
    if not isinstance(t, Tensor):
        raise TypeError(f"{name} is {type(t).__name__}: give a torch tensor.")
    if t.dtype != like.dtype:
        raise ValueError(
            f"{name} is {t.dtype}, the input u is {like.dtype}: give both one dtype, e.g. module.to({like.dtype})."
        )
    if t.device != like.device:
        raise ValueError(
            f"{name} is on {t.device}, the input u on {like.device}: move one, e.g. module.to({str(like.device)!r})."
        )
    if t.shape != shape:
        raise ValueError(f"{name} has shape {tuple(t.shape)}: give {shape}, which fits the input and weight_zy.")
    raise ValueError(f"{name} is {t.layout}: give a dense tensor, {name}.to_dense().")


def _readable(name: str, t: Tensor) -> Tensor:
    """t, whose shape was checked, as it may be read: with memory, and without the bits of a view that wait to be applied."""
    if not has_memory(t):
        raise ValueError(f"{name} is a {type(t).__name__} on {t.device}, without memory to read: use backend='reference'.")
    if t.dtype not in core.DTYPES or not t.is_cpu:
        raise ValueError(f"{name} is {t.dtype} on {t.device}: the compiled core reads float32 and float64 on the CPU.")
    return t.resolve_neg() if t.is_neg() else t


def _invoke(kind: str, dtype: torch.dtype, struct: ctypes.Structure) -> None:
    if getattr(core.require(), f"lemode_{kind}_{core.DTYPES[dtype]}")(ctypes.byref(struct)):
        raise MemoryError("the core could not get working memory.")


class _Sequence:
    """The fields of a SequenceStruct, and every tensor whose address is in it."""

    def __init__(
        self, kind: str, scheme: str, u: Tensor, y0: Tensor, z0: Tensor, dt: Tensor,
        weight_ih: Tensor, weight_hh: Tensor, weight_zy: Tensor, bias: Tensor,
    ) -> None:  # fmt: skip
        check_sequence(u, y0, z0, dt, weight_ih, weight_hh, weight_zy, bias)
        (self.L, self.N, self.m), self.d = u.shape, weight_zy.shape[0]
        self.kind, self.like = kind, u
        self.kept: list[Tensor] = []
        threads = core.threads(self.L * self.N * 4.0 * self.d * (self.d + self.m))
        sizes = {"L": self.L, "N": self.N, "m": self.m, "d": self.d}
        self.fields = {**sizes, "scheme": core.SCHEME_CODES[scheme], "threads": threads}
        inputs = {"y0": y0, "z0": z0, "weight_ih": weight_ih, "weight_hh": weight_hh, "weight_zy": weight_zy, "bias": bias}
        self.add(**inputs)
        self.add_strided("u", "u", u)
        self.add_strided("dt", "dt", dt.unsqueeze(-1).expand(self.L, self.N, 1))

    def add(self, **tensors: Tensor) -> None:
        """Tensors whose shapes are checked."""
        for name, t in tensors.items():
            self.own(**{name: _readable(name, t).contiguous()})

    def own(self, **tensors: Tensor) -> None:
        """Tensors that were made here."""
        for name, t in tensors.items():
            self.kept.append(t)
            self.fields[name] = t.data_ptr()  # 0, NULL, where t is empty

    def add_strided(self, name: str, stride: str, t: Tensor) -> None:
        """Features must be contiguous; time and sample may have any stride, 0 included."""
        t = _readable(name, t)
        shape, strides = t.shape, t.stride()
        if strides[2] != 1 and shape[2] != 1:
            # the gradient of a sum is one number seen everywhere: copy it once, not L N times
            L, N = (1 if s == 0 else n for n, s in zip(shape[:2], strides[:2], strict=True))
            t = t[:L, :N].contiguous().expand(shape)
            strides = t.stride()
        self.kept.append(t)
        self.fields |= {name: t.data_ptr(), f"{stride}_n": strides[0], f"{stride}_b": strides[1]}

    def __call__(self) -> None:
        _invoke(self.kind, self.like.dtype, core.SequenceStruct(**self.fields))
