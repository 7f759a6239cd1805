r"""Contraction over windows of given data, in a norm that is found for them: where one step expands, twenty may contract."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import kernels
from .._checks import checks, integer, pair, tensor
from ..lem import LEMCell
from ..types import Array, State
from .enclosure import Ball, LayerStep
from .network import as_cell
from .rounding import U, norm2_above, outward

__all__ = ["WindowContraction", "contraction_over_windows"]

# of Adam, for the norm; longer brings little, and the norm is judged on other windows whatever it is
ITERATIONS, RATE = 200, 0.05


@dataclass(frozen=True)
class WindowContraction:
    r"""A norm :math:`|x|_L = |L x|_2` in which windows of Jacobians are small; see `contraction_over_windows`.

    Attributes
    ----------
    L : (2 d, 2 d)
        For states in the order (z, y).
    window : int
        m, steps in a window.
    found, held_out : arrays
        :math:`\|L J_{n+m} \cdots J_{n+1} L^{-1}\|_2` of the windows that the norm was found for, and of those it is judged by,
        from above.
    step : float
        The largest :math:`\|J\|_2` of a single step on the held-out windows, for comparison.

    Examples
    --------
    >>> seen = WindowContraction(np.eye(2), 20, np.array([0.3]), np.array([0.4, 0.5]), step=1.8)
    >>> seen.holds, seen.factor
    (True, 0.5)
    """

    L: Array
    window: int
    found: Array
    held_out: Array
    step: float

    @property
    def factor(self) -> float:
        """The largest of the held-out windows."""
        return float(self.held_out.max())

    @property
    def holds(self) -> bool:
        """Whether all of them contract."""
        return self.factor < 1

    def __str__(self) -> str:
        verb = "contract" if self.holds else "do not all contract"
        return (
            f"{len(self.held_out)} held-out windows of {self.window} steps {verb}: by {self.factor:.3g} or less in the norm found on "
            f"{len(self.found)} others, where single steps have norms of up to {self.step:.3g}. At the data's points only."
        )


@checks(u=tensor, state=pair, window=integer)
def contraction_over_windows(cell: LEMCell, u: Tensor, state: State | None = None, window: int = 20) -> WindowContraction:
    r"""Whether perturbations die out over windows of data, in one norm for all of them. Statement 8.3.

    .. math:: q = \max_{\text{held-out windows}} \|L\,J_{n+m} \cdots J_{n+1}\,L^{-1}\|_2 < 1 \;\Rightarrow\;
        |\delta x_{km}|_L \le q^k\, |\delta x_0|_L

    along them. L is chosen to make the largest of these norms small on the windows of the first two thirds of time, and judged on
    those of the last. It is a statement about the derivative at the points of the data, of infinitesimal perturbations: for those
    of a finite size see `tube_along`. The points are the states that the network computes, in its own precision; the norms at them are
    rounded outward, and inf where they overflow. It is computed on the CPU in float64, wherever the network is.

    Parameters
    ----------
    cell : LEMCell
        One layer, driven by its own input.
    u : (N, m) or (N, n, m)
        Inputs, of one sequence or several.
    state : (y, z), each (d,) or (n, d), optional
        Before the first input; zero by default.
    window : int
        m, in steps.

    Returns
    -------
    WindowContraction

    Raises
    ------
    TypeError, ValueError
        For another network or scheme, shapes that do not fit, a window below 1, or fewer than three windows in time.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 3, dt=0.5)
    >>> contraction_over_windows(cell, torch.sin(torch.arange(90.0))[:, None], window=10).holds
    True
    """
    cell = as_cell(cell)
    if window < 1:
        raise ValueError(f"window={window}: give a number of steps of at least 1.")
    if u.dim() not in (2, 3) or u.shape[-1] != cell.ode.input_size or not u.numel():
        raise ValueError(f"u has shape {tuple(u.shape)}: give (N, {cell.ode.input_size}), or (N, n, {cell.ode.input_size}).")
    dtype, d = cell.ode.weight_zy.dtype, cell.ode.hidden_size
    seq = u.detach().to(dtype=dtype)
    seq = seq[:, None] if seq.dim() == 2 else seq
    count = len(seq) // window
    if count < 3:
        raise ValueError(
            f"u has {len(seq)} steps: three windows of {window} need {3 * window}; give more of them, or a shorter window."
        )
    n = seq.shape[1]
    zero = seq.new_zeros(n, d)
    for s in () if state is None else state:
        if s.shape not in ((d,), (n, d)):
            raise ValueError(f"state has a part of shape {tuple(s.shape)}: give (y, z), each {(d,)} or {(n, d)}.")
    y, z = (zero, zero) if state is None else (s.detach().to(zero).expand(n, d) for s in state)
    if not all(bool(torch.isfinite(x).all()) for x in (seq, y, z)):
        raise ValueError("u and state: give finite numbers.")
    with torch.no_grad():
        ys, zs = kernels.run(cell.ode, cell.scheme, seq, y, z, cell.dt)
        ys, zs = torch.cat([y[None], ys[:-1]]), torch.cat([z[None], zs[:-1]])
    layer = LayerStep(cell)
    at, inputs = torch.cat([zs, ys], -1).cpu().double().numpy(), seq.cpu().double().numpy()
    products, steps = [], []
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(count):
            product, largest = Ball.exact(np.stack([np.eye(2 * d)] * n)), 0.0
            for i in range(k * window, (k + 1) * window):
                J = layer.enclose(at[i], np.zeros(2 * d), inputs[i], np.zeros(layer.m), U).state
                product, largest = J @ product, max(largest, *_norms(J))
            products.append(product)
            steps.append(largest)
    first = max(2 * count // 3, 1)
    found, judged = (Ball(*map(np.concatenate, zip(*some, strict=True))) for some in (products[:first], products[first:]))
    L = _norm_for(torch.from_numpy(found.mid)).numpy()
    return WindowContraction(L, window, _sizes(L, found), _sizes(L, judged), max(steps[first:]))


def _sizes(L: Array, products: Ball) -> Array:
    r"""||L W L^-1||_2 of each from above: with an X near the inverse, :math:`\|L W X\|_2 / (1 - \|I - L X\|_2)`."""
    try:
        X: Array = np.linalg.inv(L).astype(np.float64)
    except np.linalg.LinAlgError:
        return np.full(len(products.mid), np.inf)
    left, right = Ball.exact(L), Ball.exact(X)
    with np.errstate(over="ignore", invalid="ignore"):
        off = _norm(Ball.exact(np.eye(len(L))).plus(left @ Ball.exact(-X)))
        whole = left @ products @ right
        found = np.array(_norms(whole))
    return np.asarray(outward(found / (1 - off), 4)) if off < 0.5 else np.full(len(found), np.inf)


def _norms(matrices: Ball) -> list[float]:
    return [_norm(Ball(mid, rad)) for mid, rad in zip(*matrices, strict=True)]


def _norm(A: Ball) -> float:
    """The largest spectral norm in the ball; inf where it overflowed."""
    value = norm2_above(A.mid) + float(outward(np.sqrt(np.square(A.rad).sum()), A.rad.size))
    return float(outward(value, 1)) if np.isfinite(value) else np.inf


def _plain_sizes(L: Tensor, products: Tensor) -> Tensor:
    """What descent makes small: the norms, differentiable, and not rounded outward."""
    return torch.linalg.matrix_norm(torch.linalg.solve(L, L @ products, left=False), 2)


def _norm_for(products: Tensor) -> Tensor:
    """L with a small largest norm of the products: the identity, or the best that descent finds."""
    size = products.shape[-1]
    best = torch.eye(size, dtype=torch.float64)
    if not bool(torch.isfinite(products).all()):
        return best
    least = float(_plain_sizes(best, products).max())
    # a beginning: P = I + mean of W^T W weighs what a window makes large
    weighed = torch.eye(size, dtype=torch.float64) + products.mT.matmul(products).mean(0)
    L = torch.linalg.cholesky(weighed).mT.contiguous().requires_grad_(True)
    descent = torch.optim.Adam([L], lr=RATE)
    with torch.enable_grad():
        for _ in range(ITERATIONS):
            sizes = _plain_sizes(L, products)
            largest = float(sizes.detach().max())
            if not np.isfinite(largest):
                break
            if largest < least:
                best, least = L.detach().clone(), largest
            descent.zero_grad()
            torch.logsumexp(10 * sizes.log(), 0).backward()
            descent.step()
    return best
