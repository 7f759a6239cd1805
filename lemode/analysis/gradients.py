r"""Bounds on the gradient of a loss by any entry of any parameter block, over any number of steps.

The loss is :math:`E = \frac1N \sum_n E_n(y_n)`. A bound needs to know how hard it pulls on each unit: ``pull`` bounds the entries of
:math:`|\partial E_n/\partial y_n|`; `quadratic_pull` gives it for squared errors. Every bound holds for every input (of the
given size), every target (of the given size) and every state in the unit cube, and is rounded outward. Proofs: ``theory/``, section 4.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .._checks import array, checks, count, fitting, integer, pair, real, tensor
from ..lem import LEMCell
from ..types import Array, State
from .bounds import growth_rate
from .engine import beta, linear_growth
from .jacobian import check_group
from .network import as_cell, leak_below, row_sums, sums_above, unit_cube_cell, weights
from .recursion import adjoint_bound, block_recursion, posterior_recursion, radii, recursion
from .rounding import U, above, dot_above, inward, outward
from .stability import certificates

__all__ = [
    "KINDS", "Linearisation", "gradient_bound", "gradient_bound_posterior", "linearisable", "quadratic_pull", "recollected_bound",
]  # fmt: skip

KINDS = ("inf", "one", "ref", "recursion", "block", "uniform", "best")


@checks(steps=count, target_max=real, x0=real)
def quadratic_pull(
    cell: LEMCell,
    steps: int,
    target_max: float,
    readout: tuple[ArrayLike, ArrayLike] | None = None,
    x0: float = 0.0,
) -> Array:
    r"""Entrywise bound on :math:`|\partial E_n/\partial y_n|`, ``(steps, d)``, for squared errors of the state or of a readout.

    .. math::

        E_n = \tfrac12\|y_n - \bar y_n\|_2^2: &\quad r_n + \bar Y, \\
        E_n = \tfrac12\|C y_n + c - \bar o_n\|_2^2: &\quad |C|^T\left(|C|\mathbf 1\,r_n + |c| + \bar Y\right)

    :math:`r_n` of `state_radius`, :math:`\bar Y` a bound on the entries of the target.

    Parameters
    ----------
    cell : LEMCell
    steps : int
        N.
    target_max : float
        :math:`\bar Y \ge 0`.
    readout : (C, c), optional
        Arrays ``(o, d)`` and ``(o,)``.
    x0 : float
        Bound on the entries of the initial state.

    Raises
    ------
    ValueError
        For N < 1, a negative target_max, or a readout that does not fit the cell.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.5)
    >>> quadratic_pull(cell, 2, target_max=1.0).round(3)
    array([[1.5 , 1.5 ],
           [1.75, 1.75]])
    """
    cell = unit_cube_cell(cell)
    steps, d = _steps(steps), cell.ode.hidden_size
    if not (math.isfinite(target_max) and target_max >= 0):
        raise ValueError(f"target_max={target_max:g}: give a finite, nonnegative bound on the target's entries.")
    r = radii(cell, steps, x0)[1:, None]
    if readout is None:
        return np.asarray(np.broadcast_to(above(r + target_max, 1), (steps, d)))
    if not (isinstance(readout, tuple | list) and len(readout) == 2):
        raise TypeError(f"readout is {type(readout).__name__}: give a pair (C, c) of arrays.")
    C, c = np.abs(np.asarray(readout[0], dtype=np.float64)), np.abs(np.asarray(readout[1], dtype=np.float64))
    if C.ndim != 2 or C.shape[1] != d or c.shape != C.shape[:1]:
        raise ValueError(f"readout of shapes {C.shape}, {c.shape}: give C (o, {d}) and c (o,).")
    return dot_above(outward(r * sums_above(C, 1) + c + target_max, 4), C)


@checks(steps=count, row=integer, u=tensor, x0=real, pull=array, u_max=array)
def gradient_bound(
    cell: LEMCell,
    steps: int,
    pull: ArrayLike,
    group: str,
    kind: str = "recursion",
    row: int | None = None,
    u_max: ArrayLike | None = None,
    u: Tensor | None = None,
    x0: float = 0.0,
) -> float:
    r"""A-priori bound on :math:`|\partial E/\partial\theta|` for every entry :math:`\theta` of a parameter block.

    With :math:`c = 1/2` for the gate blocks (1, 2) and 1 for the candidate blocks (z, y), :math:`\mu = 1` (W, b) or
    :math:`\max|u|` (V), :math:`\pi_1 = \max_n\|\mathrm{pull}_n\|_1`, :math:`\pi_\infty = \max_n\|\mathrm{pull}_n\|_\infty`,
    :math:`A` of `lemode.analysis.engine.linear_growth` and :math:`A_0 = \Delta t(N + 1)/2`:

    .. math::

        G_\infty &: \pi_1\,c\mu\,q\,A(N, \Delta t, \Gamma), & q &= \max(1, \Delta t \max|W_{y,ij}|) \text{ (1, z) or } 1 \text{ (2, y)} \\
        G_1 &: \pi_\infty\,c\mu\,q_1 A(N, \Delta t, \Gamma_1), & q_1 &= 1 + \Delta t\,|W_y|_1 \text{ (1, z) or } 1 \text{ (2, y)} \\
        G_{ref} &: c\mu\,[\pi_\infty \delta A_0 + \pi_1 q\,(A(N, \Delta t, b_e) - A_0)],
            & \delta &= \Delta t\,|W_y|_1 \text{ (1, z) or } 1 \text{ (2, y)} \\
        G_{rec} &: \frac1N \sum_n \mathrm{pull}_n \cdot s^y_n & &\text{see } \texttt{lemode.analysis.recursion} \\
        G_{unif} &: \frac{\pi_1\,c\mu\,q_r}{g_{\min}(1 - \Psi)} \text{ for every } N,
            & q_r &= \max(r, \Delta t\max|W_{y,ij}|) \text{ (1, z) or } 1 \text{ (2, y)}

    where :math:`b_e = \max\{b_z, \max_i\beta(w_{2,i}, w_{y,i}(1 + \Delta t\,b_z))\}`, :math:`b_z = \max_i \beta(w_{1,i}, w_{z,i})`.
    :math:`\Psi` is taken at the weight r that makes G_unif least (every r with :math:`\Psi(r) < 1` is valid).
    For :math:`E_n = \frac12\|y_n - \bar y_n\|^2`, :math:`\pi_1 = d(1 + \bar Y)` and :math:`\pi_\infty = 1 + \bar Y`.

    Parameters
    ----------
    cell : LEMCell
    steps : int
        N >= 1.
    pull : float, (d,) or (N, d)
        Entrywise bound on :math:`|\partial E_n/\partial y_n|`, such as ``1 + Y``; see `quadratic_pull`.
    group : str
        One of W1 W2 Wz Wy V1 V2 Vz Vy b1 b2 bz by.
    kind : str
        'inf', 'one', 'ref', 'recursion' (the sharpest, O(N d^3)), 'block' (its scalar form, O(N d)), 'uniform' (inf where the
        contraction certificate fails), or 'best', the least of all.
    row : int, optional
        Only parameters in this row (kinds 'recursion' and 'best' gain from it); every row by default.
    u_max : float or (N,), optional
        Bound on the entries of :math:`|u_n|`; needed for the V blocks unless ``u`` is given.
    u : (..., m) tensor, optional
        Inputs to be covered: gives u_max, and the gates' lower bound of kind 'uniform' (zero input by default).
    x0 : float
        Bound on the entries of the initial state, at most 1.

    Returns
    -------
    float
        inf where the bound exceeds the largest float or its condition fails.

    Raises
    ------
    TypeError, ValueError
        For another kind of network, weights that are not finite, N < 1, dt > 1 with scheme 'imex', an unknown group or kind, a
        pull of another shape, or a V block without a bound on the input.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.1)
    >>> _ = [torch.nn.init.zeros_(p) for p in cell.parameters()]
    >>> round(gradient_bound(cell, 10, pull=2.0, group="bz"), 12)  # without weights z cannot reach y
    0.0
    >>> gradient_bound(cell, 10, 2.0, "by") <= gradient_bound(cell, 10, 2.0, "by", kind="inf")
    True
    """
    cell = unit_cube_cell(cell)
    check_group(group)
    steps, d = _steps(steps), cell.ode.hidden_size
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: the bounds are {', '.join(KINDS)}.")
    if row is not None and not 0 <= row < d:
        raise ValueError(f"row={row}: the rows are 0 to {d - 1}.")
    if not 0 <= x0 <= 1:
        raise ValueError(f"x0={x0:g}: the statements need an initial state in the unit cube, 0 <= x0 <= 1.")
    pulls = _pull(pull, steps, d)
    sizes = _input_size(group, steps, u_max, u)
    if kind == "recursion":
        rows = recursion(cell, pulls, [group], sizes, x0)[0]
        return float(rows.max() if row is None else rows[row])
    if kind == "block":
        return block_recursion(cell, pulls, group, sizes, x0)
    if kind == "best":
        others = [gradient_bound(cell, steps, pulls, group, k, row, sizes, u, x0) for k in KINDS if k not in ("best", "block")]
        return min(others)
    return _closed_form(cell, steps, pulls, group, kind, float(sizes.max()) if group[0] == "V" else 1.0, u)


@checks(pull=tensor, u=tensor, state=pair, row=integer)
def gradient_bound_posterior(
    cell: LEMCell,
    pull: Tensor,
    group: str,
    u: Tensor,
    state: State | None = None,
    row: int | None = None,
    kind: str = "recursion",
) -> Tensor:
    r"""Bound on :math:`|\partial E/\partial\theta|` from the states actually met along an input.

    'recursion' is G_rec with the gates met: :math:`|J|` and :math:`|p|` instead of their suprema. It ignores all cancellation, and still
    grows exponentially over long times. 'adjoint' propagates the loss's gradient exactly and drops cancellation over time only,

    .. math:: \left|\frac{\partial E}{\partial\theta}\right| = \left|\sum_n \lambda_n p_n\right| \le \sum_n |\lambda_n p_n|, \qquad
              \lambda_n = \frac1N \sum_{m \ge n} \frac{\partial E_m}{\partial y_m} \frac{\partial y_m}{\partial x_n}

    with the sources :math:`p_n` of `parameter_jacobian` (triangle inequality): finite and useful over thousands of steps.

    Parameters
    ----------
    cell : LEMCell
    pull : (N, ..., d)
        :math:`\partial E_n/\partial y_n`. 'recursion' reads its size only, 'adjoint' needs the sign.
    group : str
        One of the twelve parameter blocks.
    u : (N, ..., m)
        Inputs.
    state : (y_0, z_0), each (..., d), optional
        Zero by default.
    row : int, optional
        Only parameters in this row; every row by default.
    kind : {'recursion', 'adjoint'}

    Returns
    -------
    Tensor (...)
        Bound on every entry of the gradient of each sample's :math:`E = \frac1N \sum_n E_n`.

    Raises
    ------
    TypeError, ValueError
        For another kind of network, an unknown group or kind, or a pull whose shape does not fit.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.1)
    >>> gradient_bound_posterior(cell, torch.ones(10, 5, 2), "bz", torch.zeros(10, 5, 1)).shape
    torch.Size([5])
    """
    cell = as_cell(cell)
    check_group(group)
    bounds = {"recursion": posterior_recursion, "adjoint": adjoint_bound}
    if kind not in bounds:
        raise ValueError(f"kind={kind!r}: the a-posteriori bounds are {', '.join(bounds)}.")
    weights(cell)
    d = cell.ode.hidden_size
    if u.dim() < 2 or len(u) < 1 or tuple(pull.shape) != (*u.shape[:-1], d):
        raise ValueError(
            f"pull of shape {tuple(pull.shape)}: inputs {tuple(u.shape)} need {(*u.shape[:-1], d)}, at least one step."
        )
    if row is not None and not 0 <= row < d:
        raise ValueError(f"row={row}: the rows are 0 to {d - 1}.")
    zero = u.new_zeros(*u.shape[1:-1], d)
    states = [(zero, zero) if state is None else state]
    fitting(cell.ode, u[0], *states[0])
    with torch.no_grad():
        for u_n in u:
            states.append(cell.scheme.step(cell.ode, states[-1], u_n, cell.dt))
        ys, zs = (torch.stack(list(x)) for x in zip(*states, strict=True))
        rows = bounds[kind](cell, pull, [group], u, ys, zs)[..., 0, :]
    return rows.amax(-1) if row is None else rows[..., row]


class Linearisation(NamedTuple):
    r"""What `linearisable` found over N steps of a cell.

    .. math:: A(N, \Delta t, \Gamma) \le t_N + \Gamma t_N^2\,?

    ``growth`` is A, ``linearised`` the right-hand side, ``s`` is :math:`\Gamma t_N`, ``valid`` the answer.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.5)
    >>> _ = [torch.nn.init.ones_(p) for p in cell.parameters()]
    >>> linearisable(cell, 3).valid, linearisable(cell, 30).valid  # growth is exponential in the end
    (True, False)
    """

    growth: float
    linearised: float
    s: float
    valid: bool


@checks(steps=count)
def linearisable(cell: LEMCell, steps: int) -> Linearisation:
    r"""Whether the growth factor may be replaced by a quadratic in elapsed time.

    .. math:: A(N, \Delta t, \Gamma) \le t_N + \Gamma t_N^2, \qquad t_N = N\Delta t,

    holds for every N whenever :math:`s = \Gamma t_N \le 5.10`, and fails for large s because growth is exponential.

    Parameters
    ----------
    cell : LEMCell
    steps : int

    Returns
    -------
    Linearisation
        ``growth`` A, ``linearised`` :math:`t_N + \Gamma t_N^2`, ``s``, and ``valid``: whether growth <= linearised (decided exactly).

    Examples
    --------
    >>> linearisable(lemode.LEMCell(1, 2, dt=0.1), 10).valid
    True
    """
    cell, steps = unit_cube_cell(cell), _steps(steps)
    G, t = growth_rate(cell), steps * cell.dt
    growth, linearised = float(linear_growth(steps, cell.dt, G)), t + G * t * t
    return Linearisation(growth, linearised, G * t, growth <= float(inward(linearised, 4)) or steps == 1)


@checks(steps=count, target_max=real)
def recollected_bound(cell: LEMCell, steps: int, target_max: float) -> float:
    r"""A bound of the form of Proposition 4.2 of the LEM paper, **as recollected, not quoted**. It is not valid in general.

    .. math:: (1 + \bar Y)\,t_N + (1 + \bar Y)\,\Gamma t_N^2, \qquad \Gamma = 2(1 + \eta)(1 + 3\eta), \quad
              \eta = \max\{\|W_1\|_\infty, \|W_2\|_\infty, \|W_z\|_\infty, \|W_y\|_\infty\}

    The form and its constant are attributed to the paper from memory; the paper's own text and conditions were not at hand. Read
    as a bound for :math:`E = \frac1N\sum_n \frac12\|y_n - \bar y_n\|_2^2`, for every d, N and dt <= 1, it fails:

    - **in the number of units**: d = 17, N = 1, dt = 1, first column of Wy 1/sqrt(2), no other weights, b1 = b2 = 40: the gradient
      by an entry of bz is 1.03 times the bound (a factor d is needed, or column sums, or a loss averaged over units);
    - **over long times**: d = 1, zero input, b1 = b2 = 30, Wz = Wy = 3, dt = 0.1, N = 100: 1148 times the bound, because growth is
      exponential in time and the form is quadratic.

    It holds for d = 1 while :math:`\Gamma t_N \le 5.1`. Use `gradient_bound` instead; this function is for comparison.

    Parameters
    ----------
    cell : LEMCell
    steps : int
    target_max : float
        :math:`\bar Y`.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.1)
    >>> _ = [torch.nn.init.zeros_(p) for p in cell.parameters()]
    >>> recollected_bound(cell, 10, target_max=1.0)
    6.0
    """
    if not (math.isfinite(target_max) and target_max >= 0):
        raise ValueError(f"target_max={target_max:g}: give a finite, nonnegative bound on the target's entries.")
    cell, r = unit_cube_cell(cell), row_sums(cell)
    eta, t = max(float(w.max()) for w in r[:4]), _steps(steps) * cell.dt
    return (1 + target_max) * (t + 2 * (1 + eta) * (1 + 3 * eta) * t * t)


def _closed_form(cell: LEMCell, steps: int, pull: Array, group: str, kind: str, mu: float, u: Tensor | None) -> float:
    cell = unit_cube_cell(cell)
    w, r, dt = weights(cell), row_sums(cell), cell.dt
    in_z = group[1] in "1z"
    scale = (0.5 if group[1] in "12" else 1.0) * mu
    pull_1, pull_inf = float(sums_above(pull, 1).max()), float(pull.max())
    if not scale or not pull_inf:
        return 0.0  # whatever overflows beside it
    wy_entry, wy_column = float(np.abs(w["Wy"]).max()), float(sums_above(w["Wy"], 0).max())
    q = max(1.0, dt * wy_entry) if in_z else 1.0
    if kind == "inf":
        bound = scale * pull_1 * q * float(linear_growth(steps, dt, growth_rate(cell)))
    elif kind == "one":
        bound = scale * pull_inf * (1 + dt * wy_column if in_z else 1.0) * float(linear_growth(steps, dt, growth_rate(cell, 1)))
    elif kind == "ref":
        bz = float(np.max(beta(r.w1, r.wz)))
        be = max(bz, float(np.max(beta(r.w2, above(r.wy * (1 + dt * bz), 3)))))
        first = dt * (steps + 1) / 2
        # the first order carries no factor d; the growth beyond it does
        rest = max(float(linear_growth(steps, dt, be)) - first * (1 - 8 * U), 0.0) if be else 0.0
        bound = scale * (pull_inf * (dt * wy_column if in_z else 1.0) * first + pull_1 * q * rest)
    else:
        # dt / phi(dt g) is 1/g for LEM; a gate that has underflowed is no bound
        shares = ((c, leak_below(cell, c.gate_min)) for c in certificates(cell, u))
        bound = min(
            (
                scale * pull_1 * (max(c.r, dt * wy_entry) if in_z else 1.0) * (dt / share) / (1 - c.Psi)
                for c, share in shares
                if share > 0
            ),
            default=math.inf,
        )
    return float(outward(bound, 16))


def _pull(pull: ArrayLike, steps: int, d: int) -> Array:
    array = np.asarray(pull, dtype=np.float64)
    if array.shape not in {(), (d,), (steps, d)} or not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(
            f"pull of shape {array.shape}: give finite, nonnegative bounds on |dE_n/dy_n|, a number, ({d},) or ({steps}, {d})."
        )
    return np.asarray(np.broadcast_to(array, (steps, d)))


def _input_size(group: str, steps: int, u_max: ArrayLike | None, u: Tensor | None) -> Array:
    if u_max is None and u is not None:
        u_max = float(u.detach().abs().max())
    if u_max is None:
        if group[0] == "V":
            raise ValueError(
                f"group={group!r}: its gradient scales with the input; give u_max, a bound on the entries of |u|, or u."
            )
        u_max = 0.0
    size = np.asarray(u_max, dtype=np.float64)
    if size.shape not in {(), (steps,)} or not np.isfinite(size).all() or (size < 0).any():
        raise ValueError(f"u_max of shape {size.shape}: give a finite, nonnegative number or one a step, ({steps},).")
    return np.asarray(np.broadcast_to(size, (steps,)))


def _steps(steps: int) -> int:
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise ValueError(f"steps={steps!r}: N, the number of steps, must be a positive integer.")
    return int(steps)
