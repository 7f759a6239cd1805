r"""A sequence solved for all of its steps at once, by sweeps over the whole of it.

With frozen gates and targets a step of LEM is linear, :math:`x_n = (1 - \ell)\,x_{n-1} + \ell\,\hat x`, and a linear recurrence of any
length takes :math:`\log_2 L` rounds of an associative scan. A *leaky* sweep takes gates and targets from the states :math:`y^k` of the
sweep before,

.. math::

    z^{k+1}_n &= (1 - \ell_1(y^k_{n-1}))\, z^{k+1}_{n-1} + \ell_1(y^k_{n-1})\, \hat z(y^k_{n-1}), \\
    y^{k+1}_n &= (1 - \ell_2(y^k_{n-1}))\, y^{k+1}_{n-1} + \ell_2(y^k_{n-1})\, \hat y(z^{k+1}_n) .

It keeps the unit cube, whatever the weights. A *Newton* sweep linearises the step itself,
:math:`x^{k+1}_n = F(x^k_{n-1}) + J_n\,(x^{k+1}_{n-1} - x^k_{n-1})`, and is then held in the cube, where the solution is. Far from the
solution it may go astray, and a leaky sweep is taken in its place while those sweeps move much and get on: that is the damping. A sweep
that moves more than half of what the one before did is followed by one of the other kind. After k sweeps of either kind the first k states
are exact. How many are enough is statement 9.1, ``theory/parallel_in_time.py`` and `lemode.analysis.promised_sweeps`.

The derivative is that of the solution: the adjoint recurrence is linear, one scan.

Where all recurrent weights are diagonal, a Jacobian is a 2 x 2 block for each unit, and a sweep of Newton's method or of the adjoint costs
O(d), for any number of units.

Newton: Lim, Zhu, Selfridge and Kasim, *Parallelizing non-linear sequential models over the sequence length*, ICLR 2024, arXiv:2309.12252;
diagonals in the place of Jacobians: Gonzalez, Warrington, Smith and Linderman, NeurIPS 2024, arXiv:2407.19115. The leaky sweep differs from
theirs in that y reads the new z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..ode import MultiscaleODE, plain
from ..schemes import Scheme
from . import backends, derivatives, native, reference

__all__ = ["Solution", "diagonal", "linear_scan", "run", "solve"]

State = tuple[Tensor, Tensor]

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
ROUNDING = 32  # machine epsilons: what a converged sweep may still move, from rounding in the scan
MAX_SWEEPS = 100
NEWTON_UP_TO = 16  # hidden units; a Jacobian costs (2 d)^3 in the scan
ADJOINT_UP_TO = 64  # hidden units, for the same reason; only one scan is needed here
NEAR = 0.1  # how little a sweep moves where Newton's method is taken, whether sweeps get on or not
BLOCK = 2**22  # numbers in the largest tensor of a scan


class Solution(NamedTuple):
    """The states of a sequence ``(L, N, d)``, the sweeps of each block of it, and whether they converged.

    Examples
    --------
    >>> zero = torch.zeros(1, 1, 1)
    >>> Solution(zero, zero, (7, 5), True).sweeps
    (7, 5)
    """

    ys: Tensor
    zs: Tensor
    sweeps: tuple[int, ...]
    converged: bool


def linear_scan(A: Tensor, b: Tensor) -> Tensor:
    r"""All states of :math:`x_n = A_n x_{n-1} + b_n` from :math:`x_0 = 0`, in :math:`\log_2 L` rounds and O(L) work.

    .. math:: (A', b') \circ (A, b) = (A'A,\ A'b + b')

    is associative: pairs of steps are one step of a recurrence half as long, which gives every second state, and those give the others.

    Parameters
    ----------
    A : (L, ..., k, k), or (L, ..., k) for diagonal matrices
    b : (L, ..., k)

    Returns
    -------
    Tensor (L, ..., k)

    Examples
    --------
    >>> linear_scan(torch.full((4, 1), 0.5), torch.ones(4, 1)).flatten()
    tensor([1.0000, 1.5000, 1.7500, 1.8750])
    """
    L = len(A)
    if L < 2:
        return b
    first, second, last = A[: L - 1 : 2], A[1::2], (L - 1) // 2
    odd = linear_scan(_product(second, first, matrices=A.dim() > b.dim()), _apply(second, b[: L - 1 : 2]) + b[1::2])
    even = torch.cat([b[:1], _apply(A[2::2], odd[:last]) + b[2::2]])
    pairs = torch.stack([even[: len(odd)], odd], 1).flatten(0, 1)
    return torch.cat([pairs, even[len(odd) :]])


def _product(A: Tensor, B: Tensor, matrices: bool) -> Tensor:
    return A @ B if matrices else A * B


def _apply(A: Tensor, x: Tensor) -> Tensor:
    return (A @ x.unsqueeze(-1)).squeeze(-1) if A.dim() > x.dim() else A * x


def solve(
    ode: MultiscaleODE,
    scheme: Scheme,
    u: Tensor,
    y0: Tensor,
    z0: Tensor,
    dt: float | Tensor,
    tol: float | None = None,
    *,
    newton: bool | None = None,
    sweeps: int | None = None,
    guess: State | None = None,
    max_sweeps: int | None = None,
    block: int | None = None,
) -> Solution:
    r"""The states of `lemode.kernels.run`, by sweeps over the whole sequence; without derivatives.

    .. math:: x_n = F(x_{n-1}, u_n), \qquad n = 1, \dots, L

    It stops when the error that is left, estimated from how much the last two sweeps moved the states, is below `tol`.

    Parameters
    ----------
    ode, scheme, u, y0, z0, dt
        As for `lemode.kernels.run`; a scheme with a leak.
    tol : float, optional
        Largest error of a state; 1e-5 in float32 and 1e-10 in float64 by default.
    newton : bool, optional
        Newton sweeps near the solution, or leaky ones only; by default Newton's up to 16 hidden units, or where all recurrent weights
        are diagonal.
    sweeps : int, optional
        So many leaky sweeps and no look at what they do: `lemode.analysis.promised_sweeps` says how many are enough.
    guess : (ys, zs), each (L, N, d), optional
        Where to begin, such as the states before the last step of a training; the initial state by default.
    max_sweeps : int, optional
        After so many, in one block, it gives up; 100 by default.
    block : int, optional
        Steps solved at once, one block after the other; by default as many as memory is meant for, and all where `sweeps` is given.

    Returns
    -------
    Solution
        Where ``converged`` is False the states are not those of the sequence. Given `sweeps`, it says that they are finite.

    Raises
    ------
    ValueError
        For a scheme without a leak, a tol below rounding, or another number that is not positive.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 4, dt=0.1, dtype=torch.float64)
    >>> u, zero = torch.randn(100, 2, 1, dtype=torch.float64), torch.zeros(2, 4, dtype=torch.float64)
    >>> found = solve(cell.ode, cell.scheme, u, zero, zero, cell.dt)
    >>> ys, zs = lemode.kernels.run(cell.ode, cell.scheme, u, zero, zero, cell.dt)
    >>> found.converged, bool((found.ys - ys).abs().max() < 1e-10)
    (True, True)
    """
    tol = _checked(scheme, u.dtype, tol, sweeps=sweeps, max_sweeps=max_sweeps, block=block)
    d, N = ode.hidden_size, u.shape[1]
    narrow = diagonal(ode)
    newton = (narrow or d <= NEWTON_UP_TO if newton is None else newton) and sweeps is None
    max_sweeps = sweeps or max_sweeps or MAX_SWEEPS
    per_step = N * d * (4 * d if newton and not narrow else 4)
    block = block or (len(u) if sweeps else max(1, BLOCK // per_step))
    tol /= math.ceil(len(u) / block)  # the error at the end of a block goes on into the next
    with torch.no_grad():
        steps = _Steps(ode, scheme, u, y0, z0, dt)
        state, counts = (y0, z0), list[int]()
        all_ys, all_zs = list[Tensor](), list[Tensor]()
        for start in range(0, len(u), block):
            part = slice(start, start + block)
            first = state if guess is None else (guess[0][part], guess[1][part])
            ys, zs, count = _solve_block(steps, part, state, first, tol, newton, max_sweeps, look=sweeps is None)
            counts.append(abs(count))
            all_ys.append(ys)
            all_zs.append(zs)
            if count < 0:
                break
            state = ys[-1], zs[-1]
    return Solution(torch.cat(all_ys), torch.cat(all_zs), tuple(counts), count > 0)


def _checked(scheme: Scheme, dtype: torch.dtype, tol: float | None, **counts: int | None) -> float:
    if scheme.leak is None:
        raise ValueError(f"scheme={scheme.name!r} has no leak: the sweeps are for {', '.join(backends.LEAKY)}.")
    for name, count in counts.items():
        if count is not None and (not isinstance(count, int) or count < 1):
            raise ValueError(f"{name}={count!r}: give a positive integer.")
    if tol is None:
        return TOLERANCE.get(dtype, 1e-5)
    least = ROUNDING * torch.finfo(dtype).eps
    if not (math.isfinite(tol) and tol >= least):
        raise ValueError(f"tol={tol!r}: in {dtype} sums are rounded; give a number of at least {least:.1g}.")
    return tol


def diagonal(ode: MultiscaleODE) -> bool:
    r"""Whether all recurrent weights are diagonal: then units do not read each other, and a Jacobian is a 2 x 2 block for each.

    .. math:: W_1,\ W_2,\ W_z,\ W_y \text{ diagonal}

    Examples
    --------
    One that stays so in training:

    >>> class Diagonal(torch.nn.Module):
    ...     def forward(self, W):
    ...         return W * torch.eye(W.shape[1]).repeat(len(W) // W.shape[1], 1)
    >>> ode = lemode.MultiscaleODE(1, 3)
    >>> for name in ("weight_hh", "weight_zy"):
    ...     _ = torch.nn.utils.parametrize.register_parametrization(ode, name, Diagonal())
    >>> diagonal(ode)
    True
    """
    return not any(bool((W - W.diag().diag()).any()) for W in (*ode.weight_hh.detach().chunk(3), ode.weight_zy.detach()))


class _Steps:
    """What does not change from sweep to sweep: weights, what the input adds to the four arguments, steps, the cube."""

    def __init__(self, ode: MultiscaleODE, scheme: Scheme, u: Tensor, y0: Tensor, z0: Tensor, dt: float | Tensor) -> None:
        assert scheme.leak is not None
        assert scheme.leak_slope is not None
        self.leak, self.slope, self.p = scheme.leak, scheme.leak_slope, ode.blocks()
        self.on_y, self.d, self.diagonal = ode.weight_hh.t(), ode.hidden_size, diagonal(ode)
        self.from_input = torch.addmm(ode.stacked_bias(), u.flatten(0, 1), ode.weight_ih.t()).unflatten(0, u.shape[:2])
        self.dt = (
            dt.unsqueeze(-1).expand(len(u), -1, -1)
            if isinstance(dt, Tensor)
            else u.new_full((1, 1, 1), dt).expand(len(u), 1, 1)
        )
        largest = float(self.dt.max()) if len(u) else 0.0
        # S1: from |x_0| <= R no state leaves the cube of max(1, R); beyond max_dt there is no such cube
        inside = max((float(s.abs().max()) for s in (y0, z0) if s.numel()), default=0.0)
        self.radius = max(1.0, inside) if largest <= scheme.max_dt else math.inf

    def leaky(self, part: slice, state: State, y: Tensor) -> State:
        """A leaky sweep from ``y (l, N, d)``, the states before each step."""
        a, d = self.from_input[part], self.d
        h = a[..., : 3 * d] + y @ self.on_y
        leak1, leak2 = self.leak(self.dt[part] * h[..., : 2 * d].sigmoid()).chunk(2, -1)
        zs = _relax(leak1, h[..., 2 * d :].tanh(), state[1])
        return _relax(leak2, (a[..., 3 * d :] + zs @ self.p.Wy.t()).tanh(), state[0]), zs

    def jacobians(self, part: slice, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The new y and z of each step from the states before it, and the matrices J for what `join` makes; theory, section 3."""
        a, d, p, dt = self.from_input[part], self.d, self.p, self.dt[part]
        h = a[..., : 3 * d] + y @ self.on_y
        g, zh = h[..., : 2 * d].sigmoid(), h[..., 2 * d :].tanh()
        leak1, leak2 = self.leak(dt * g).chunk(2, -1)
        gate1, gate2 = (self.slope(dt * g) * dt * g * (1 - g)).chunk(2, -1)
        new_z = z + leak1 * (zh - z)
        yh = (a[..., 3 * d :] + new_z @ p.Wy.t()).tanh()
        if self.diagonal:
            w1, w2, wz, wy = (w.diagonal() for w in (p.W1, p.W2, p.Wz, p.Wy))
            b, s = gate1 * (zh - z) * w1 + leak1 * (1 - zh * zh) * wz, leak2 * (1 - yh * yh) * wy
            rows = (1 - leak1, b), (s * (1 - leak1), gate2 * (yh - y) * w2 + 1 - leak2 + s * b)
            return y + leak2 * (yh - y), new_z, torch.stack([torch.stack(row, -1) for row in rows], -2)
        B = _rows(gate1 * (zh - z), p.W1) + _rows(leak1 * (1 - zh * zh), p.Wz)
        S = _rows(leak2 * (1 - yh * yh), p.Wy)
        D = _rows(gate2 * (yh - y), p.W2) + torch.diag_embed(1 - leak2)
        J = torch.cat(
            [torch.cat([torch.diag_embed(1 - leak1), B], -1), torch.cat([S * (1 - leak1).unsqueeze(-2), D + S @ B], -1)], -2
        )
        return y + leak2 * (yh - y), new_z, J

    def newton(self, part: slice, y: Tensor, z: Tensor) -> State:
        """A Newton sweep from y and z, the states before each step, held in the cube."""
        new_y, new_z, J = self.jacobians(part, y, z)
        new = self.join(new_z, new_y)
        # the first step is from the initial state itself
        b = torch.cat([new[:1], new[1:] - _apply(J[1:], self.join(z, y)[1:])])
        zs, ys = self.split(linear_scan(J, b).clamp(-self.radius, self.radius))
        return ys, zs

    def join(self, z: Tensor, y: Tensor) -> Tensor:
        """One vector (z, y) a step, ``(..., 2 d)``; or, if diagonal, one a step and unit, ``(..., d, 2)``."""
        return torch.stack([z, y], -1) if self.diagonal else torch.cat([z, y], -1)

    def split(self, x: Tensor) -> Sequence[Tensor]:
        """z and y of what `join` makes."""
        return x.unbind(-1) if self.diagonal else x.chunk(2, -1)


def _relax(leak: Tensor, target: Tensor, start: Tensor) -> Tensor:
    """The states of x_n = (1 - leak) x_{n-1} + leak target."""
    b = leak * target
    b[0] += (1 - leak[0]) * start
    return linear_scan(1 - leak, b)


def _rows(scale: Tensor, matrix: Tensor) -> Tensor:
    return scale.unsqueeze(-1) * matrix


def _solve_block(
    steps: _Steps, part: slice, state: State, guess: State, tol: float, newton: bool, max_sweeps: int, look: bool
) -> tuple[Tensor, Tensor, int]:
    """The states of a block, and how many sweeps they took, negative if in vain."""
    length = len(steps.from_input[part])
    ys, zs = (g.clamp(-steps.radius, steps.radius).expand(length, *s.shape) for g, s in zip(guess, state, strict=True))
    rounding = ROUNDING * torch.finfo(ys.dtype).eps * max(1.0, min(steps.radius, 2.0))
    moved, by_newton = math.inf, False
    for k in range(1, max_sweeps + 1):
        y, z = (torch.cat([s[None], x[:-1]]) for s, x in zip(state, (ys, zs), strict=True))
        new_ys, new_zs = steps.newton(part, y, z) if by_newton else steps.leaky(part, state, y)
        if not look:
            ys, zs = new_ys, new_zs
            continue
        before, moved = moved, max(_largest(new_ys - ys), _largest(new_zs - zs))
        if by_newton and not math.isfinite(moved):  # products of Jacobians overflow
            by_newton, moved = False, before
            continue
        ys, zs = new_ys, new_zs
        if not math.isfinite(moved):
            return ys, zs, -k
        rate = moved / before if by_newton or math.isfinite(before) else 1.0
        left = moved * max(1.0, rate / (1 - rate)) if rate < 1 else math.inf
        if left <= tol or moved <= rounding:
            return ys, zs, k
        slow = moved > before / 2
        by_newton = newton and (moved <= NEAR or slow != by_newton)
    finite = bool(ys[-1].isfinite().all())
    return ys, zs, max_sweeps if finite and not look else -max_sweeps


def _largest(x: Tensor) -> float:
    return float(x.abs().max())


def run(
    ode: MultiscaleODE, scheme: Scheme, u: Tensor, y0: Tensor, z0: Tensor, dt: float | Tensor, tol: float | None = None
) -> tuple[Tensor, Tensor] | None:
    """As `lemode.kernels.run`, with derivatives; None if the sweeps did not converge."""
    steps = dt if isinstance(dt, Tensor) else u.new_full((1, 1), dt)
    inputs: Any = u, y0, z0, steps, ode.weight_ih, ode.weight_hh, ode.weight_zy, ode.stacked_bias()
    if not u.numel() or not len(u):
        return reference.run(ode, scheme, u, y0, z0, dt)
    found = solve(ode, scheme, u, y0, z0, dt, tol)
    if not found.converged:
        return None
    ys, zs = _Solved.apply(scheme, found.ys, found.zs, *inputs)
    return ys, zs


class _Solved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scheme: Scheme, ys: Tensor, zs: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        ctx.scheme = scheme
        ctx.save_for_backward(*inputs, ys, zs)
        ctx.set_materialize_grads(False)
        return ys.view_as(ys), zs.view_as(zs)

    @staticmethod
    def backward(ctx: Any, grad_ys: Tensor | None, grad_zs: Tensor | None) -> tuple[Tensor | None, ...]:
        *inputs, ys, zs = ctx.saved_tensors
        scheme, need, grads = ctx.scheme, ctx.needs_input_grad[3:], (grad_ys, grad_zs)
        if torch.is_grad_enabled() or backends.transformed():  # create_graph=True; vmap over incoming gradients

            def loop(u: Tensor, y0: Tensor, z0: Tensor, dt: Tensor, *weights: Any) -> tuple[Tensor, Tensor]:
                return reference.run(plain(*weights), scheme, u, y0, z0, dt)

            return None, None, None, *derivatives.gradients(loop, inputs, grads, need)
        parameters: Any = inputs[4:]
        wide = ys.shape[-1] > ADJOINT_UP_TO and not diagonal(plain(*parameters))
        if backends.batched(*grads) or wide:
            return None, None, None, *native.operator_gradients(grads, inputs, ys, zs, scheme.name, need)
        return None, None, None, *_adjoint(scheme, inputs, ys, zs, grads, need)


def _adjoint(
    scheme: Scheme, inputs: Sequence[Tensor], ys: Tensor, zs: Tensor, grads: Sequence[Tensor | None], need: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    r"""Gradients by the inputs that `need` marks: :math:`v_n = \bar x_n + J_{n+1}^T v_{n+1}` by a scan, then one step of all n at once."""
    u, y0, z0, dt, *weights = inputs
    parameters: Any = weights
    ode = plain(*parameters)
    (L, N, _), d = u.shape, ode.hidden_size
    steps = _Steps(ode, scheme, u, y0, z0, dt)
    block = max(1, BLOCK // (N * 4 * d * (1 if steps.diagonal else d)))
    above = steps.join(*(torch.zeros_like(s) if g is None else g for g, s in zip(grads[::-1], (zs, ys), strict=True)))
    before = [torch.cat([s[None], x[:-1]]) for s, x in zip((y0, z0), (ys, zs), strict=True)]
    carry, totals = torch.zeros_like(above[0]), [torch.zeros_like(w) for w in weights]
    by_u, by_dt = torch.empty_like(u), torch.zeros_like(dt)
    for end in range(L, 0, -block):
        part = slice(max(0, end - block), end)
        y, z = (s[part] for s in before)
        J = steps.jacobians(part, y, z)[2]
        g = above[part].flip(0)
        g[0] += carry
        # the matrix before the last state of the block is not used: the scan begins at zero
        v = linear_scan(torch.cat([J[:1], J[1:].flip(0)]).mT, g).flip(0)
        h = dt[part] if len(dt) == L else dt
        with torch.enable_grad():
            leaves: Any = [x.detach().requires_grad_() for x in (y, z, u[part], h, *weights)]
            y, z, x, h, *w = leaves
            after = scheme.step(plain(*w), (y, z), x, h.unsqueeze(-1))
            dy, dz, du, dh, *dw = torch.autograd.grad(after, leaves, steps.split(v)[::-1])
        carry = steps.join(dz[0], dy[0])
        by_u[part] = du
        by_dt[part if len(dt) == L else slice(None)] += dh
        for total, piece in zip(totals, dw, strict=True):
            total += piece
    by_z0, by_y0 = steps.split(carry)
    found = by_u, by_y0, by_z0, by_dt, *totals
    return tuple(g if wanted else None for g, wanted in zip(found, need, strict=True))
