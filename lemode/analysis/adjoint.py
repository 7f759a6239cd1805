r"""The adjoint along given states, and how far rounding may have taken it.

.. math:: \lambda_n = \lambda_{n+1} J_{n+1} + (0, \tfrac1N \partial E_n/\partial y_n), \qquad
    |\hat\lambda_n - \lambda_n|_1 \le e_n = \|J_m \cdots J_{n+1}\|_\infty\, e_m + \sum_{n \le k < m} \|J_k \cdots J_{n+1}\|_\infty\, \eta_k

with :math:`\eta_k` what one step rounds by. The states are taken as they are, and the derivatives at them as the exact ones. Norms of
products are bounded by products of norms within a window, and by norms of products over 1, 2, 4, ... windows: where perturbations die out,
so do errors. Proof: ``theory/outward_rounding.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..lem import LEMCell
from ..ode import Blocks
from .enclosure import LayerStep
from .jacobian import Coefficients
from .network import plain, row_sums
from .rounding import U, outward

__all__ = ["adjoint", "sources", "steps_along"]

WINDOW = 10  # steps, over which norms are multiplied
MOST_WORK = 5_000_000_000  # multiplications for the products; beyond, norms are multiplied all along


class StepsAlong(NamedTuple):
    """The steps at given states: coefficients ``(N, ..., d)`` in float64, within ``rad`` of the exact ones, and the weights.

    ``norm (N, ...)`` is at least the norm of each exact Jacobian, with absolute values inside; ``lost (N, ...)`` what the coefficients'
    errors and a product with it may add, by the size of the vector.
    """

    mid: Coefficients
    rad: Coefficients
    blocks: Blocks
    norm: Tensor
    lost: Tensor

    @property
    def d(self) -> int:
        return self.mid.keep_z.shape[-1]

    def positive(self) -> StepsAlong:
        """With the absolute values of all, from above."""
        size = [outward(m.abs() + r, 1) for m, r in zip(self.mid, self.rad, strict=True)]
        return self._replace(mid=Coefficients(*size), blocks=Blocks(*(w.abs() for w in self.blocks)))


def steps_along(cell: LEMCell, u: Tensor, ys: Tensor, zs: Tensor, dt: Tensor | None = None) -> StepsAlong:
    """The steps from states 0, ..., N - 1 of ``ys, zs (N + 1, ..., d)`` with inputs u ``(N, ..., m)``, of sizes dt ``(N, ..., 1)``.

    Examples
    --------
    >>> zero = torch.zeros(6, 3)
    >>> steps_along(lemode.LEMCell(1, 3), torch.zeros(5, 1), zero, zero).norm.shape
    torch.Size([5])
    """
    y, z, e = (a.detach().to("cpu", torch.float64).numpy() for a in (ys[:-1], zs[:-1], u))
    size = cell.dt if dt is None else dt.numpy()
    balls = LayerStep(cell, size).coefficients(np.concatenate([z, y], -1), e)
    # the kernels take g (1 - g) and 1 - h^2, which err by some roundings of one
    kernel = 16 * U * np.minimum(size, 1.0)
    (kz, gz, cz), (ky, gy, cy) = (torch.from_numpy(b.mid) for b in balls)
    (rkz, rgz, rcz), (rky, rgy, rcy) = (torch.from_numpy(b.rad + kernel) for b in balls)
    none = torch.zeros_like(kz)
    mid, rad = Coefficients(kz, gz, cz, ky, gy, cy, none), Coefficients(rkz, rgz, rcz, rky, rgy, rcy, none)
    r, p = row_sums(cell), plain(cell.ode).requires_grad_(False).blocks()
    w1, w2, wz = (torch.from_numpy(w) for w in (r.w1, r.w2, r.wz))

    def through(rows: Tensor) -> Tensor:
        return outward(rows @ p.Wy.abs().T, rows.shape[-1])

    def rows_of(c: Coefficients, into_y: Tensor) -> tuple[Tensor, Tensor]:
        return outward(c.keep_z + c.gate_z * w1 + c.cand_z * wz, 5), outward(c.keep_y + c.gate_y * w2 + into_y, 5)

    most = Coefficients(*(outward(m.abs() + s, 1) for m, s in zip(mid, rad, strict=True)))
    rho_z, _ = rows_of(most, none)
    _, rho_y = rows_of(most, most.cand_y * through(rho_z))
    off_z, _ = rows_of(rad, none)
    _, off_y = rows_of(rad, rad.cand_y * through(rho_z) + most.cand_y * through(off_z))
    norm = torch.maximum(rho_z.amax(-1), rho_y.amax(-1))
    lost = outward(torch.maximum(off_z.amax(-1), off_y.amax(-1)) + 2 * U * (3 * kz.shape[-1] + 12) * norm, 3)
    return StepsAlong(mid, rad, p, norm, lost)


class Adjoint(NamedTuple):
    """y, z ``(N + 1, ..., d)``: what acts on the state after n steps; and a bound on the 1-norm of both's error, ``(N + 1, ...)``."""

    y: Tensor
    z: Tensor
    error: Tensor


def adjoint(steps: StepsAlong, pull: Tensor, windows: bool = False) -> Adjoint:
    """For the pulls dE_n/dy_n ``(N, ..., d)``, without a factor 1/N; entry 0 acts on the initial state.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 3, dt=0.5)
    >>> states = torch.zeros(101, 3)
    >>> steps = steps_along(cell, torch.zeros(100, 1), states, states)
    >>> found = adjoint(steps, torch.ones(100, 3, dtype=torch.float64), windows=True)
    >>> found.y.shape, bool(found.error.max() < 1e-10)
    (torch.Size([101, 3]), True)
    """
    N = len(pull)
    vy, vz = torch.zeros_like(pull[0]), torch.zeros_like(pull[0])
    ys, zs = [vy] * (N + 1), [vz] * (N + 1)
    for n in range(N, 0, -1):
        vy = vy + pull[n - 1]
        ys[n], zs[n] = vy, vz
        vy, vz = Coefficients(*(x[n - 1] for x in steps.mid)).vjp(steps.blocks, vy, vz)
    ys[0], zs[0] = vy, vz
    y, z = torch.stack(ys), torch.stack(zs)
    return Adjoint(y, z, _errors(steps, outward(y.abs().sum(-1) + z.abs().sum(-1), 2 * steps.d), windows))


class _Stretch(NamedTuple):
    """Some steps: the product of their Jacobians, within ``off`` in norm, its norm, and what the errors within are at the first of them."""

    product: Tensor
    off: Tensor
    norm: Tensor
    fresh: Tensor

    def before(self, earlier: _Stretch) -> _Stretch:
        """The steps of an earlier stretch and of this one."""
        n = self.product.shape[-1]
        product = self.product @ earlier.product
        sizes = self.norm * earlier.norm
        off = outward(self.norm * earlier.off + self.off * earlier.norm + 4 * n * U * sizes, n)
        return _Stretch(product, off, _norm(product, off), outward(earlier.norm * self.fresh + earlier.fresh, 2))


def _norm(product: Tensor, off: Tensor) -> Tensor:
    return outward(product.abs().sum(-1).amax(-1) + off, product.shape[-1])


def _errors(steps: StepsAlong, size: Tensor, windows: bool) -> Tensor:
    """Of a recursion whose vectors have these 1-norms ``(N + 1, ...)``."""
    N, D = len(steps.norm), 2 * steps.d
    windows = windows and steps.norm.numel() * D**3 <= MOST_WORK
    error = [torch.zeros_like(size[0])] * (N + 1)
    ends = [N]
    # of each length, 1, 2, 4, ... windows, the stretch that waits for its earlier half, and those that are complete
    waiting: list[_Stretch | None] = []
    for end in range(N, 0, -WINDOW):
        start = max(end - WINDOW, 0)
        fresh = torch.zeros_like(size[0])  # what has come within the window
        for n in range(end, start, -1):
            step = outward(steps.lost[n - 1] * size[n] + 4 * U * size[n - 1], 2)
            fresh = outward(steps.norm[n - 1] * fresh + step, 2)
            error[n - 1] = outward(steps.norm[n - 1] * error[n] + step, 2)
        ends.append(start)
        if not windows:
            continue
        stretch, level = _window(steps, start, end, fresh), 0
        while True:
            error[start] = torch.fmin(error[start], outward(stretch.norm * error[ends[-1 - 2**level]] + stretch.fresh, 2))
            if level == len(waiting):
                waiting.append(None)
            later = waiting[level]
            if later is None:
                waiting[level] = stretch
                break
            waiting[level], stretch, level = None, later.before(stretch), level + 1
    return torch.stack(error)


def _window(steps: StepsAlong, start: int, end: int, fresh: Tensor) -> _Stretch:
    """``J_end ... J_(start + 1)``."""
    d = steps.d
    shape, factor = steps.norm.shape[1:], 4 * U * (2 * d + 2)
    product = torch.eye(2 * d, dtype=torch.float64).expand(*shape, -1, -1)
    off = torch.zeros(shape, dtype=torch.float64)
    p = steps.blocks
    for n in range(start, end):
        c = Coefficients(*(x[n] for x in steps.mid))
        before, size = product, product.abs().sum(-1).amax(-1)
        z = c.keep_z.unsqueeze(-1) * before[..., :d, :] + c.gate_z.unsqueeze(-1) * (p.W1 @ before[..., d:, :])
        z = z + c.cand_z.unsqueeze(-1) * (p.Wz @ before[..., d:, :])
        y = c.keep_y.unsqueeze(-1) * before[..., d:, :] + c.gate_y.unsqueeze(-1) * (p.W2 @ before[..., d:, :])
        product = torch.cat([z, y + c.cand_y.unsqueeze(-1) * (p.Wy @ z)], -2)
        off = outward(steps.norm[n] * off + (steps.lost[n] + factor * steps.norm[n]) * size, 2 * d)
    return _Stretch(product, off, _norm(product, off), fresh)


class Sources(NamedTuple):
    """What all entries in the rows of blocks contribute to a gradient, in absolute value, ``(..., len(groups), d)``; and its rounding."""

    size: Tensor
    error: Tensor


def sources(steps: StepsAlong, found: Adjoint, groups: Sequence[str], u: Tensor, ys: Tensor, zs: Tensor) -> Sources:
    """The mean over n, for the states ``(N + 1, ..., d)`` and inputs of the steps.

    Examples
    --------
    >>> cell, states = lemode.LEMCell(1, 3), torch.zeros(6, 3)
    >>> steps = steps_along(cell, torch.zeros(5, 1), states, states)
    >>> seen = sources(steps, adjoint(steps, torch.ones(5, 3, dtype=torch.float64)), ["by"], torch.zeros(5, 1), states, states)
    >>> seen.size.shape, bool((seen.error < 1e-12).all())
    (torch.Size([1, 3]), True)
    """
    mid, rad, Wy = steps.mid, steps.rad, steps.blocks.Wy
    ly, lz, error = found.y[1:], found.z[1:], found.error[1:].unsqueeze(-1)
    cand = outward(mid.cand_y.abs() + rad.cand_y, 1)
    lz = lz + (ly * mid.cand_y) @ Wy  # a source of z acts through the new z on y, too
    of_z = outward(
        error * (1 + cand.amax(-1, keepdim=True) * Wy.abs().max())
        + (ly.abs() * (rad.cand_y + 4 * U * (steps.d + 4) * cand)) @ Wy.abs() + 4 * U * lz.abs(), steps.d + 6,
    )  # fmt: skip
    through = {
        "1": (lz, of_z, mid.gate_z, rad.gate_z), "z": (lz, of_z, mid.cand_z, rad.cand_z),
        "2": (ly, error, mid.gate_y, rad.gate_y), "y": (ly, error, mid.cand_y, rad.cand_y),
    }  # fmt: skip
    sizes, errors = [], []
    for g in groups:
        factor = _factor(g, u, ys, zs).unsqueeze(-1)
        l, off, c, r = through[g[1]]
        value = l * c
        wrong = outward(off * (c.abs() + r) + l.abs() * r + 4 * U * value.abs(), 6)
        # no source, whatever is behind it: no 0 times infinity
        sizes.append((value.abs() * factor).where(factor > 0, 0.0).sum(0))
        errors.append((wrong * factor).where(factor > 0, 0.0).sum(0))
    return Sources(torch.stack(sizes, -2) / len(u), outward(torch.stack(errors, -2) / len(u), len(u) + 2))


def _factor(group: str, u: Tensor, ys: Tensor, zs: Tensor) -> Tensor:
    """What multiplies the source of the group at each step: max |y_{n-1}|, |z_n|, |u_n| or 1."""
    if group[0] == "b":
        return torch.ones_like(ys[1:, ..., 0], dtype=torch.float64)
    x = u if group[0] == "V" else zs[1:] if group == "Wy" else ys[:-1]
    return x.detach().to("cpu", torch.float64).abs().amax(-1)
