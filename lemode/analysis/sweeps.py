r"""How many sweeps over a whole sequence are enough, before the first one is made. Proof: ``theory/parallel_in_time.py``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._checks import checks, pair, real, tensor
from ..lem import LEMCell
from ..types import Array, State
from .engine import psi
from .network import leak_above, row_sums, sums_above, unit_cube_cell, weights
from .rounding import FUNCTION, U, outward

__all__ = ["PromisedSweeps", "promised_sweeps"]

TOO_MANY = 1000  # sweeps; where more would have to be promised, as many as there are steps are


class PromisedSweeps(NamedTuple):
    r"""What is known of the leaky sweeps over a sequence before they are made; see `promised_sweeps`.

    Attributes
    ----------
    sweeps : int
        So many are enough; never more than there are steps.
    rate : float
        :math:`\rho(0)`, by which a sweep at least shrinks a small error, whatever the length, if it is below 1.
    errors : (k + 1,)
        Bounds on the error of y and z after 0, 1, ..., k sweeps, for as many as were looked at.
    steps : int
        L.

    Examples
    --------
    >>> print(PromisedSweeps(sweeps=2, rate=0.1, errors=np.array([1.0, 0.1, 0.01]), steps=100))
    2 sweeps over 100 steps are enough (9.1); near the solution each shrinks the error to 0.1 or less
    """

    sweeps: int
    rate: float
    errors: Array
    steps: int

    def __str__(self) -> str:
        near = f"shrinks the error to {self.rate:.3g} or less" if self.rate < 1 else "is not proved to shrink the error"
        return f"{self.sweeps} sweeps over {self.steps} steps are enough (9.1); near the solution each {near}"


@checks(u=tensor, tol=real, state=pair)
def promised_sweeps(cell: LEMCell, u: Tensor, tol: float, state: State | None = None) -> PromisedSweeps:
    r"""How many leaky sweeps of `lemode.kernels.parallel.solve` leave no error above `tol`. Statement 9.1.

    .. math::

        |z^{k+1}_n - z_n|_\infty &\le C_n = (1 - p_1)\, C_{n-1} + p_1 \max_i R_{1,i}\,\psi(\bar g_{1,i} w_{1,i},\ w_{z,i})\, B^k_{n-1}, \\
        |y^{k+1}_n - y_n|_\infty &\le B^{k+1}_n = (1 - p_2)\, B^{k+1}_{n-1} + p_2 \max_i R_{2,i}\,
            \psi(\bar g_{2,i} w_{2,i} B^k_{n-1},\ w_{y,i} C_n),

    with :math:`p_j` the largest leak, :math:`\bar g_{j,i}` one minus the least value of gate i, and :math:`R_{j,i} = (e^x - 1)/x`,
    :math:`x = \bar g_{j,i} w_{j,i} B^k_{n-1}`, for how much the gate may differ from sweep to sweep. The recursion is run. Its bound is
    zero after as many sweeps as there are steps; small after a few if the sequence is short in the time of the ODE, :math:`L\,\Delta t`;
    and small after a number that does not grow with the length if the weights are small. It is a statement in exact arithmetic: what
    sums are rounded by comes to it.

    Parameters
    ----------
    cell : LEMCell
        With a step in the range of its scheme, driven by its own input.
    u : (L, ..., m)
        The inputs.
    tol : float
        Positive.
    state : (y, z), each (..., d), optional
        Before the first input, within the unit cube; zero by default. There the sweeps begin, too.

    Returns
    -------
    PromisedSweeps

    Raises
    ------
    TypeError, ValueError
        For another network or scheme, a step for which there is no cube, inputs that do not fit, a state outside the cube.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 4, dt=0.5, dtype=torch.float64).requires_grad_(False)
    >>> _ = [p.mul_(0.3) for p in cell.parameters()]
    >>> u, zero = torch.randn(1000, 1, 1, dtype=torch.float64), torch.zeros(1, 4, dtype=torch.float64)
    >>> k = promised_sweeps(cell, u, 1e-8).sweeps
    >>> found = lemode.kernels.parallel.solve(cell.ode, cell.scheme, u, zero, zero, cell.dt, sweeps=k)
    >>> bool((found.ys - lemode.kernels.run(cell.ode, cell.scheme, u, zero, zero, cell.dt)[0]).abs().max() <= 1e-8)
    True
    """
    cell = unit_cube_cell(cell)
    if not 0 < tol < np.inf:
        raise ValueError(f"tol={tol:g}: give a positive number.")
    inputs = u.detach().cpu().double().numpy()
    if inputs.ndim < 2 or inputs.shape[-1] != cell.ode.input_size or not inputs.size:
        raise ValueError(f"u has shape {tuple(u.shape)}: give (L, ..., {cell.ode.input_size}) with at least one step.")
    if not np.isfinite(inputs).all():
        raise ValueError("u: give finite numbers.")
    sizes = [0.0] if state is None else [float(s.detach().abs().max()) for s in state]
    if not max(sizes) <= 1:
        raise ValueError(f"state of size {max(sizes):g}: nothing is promised outside the cube |y|, |z| <= 1; begin within it.")
    bounds, steps = SweepBounds.of(cell, inputs), len(inputs)
    # before a step: how far y may have gone from the initial state, which is the guess
    before = (1.0 + sizes[0]) * -np.expm1(np.arange(steps) * np.log1p(-min(bounds.p2, 1 - 1e-16))) * (1 + 1e-12)
    errors = [1.0 + max(sizes)]
    while errors[-1] > tol and len(errors) <= min(TOO_MANY, steps):
        B, C = bounds.after(before)
        before = np.concatenate([[0.0], B[:-1]])
        errors.append(float(max(B[-1], C[-1])))
    enough = len(errors) - 1 if errors[-1] <= tol else steps
    return PromisedSweeps(enough, bounds.rate, np.array(errors), steps)


class SweepBounds(NamedTuple):
    """What the recursion of 9.1 reads of a network: for both gates the rows times one minus the least gate, and the largest leak."""

    row1: Array
    row2: Array
    wz: Array
    wy: Array
    p1: float
    p2: float

    @classmethod
    def of(cls, cell: LEMCell, inputs: Array) -> SweepBounds:
        """Over the cube and these inputs."""
        w = row_sums(cell)
        share1, p1 = _gate(cell, "1", inputs)
        share2, p2 = _gate(cell, "2", inputs)
        return cls(share1 * w.w1, share2 * w.w2, w.wz, w.wy, p1, p2)

    @property
    def rate(self) -> float:
        """rho(0)."""
        return float(psi(self.row2, self.wy * float(psi(self.row1, self.wz).max())).max())

    def after(self, before: Array) -> tuple[Array, Array]:
        """Bounds on the errors of y and of z after a sweep, ``(L,)`` each, by those of the y that it reads, which do not fall."""
        from scipy.signal import lfilter

        outward = 1 + 4 * np.finfo(np.float64).eps * (len(before) + 10)  # sums of positive numbers over all steps

        def relaxed(p: float, target: Array) -> Array:
            return np.minimum(outward * np.asarray(lfilter([p], [1.0, p - 1.0], target)), 2.0)  # both are in the cube

        C = relaxed(self.p1, (_ratio(self.row1, before) * psi(self.row1, self.wz)[:, None]).max(0) * before)
        target = _ratio(self.row2, before) * psi(self.row2[:, None] * before, self.wy[:, None] * C)
        return relaxed(self.p2, target.max(0)), C


def _gate(cell: LEMCell, index: str, inputs: Array) -> tuple[Array, float]:
    """Of a gate over the cube and the inputs: one minus the least value, unit by unit, and the largest leak of all."""
    w = weights(cell)
    flat, V, b = inputs.reshape(-1, inputs.shape[-1]), w["V" + index], w["b" + index]
    argument, terms = flat @ V.T + b, flat.shape[1] + 2
    spread = sums_above(w["W" + index], 1)
    spread = outward(spread + outward(2 * terms * U * (np.abs(flat).max(0) @ np.abs(V).T + np.abs(b) + spread), terms), 2)
    share, top = (torch.from_numpy(a).sigmoid().numpy() for a in (spread - argument.min(0), spread + argument.max(0)))
    share, top = (np.minimum(outward(a, FUNCTION), 1.0) for a in (share, top))
    return share, min(1.0, leak_above(cell, float(top.max())))


def _ratio(row: Array, error: Array) -> Array:
    """(e^x - 1) / x with x = row error, ``(d, L)``."""
    x = np.maximum(row[:, None] * error, 1e-12)  # at least what it stands for: it grows with x
    return np.asarray(np.expm1(x) / x)
