r"""Forward and adjoint by hand of a recursion whose weight blocks are convolutions, in torch operations.

The formulas are those of `lemode.kernels.adjoint`, with the convolution by W where W multiplies and that by its transpose where
:math:`W^T` does. A convolution is one matrix product with the columns of the field: the values under the kernel at every
point of the grid, so that features are rows and the points of all samples are columns. The columns of y, of the input, a row of ones
(for the bias) and the columns of z lie under each other: a step is two products, and the gradient of all weights two more.

Columns are gathered anew in every step, forward and backward, and the samples are run in groups: copies within the cache are
cheaper than keeping them, and of all steps only gates, candidates and states are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..schemes import Scheme
from . import backends, derivatives, pool
from .bridge import tanh_

__all__ = ["Plain", "run"]

# x (1 - out^2) and x (1 - out) out in one pass
_through_tanh, _through_sigmoid = torch.ops.aten.tanh_backward.grad_input, torch.ops.aten.sigmoid_backward.grad_input
POINTS = 1024  # of the grids of a group of samples, at least one sample: what still lies in the second-level cache


class Plain(NamedTuple):
    """The same recursion by plain operations, for derivatives that the adjoint by hand does not have.

    Examples
    --------
    >>> Plain(loop=lambda *inputs: inputs[:2], batched=lambda *grads: grads).loop(1, 2, 3)
    (1, 2)
    """

    loop: derivatives.Loop  # of u, y0, z0 and the four weights
    batched: Callable[..., tuple[Tensor | None, ...]]  # gradients by them, several at once


def run(
    scheme: Scheme,
    u: Tensor,
    y0: Tensor,
    z0: Tensor,
    dt: float,
    weights: Sequence[Tensor],
    circular: bool,
    plain: Plain,
) -> tuple[Tensor, Tensor]:
    """The states ``ys (T, n, d, *grid)`` and the last z, for u ``(T, n, m, *grid)``, y0 and z0 ``(n, d, *grid)``."""
    args = (u, y0, z0, *weights)
    keep = torch.is_grad_enabled() and any(a.requires_grad for a in args)
    ys, zn = _Recursion.apply(scheme, dt, circular, keep, plain, *args)
    return ys, zn


class _Recursion(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scheme: Scheme, dt: float, circular: bool, keep: bool, plain: Plain, *args: Tensor
    ) -> tuple[Tensor, Tensor]:
        u, y0, z0, *weights = args
        phi = scheme.leak
        assert phi is not None
        d, (T, N), grid = y0.shape[1], u.shape[:2], u.shape[3:]
        to_gates, to_y = _stacked(*weights)
        ys, zn = _empty(u, (T, N, d, *grid)), torch.empty_like(z0)
        kept = []
        for group in _groups(N, grid):
            columns = _StepColumns(u[:, group], weights, circular)
            size, points = columns.size, columns.size.numel()
            # z above y, as the gates 1, 2 and the candidates z, y
            acts, states = _empty(u, (T if keep else 1, 4 * d, points)), _empty(u, (T + 1, 2 * d, points))
            _as_field(states[0, :d], size).copy_(z0[group].transpose(0, 1))
            _as_field(states[0, d:], size).copy_(y0[group].transpose(0, 1))
            for n in range(T):
                a, (z, y), (new_z, new_y) = acts[n if keep else 0], states[n].split(d), states[n + 1].split(d)
                columns.of_y.fill(_as_field(y, size))
                columns.of_u.fill(u[n, group].transpose(0, 1))
                torch.mm(to_gates, columns.for_gates, out=a[: 3 * d])
                g, zh, yh = a[: 2 * d].sigmoid_(), tanh_(a[2 * d : 3 * d]), a[3 * d :]
                leak = phi(g if dt == 1 else dt * g)
                torch.addcmul(z, leak[:d], zh - z, out=new_z)
                columns.of_z.fill(_as_field(new_z, size))
                torch.mm(to_y, columns.for_y, out=yh)
                torch.addcmul(y, leak[d:], tanh_(yh) - y, out=new_y)
                ys[n, group].copy_(_as_field(new_y, size).transpose(0, 1))
            zn[group].copy_(_as_field(states[T, :d], size).transpose(0, 1))
            kept += [acts, states]
        if keep:
            ctx.scheme, ctx.dt, ctx.circular, ctx.plain = scheme, dt, circular, plain
            ctx.save_for_backward(*args, *kept)
            ctx.set_materialize_grads(False)
        return ys, zn

    @staticmethod
    def backward(ctx: Any, grad_ys: Tensor | None, grad_zn: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # once: gradient checkpointing allows no more
        inputs, kept = saved[:7], saved[7:]
        if torch.is_grad_enabled() or backends.transformed():  # create_graph=True; vmap over incoming gradients
            grads = derivatives.gradients(ctx.plain.loop, inputs, (grad_ys, grad_zn), ctx.needs_input_grad[5:])
            return None, None, None, None, None, *grads
        if backends.batched(grad_ys, grad_zn):
            return None, None, None, None, None, *ctx.plain.batched(grad_ys, grad_zn, inputs, ctx.needs_input_grad[5:])
        u, _, _, *weights = inputs
        weight_ih, weight_hh, weight_zy, _ = weights
        phi, dphi = ctx.scheme.leak, ctx.scheme.leak_slope
        d, (T, N), grid, dt = weight_zy.shape[0], u.shape[:2], u.shape[3:], ctx.dt
        need_u, _, _, *need_weights = ctx.needs_input_grad[5:]
        grad_u = torch.empty_like(u) if need_u else None
        grad_y0, grad_z0 = u.new_empty(N, d, *grid), u.new_empty(N, d, *grid)
        by_gates, by_y = (torch.zeros_like(w) for w in _stacked(*weights))
        ih_t, hh_t, zy_t = (w.flatten(1).t() for w in weights[:3])
        for k, group in enumerate(_groups(N, grid)):
            acts, states = kept[2 * k : 2 * k + 2]
            columns = _StepColumns(u[:, group], weights, ctx.circular)
            size, points = columns.size, columns.size.numel()
            grad, a = u.new_zeros(2 * d, points), u.new_empty(4 * d, points)
            lost, gap = u.new_empty(2 * d, points), u.new_empty(2 * d, points)
            (dz, dy), (a_gates, a_y) = grad.split(d), a.split([3 * d, d])
            if grad_zn is not None:
                _as_field(dz, size).copy_(grad_zn[group].transpose(0, 1))
            for n in range(T - 1, -1, -1):
                if grad_ys is not None:
                    _as_field(dy, size).add_(grad_ys[n, group].transpose(0, 1))
                g, candidates = acts[n].split(2 * d)
                x = g if dt == 1 else dt * g
                leak = phi(x)
                torch.mul(dy, leak[d:], out=lost[d:])
                _through_tanh(lost[d:], candidates[d:], grad_input=a_y)
                if any(need_weights):
                    columns.of_u.fill(u[n, group].transpose(0, 1))
                    columns.of_z.fill(_as_field(states[n + 1, :d], size))
                    by_y.addmm_(a_y, columns.for_y.t())
                columns.of_z.add_transposed(dz, zy_t, a_y)
                torch.mul(dz, leak[:d], out=lost[:d])
                _through_tanh(lost[:d], candidates[:d], grad_input=a[2 * d : 3 * d])
                torch.sub(candidates, states[n], out=gap).mul_(grad)
                if dt != 1:
                    gap.mul_(dt)
                if ctx.scheme.name != "imex":
                    gap.mul_(dphi(x))
                _through_sigmoid(gap, g, grad_input=a[: 2 * d])
                grad.sub_(lost)
                if any(need_weights):
                    columns.of_y.fill(_as_field(states[n, d:], size))
                    by_gates.addmm_(a_gates, columns.for_gates.t())
                columns.of_y.add_transposed(dy, hh_t, a_gates)
                if grad_u is not None:
                    to_u = u.new_zeros(u.shape[2], points)
                    columns.of_u.add_transposed(to_u, ih_t, a)
                    grad_u[n, group].copy_(_as_field(to_u, size).transpose(0, 1))
            grad_y0[group].copy_(_as_field(dy, size).transpose(0, 1))
            grad_z0[group].copy_(_as_field(dz, size).transpose(0, 1))
        hh, ih_gates, bias_gates = by_gates.split([len(hh_t), len(ih_t), 1], 1)
        ih_y, bias_y, zy = by_y.split([len(ih_t), 1, len(zy_t)], 1)
        by_weights = (torch.cat([ih_gates, ih_y]).view_as(weight_ih), hh.reshape_as(weight_hh), zy.reshape_as(weight_zy))
        grads = (grad_u, grad_y0, grad_z0, *by_weights, torch.cat([bias_gates, bias_y]).view(-1))
        return None, None, None, None, None, *(g if wanted else None for g, wanted in zip(grads, ctx.needs_input_grad[5:]))


class _Columns:
    """Writes the values of a field ``(c, n, *grid)`` under a kernel, K at every point, into `out (c K, points)`.

    Rows are ordered as in a flattened kernel, ``(c, *kernel)``.
    """

    def __init__(self, out: Tensor, size: torch.Size, kernel: torch.Size, circular: bool) -> None:
        (n, *grid), c = size, out.shape[0] // kernel.numel()
        half = [k // 2 for k in kernel]
        self.flat, self.out = out, out.view(c, *kernel, *size)
        padded = out.new_zeros(c, n, *(g + 2 * h for g, h in zip(grid, half)))
        self.padded = self.inside = padded
        self.edges: list[tuple[Tensor, Tensor]] = []  # and what they repeat
        for axis, (g, h) in enumerate(zip(grid, half), start=2):
            self.inside = self.inside.narrow(axis, h, g)
            if circular and h:  # axis by axis, each over the whole of the others: corners come right
                self.edges.append((padded.narrow(axis, 0, h), padded.narrow(axis, g, h)))
                self.edges.append((padded.narrow(axis, g + h, h), padded.narrow(axis, h, h)))
        # windows[:, s] is the field seen from the tap s of the kernel
        s = padded.stride()
        self.windows = padded.as_strided(self.out.shape, (s[0], *s[2:], *s[1:]))
        taps: list[tuple[slice | int, ...]] = [(slice(None), *tap) for tap in itertools.product(*map(range, kernel))]
        self.taps = [(self.windows[tap], self.out[tap]) for tap in taps]

    def fill(self, field: Tensor) -> None:
        if len(self.taps) == 1:
            self.out.copy_(field.view_as(self.out) if field.is_contiguous() else field.reshape(self.out.shape))
            return
        self.inside.copy_(field)
        for edge, source in self.edges:
            edge.copy_(source)
        self.out.copy_(self.windows)

    def add_transposed(self, field: Tensor, weight_t: Tensor, a: Tensor) -> None:
        """Add to `field (c, points)` the transposed convolution of a, overwriting the columns."""
        if len(self.taps) == 1:
            field.addmm_(weight_t, a)
            return
        torch.mm(weight_t, a, out=self.flat)
        self.padded.zero_()
        for window, values in self.taps:
            window.add_(values)
        for edge, source in reversed(self.edges):
            source.add_(edge)
        field.view(self.inside.shape).add_(self.inside)
        if not self.edges:
            self.padded.zero_()  # `fill` relies on zeros around the field


class _StepColumns:
    """What one step multiplies, under each other: the columns of y, of u, ones, the columns of z."""

    def __init__(self, u: Tensor, weights: list[Tensor], circular: bool) -> None:
        weight_ih, weight_hh, weight_zy, _ = weights
        self.size = torch.Size((u.shape[1], *u.shape[3:]))
        rows = [weight_hh[0].numel(), weight_ih[0].numel(), 1, weight_zy[0].numel()]
        everything = u.new_ones(sum(rows), self.size.numel())
        y, x, _, z = everything.split(rows)
        self.of_y, self.of_u, self.of_z = (
            _Columns(out, self.size, weight.shape[2:], circular)
            for out, weight in ((y, weight_hh), (x, weight_ih), (z, weight_zy))
        )
        self.for_gates, self.for_y = everything[: sum(rows[:3])], everything[rows[0] :]


def _stacked(weight_ih: Tensor, weight_hh: Tensor, weight_zy: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The matrices that act on the columns: those of 1, 2, z on (y, u, 1), that of y on (u, 1, z)."""
    d = len(weight_zy)
    ih, b = weight_ih.flatten(1), bias.unsqueeze(1)
    gates = torch.cat([weight_hh.flatten(1), ih[: 3 * d], b[: 3 * d]], 1)
    return gates, torch.cat([ih[3 * d :], b[3 * d :], weight_zy.flatten(1)], 1)


def _groups(samples: int, grid: torch.Size) -> list[slice]:
    count = max(1, POINTS // max(1, grid.numel()))
    return [slice(k, min(k + count, samples)) for k in range(0, samples, count)]


def _as_field(x: Tensor, size: torch.Size) -> Tensor:
    return x.view(-1, *size)


def _empty(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    return pool.empty(shape, like.dtype) if like.device.type == "cpu" else like.new_empty(shape)
