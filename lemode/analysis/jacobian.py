r"""Exact derivatives of one LEM step, batched and differentiable, and their products along a trajectory.

The user-facing state is ``(y, z)``. **Jacobian blocks follow the theory and order the state as** :math:`x = (z, y)`, because
the step updates z first; every function that returns blocks or matrices says so.

With leak :math:`\ell = \varphi(\Delta t\,g)` and :math:`\ell' = \partial\ell/\partial a` for the gate's argument a
(LEM: :math:`\ell = \Delta t\,g`, :math:`\ell' = \ell(1 - g)`), one step has

.. math::

    A &= \mathrm{diag}(1 - \ell_1), & B &= \mathrm{diag}(\ell_1'(\hat z - z)) W_1 + \mathrm{diag}(\ell_1(1 - \hat z^2)) W_z, \\
    S &= \mathrm{diag}(\ell_2(1 - \hat y^2)) W_y, & D &= \mathrm{diag}(1 - \ell_2) + \mathrm{diag}(\ell_2'(\hat y - y)) W_2, \\
    J &= \frac{\partial (z_n, y_n)}{\partial (z_{n-1}, y_{n-1})}
       = \begin{pmatrix} A & B \\ S A & D + S B \end{pmatrix}
       = \begin{pmatrix} I & 0 \\ S & D \end{pmatrix} \begin{pmatrix} A & B \\ 0 & I \end{pmatrix}.

z and y are those at the start of the step; :math:`\hat z = \tanh(W_z y + V_z u + b_z)`,
:math:`\hat y = \tanh(W_y z_n + V_y u + b_y)`. Section 3 of the theory.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from .._checks import checks, fitting, pair, tensor
from .._renamed import state_first
from ..lem import LEMCell
from ..ode import Blocks
from ..types import State
from .network import GROUPS, Network, as_cell, as_ode, leaks

__all__ = [
    "Coefficients", "StepJacobian", "coefficients", "field_jacobian", "input_jacobian",
    "parameter_jacobian", "step_jacobian", "trajectory_jvp", "trajectory_vjp",
]  # fmt: skip


class Coefficients(NamedTuple):
    r"""The six diagonals of a step's derivative, each ``(..., d)``, and the new z.

    ``keep_z`` :math:`1-\ell_1`, ``gate_z`` :math:`\ell_1'(\hat z - z)`, ``cand_z`` :math:`\ell_1(1-\hat z^2)`;
    ``keep_y`` :math:`1-\ell_2`, ``gate_y`` :math:`\ell_2'(\hat y - y)`, ``cand_y`` :math:`\ell_2(1-\hat y^2)`.

    Examples
    --------
    A product with the Jacobian, without the Jacobian:

    >>> cell, zero = lemode.LEMCell(1, 3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    >>> u, state = torch.ones(1, dtype=torch.float64), (zero, zero)
    >>> dy, dz = coefficients(cell, state, u).jvp(cell.ode.blocks(), zero + 1, zero)
    >>> tangent = torch.cat([zero, zero + 1])  # (z, y), as in the matrix
    >>> torch.allclose(torch.cat([dz, dy]), step_jacobian(cell, state, u).matrix() @ tangent)
    True
    """

    keep_z: Tensor
    gate_z: Tensor
    cand_z: Tensor
    keep_y: Tensor
    gate_y: Tensor
    cand_y: Tensor
    z_new: Tensor

    def jvp(self, p: Blocks, dy: Tensor, dz: Tensor) -> State:
        """``(dy, dz)`` after the step, from tangents ``(..., d)`` before it."""
        dz = self.keep_z * dz + self.gate_z * linear(dy, p.W1) + self.cand_z * linear(dy, p.Wz)
        dy = self.keep_y * dy + self.gate_y * linear(dy, p.W2) + self.cand_y * linear(dz, p.Wy)
        return dy, dz

    def vjp(self, p: Blocks, vy: Tensor, vz: Tensor) -> State:
        """``(vy, vz)`` before the step, from cotangents ``(..., d)`` after it."""
        vz = vz + (vy * self.cand_y) @ p.Wy
        vy = vy * self.keep_y + (vy * self.gate_y) @ p.W2 + (vz * self.gate_z) @ p.W1 + (vz * self.cand_z) @ p.Wz
        return vy, vz * self.keep_z


class StepJacobian(NamedTuple):
    r"""J of one step in the order **(z, y)**, kept as its factors A, B, S, D, each ``(..., d, d)``; theory, section 3.

    .. math:: J = \begin{pmatrix} A & B \\ S A & D + S B \end{pmatrix}

    Examples
    --------
    The determinant from the factors is that of the matrix:

    >>> cell = lemode.LEMCell(1, 3, dt=0.5, dtype=torch.float64)
    >>> zero = torch.zeros(7, 3, dtype=torch.float64)
    >>> J = step_jacobian(cell, (zero, zero), torch.ones(7, 1, dtype=torch.float64))
    >>> torch.allclose(J.logabsdet(), torch.linalg.slogdet(J.matrix()).logabsdet)
    True
    """

    A: Tensor
    B: Tensor
    S: Tensor
    D: Tensor

    @property
    def zz(self) -> Tensor:
        """dz_n/dz_{n-1} = A."""
        return self.A

    @property
    def zy(self) -> Tensor:
        """dz_n/dy_{n-1} = B."""
        return self.B

    @property
    def yz(self) -> Tensor:
        """dy_n/dz_{n-1} = S A."""
        return self.S @ self.A

    @property
    def yy(self) -> Tensor:
        """dy_n/dy_{n-1} = D + S B."""
        return self.D + self.S @ self.B

    def matrix(self) -> Tensor:
        """J, ``(..., 2 d, 2 d)``, in the order (z, y)."""
        return torch.cat([torch.cat([self.zz, self.zy], -1), torch.cat([self.yz, self.yy], -1)], -2)

    def logabsdet(self) -> Tensor:
        r""":math:`\log|\det J| = \sum_i \log|1 - \ell_{1,i}| + \log|\det D|`, statement 5.1, shape ``(...)``."""
        return self.A.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1) + torch.linalg.slogdet(self.D).logabsdet


@state_first
@checks(state=pair, u=tensor)
def coefficients(cell: LEMCell, state: State, u: Tensor) -> Coefficients:
    """The diagonals of the step's derivative at ``state = (y, z)``, each ``(..., d)``, and input u ``(..., m)``.

    Everything else in this module, and every a-posteriori bound, is built from them; O(d^2) work a state.

    Raises
    ------
    TypeError, ValueError
        If cell is not a LEMCell, or its scheme is 'explicit' or 'strang'.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 3)
    >>> coefficients(cell, (torch.zeros(5, 3), torch.zeros(5, 3)), torch.zeros(5, 1)).keep_z.shape
    torch.Size([5, 3])
    """
    cell = as_cell(cell)
    phi, dphi = leaks(cell)
    (y, z), p = state, cell.ode.blocks()
    fitting(cell.ode, u, y, z)
    a1, a2, az = (linear(y, W) + linear(u, V, b) for W, V, b in ((p.W1, p.V1, p.b1), (p.W2, p.V2, p.b2), (p.Wz, p.Vz, p.bz)))
    x1, x2 = cell.dt * torch.sigmoid(a1), cell.dt * torch.sigmoid(a2)
    l1, l2 = phi(x1), phi(x2)
    zh = torch.tanh(az)
    z_new = z + l1 * (zh - z)
    ay = linear(z_new, p.Wy) + linear(u, p.Vy, p.by)
    yh = torch.tanh(ay)
    # 1 - g is the gate at -a: the difference is nothing, or rounding, where a gate is saturated
    return Coefficients(
        1 - l1, dphi(x1) * x1 * torch.sigmoid(-a1) * (zh - z), l1 * _bend(az),
        1 - l2, dphi(x2) * x2 * torch.sigmoid(-a2) * (yh - y), l2 * _bend(ay), z_new,
    )  # fmt: skip


@state_first
@checks(state=pair, u=tensor)
def step_jacobian(cell: LEMCell, state: State, u: Tensor) -> StepJacobian:
    r"""The exact Jacobian of one step with respect to the state, in the order **(z, y)**.

    .. math:: J = \begin{pmatrix} A & B \\ S A & D + S B \end{pmatrix}

    with the blocks of this module's docstring (theory, section 3).

    Parameters
    ----------
    cell : LEMCell
        Scheme 'imex', 'semi_implicit' or 'exponential'.
    state : (y, z), each (..., d)
        State before the step.
    u : (..., m)
        Input of the step.

    Returns
    -------
    StepJacobian
        A, B, S, D, each ``(..., d, d)``; ``.matrix()`` is J.

    Raises
    ------
    TypeError, ValueError
        If cell is not a LEMCell, or its scheme is 'explicit' or 'strang'.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 3)
    >>> step_jacobian(cell, (torch.zeros(3), torch.zeros(3)), torch.zeros(1)).matrix().shape
    torch.Size([6, 6])
    """
    c, p = coefficients(cell, state, u), as_ode(cell).blocks()
    return StepJacobian(
        torch.diag_embed(c.keep_z), _rows(c.gate_z, p.W1) + _rows(c.cand_z, p.Wz),
        _rows(c.cand_y, p.Wy), torch.diag_embed(c.keep_y) + _rows(c.gate_y, p.W2),
    )  # fmt: skip


@state_first
@checks(state=pair, u=tensor)
def input_jacobian(cell: LEMCell, state: State, u: Tensor) -> State:
    r"""The exact derivative ``(dy_n/du_n, dz_n/du_n)``, each ``(..., d, m)``, at fixed previous state.

    .. math::

        U_z &= \mathrm{diag}(\ell_1'(\hat z - z)) V_1 + \mathrm{diag}(\ell_1(1 - \hat z^2)) V_z \\
        U_y &= \mathrm{diag}(\ell_2'(\hat y - y)) V_2 + \mathrm{diag}(\ell_2(1 - \hat y^2)) V_y + S U_z

    (theory, section 3). Arguments and errors as for `step_jacobian`.

    Examples
    --------
    >>> cell = lemode.LEMCell(2, 3)
    >>> dy, dz = input_jacobian(cell, (torch.zeros(3), torch.zeros(3)), torch.zeros(2))
    >>> dy.shape
    torch.Size([3, 2])
    """
    c, p = coefficients(cell, state, u), as_ode(cell).blocks()
    Uz = _rows(c.gate_z, p.V1) + _rows(c.cand_z, p.Vz)
    Uy = _rows(c.gate_y, p.V2) + _rows(c.cand_y, p.Vy) + _rows(c.cand_y, p.Wy) @ Uz
    return Uy, Uz


@state_first
@checks(state=pair, u=tensor)
def parameter_jacobian(cell: LEMCell, state: State, u: Tensor, group: str) -> State:
    r"""The source ``(dy_n/dP, dz_n/dP)`` of one parameter block P at fixed previous state, each ``(..., d, *P.shape)``.

    A parameter in row i acts through one scalar :math:`a\,\mu`:

    .. math::

        (\partial z_n, \partial y_n) &= (a\mu\, e_i,\; a\mu\, S e_i), & a &= \ell_1'(\hat z - z)_i \text{ for } W_1, V_1, b_1
            \text{ or } \ell_1(1 - \hat z^2)_i \text{ for } W_z, V_z, b_z, \\
        (\partial z_n, \partial y_n) &= (0,\; a\mu\, e_i), & a &= \ell_2'(\hat y - y)_i \text{ for } W_2, V_2, b_2
            \text{ or } \ell_2(1 - \hat y^2)_i \text{ for } W_y, V_y, b_y,

    with :math:`\mu = y_j` for W1, W2, Wz, the new :math:`z_j` for Wy, :math:`u_j` for V and 1 for b (theory, section 3).

    Parameters
    ----------
    cell, state, u
        As for `step_jacobian`.
    group : str
        One of W1 W2 Wz Wy V1 V2 Vz Vy b1 b2 bz by.

    Raises
    ------
    ValueError
        If there is no such block.

    Examples
    --------
    >>> cell = lemode.LEMCell(2, 3)
    >>> dy, dz = parameter_jacobian(cell, (torch.zeros(3), torch.zeros(3)), torch.zeros(2), "V1")
    >>> dy.shape
    torch.Size([3, 3, 2])
    """
    check_group(group)
    c, p = coefficients(cell, state, u), as_ode(cell).blocks()
    kind, letter = group[0], group[1]
    a = {"1": c.gate_z, "2": c.gate_y, "z": c.cand_z, "y": c.cand_y}[letter]
    direct = torch.diag_embed(a)
    if letter in "1z":
        dz, dy = direct, _rows(c.cand_y, p.Wy) * a.unsqueeze(-2)
    else:
        dz, dy = torch.zeros_like(direct), direct
    if kind == "b":
        return dy, dz
    factor = u if kind == "V" else c.z_new if letter == "y" else state[0]
    factor = factor[..., None, None, :]
    return dy.unsqueeze(-1) * factor, dz.unsqueeze(-1) * factor


@state_first
@checks(state=pair, u=tensor)
def field_jacobian(ode: Network, state: State, u: Tensor) -> Tensor:
    r"""The Jacobian DF of the ODE's vector field at ``state = (y, z)``, ``(..., 2 d, 2 d)``, in the order **(z, y)**.

    .. math::

        DF = \begin{pmatrix} -\mathrm{diag}(g_1) & \mathrm{diag}(g_1(1-g_1)(\hat z - z)) W_1 + \mathrm{diag}(g_1(1-\hat z^2)) W_z \\
        \mathrm{diag}(g_2(1-\hat y^2)) W_y & -\mathrm{diag}(g_2) + \mathrm{diag}(g_2(1-g_2)(\hat y - y)) W_2 \end{pmatrix}

    Statement 5.3. Here :math:`\hat y = \tanh(W_y z + V_y u + b_y)`, z being the current one.

    Parameters
    ----------
    ode : MultiscaleODE or LEMCell
    state : (y, z), each (..., d)
    u : (..., m)

    Examples
    --------
    >>> ode = lemode.MultiscaleODE(1, 3)
    >>> field_jacobian(ode, (torch.zeros(3), torch.zeros(3)), torch.zeros(1)).shape
    torch.Size([6, 6])
    """
    y, z = state
    found = as_ode(ode)
    fitting(found, u, y, z)
    return found.jacobian(y, z, u)


@checks(u=tensor, ys=tensor, zs=tensor, tangent=pair)
def trajectory_jvp(cell: LEMCell, u: Tensor, ys: Tensor, zs: Tensor, tangent: State) -> State:
    r"""Tangents :math:`J_n \cdots J_1\,\delta x_0` for all n, without forming a matrix: O(L d^2).

    Parameters
    ----------
    cell : LEMCell
    u : (L, ..., m)
        Inputs u_1, ..., u_L.
    ys, zs : (L + 1, ..., d)
        States 0, ..., L of the trajectory (the last one is not used).
    tangent : (dy, dz), each broadcastable to (..., d)

    Returns
    -------
    (dys, dzs), each (L + 1, ..., d)
        Entry n is the tangent after n steps.

    Raises
    ------
    ValueError
        If the lengths of u and of the states do not fit.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 3)
    >>> states = torch.zeros(5, 3)
    >>> dys, dzs = trajectory_jvp(cell, torch.zeros(4, 1), states, states, (torch.ones(3), torch.zeros(3)))
    >>> dys.shape
    torch.Size([5, 3])
    """
    c, p = _along(cell, u, ys, zs)
    dy, dz = _as_state(tangent, ys[0])
    dys, dzs = [dy.expand_as(ys[0])], [dz.expand_as(zs[0])]
    for n in range(len(u)):
        dy, dz = Coefficients(*(x[n] for x in c)).jvp(p, dys[-1], dzs[-1])
        dys.append(dy)
        dzs.append(dz)
    return torch.stack(dys), torch.stack(dzs)


@checks(u=tensor, ys=tensor, zs=tensor, cotangent=pair)
def trajectory_vjp(cell: LEMCell, u: Tensor, ys: Tensor, zs: Tensor, cotangent: State) -> State:
    r"""Cotangents :math:`v\,J_L \cdots J_{k+1}` for all k, without forming a matrix: how a gradient flows back, O(L d^2).

    Parameters
    ----------
    cell, u, ys, zs
        As for `trajectory_jvp`.
    cotangent : (vy, vz), each broadcastable to (..., d)
        v, acting on the state after L steps.

    Returns
    -------
    (vys, vzs), each (L + 1, ..., d)
        Entry k acts on state k; entry L is v.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 3)
    >>> states = torch.zeros(5, 3)
    >>> vys, vzs = trajectory_vjp(cell, torch.zeros(4, 1), states, states, (torch.ones(3), torch.zeros(3)))
    >>> vzs.shape
    torch.Size([5, 3])
    """
    c, p = _along(cell, u, ys, zs)
    vy, vz = _as_state(cotangent, ys[0])
    vys, vzs = [vy.expand_as(ys[0])], [vz.expand_as(zs[0])]
    for n in range(len(u) - 1, -1, -1):
        vy, vz = Coefficients(*(x[n] for x in c)).vjp(p, vys[-1], vzs[-1])
        vys.append(vy)
        vzs.append(vz)
    return torch.stack(vys[::-1]), torch.stack(vzs[::-1])


def _bend(a: Tensor) -> Tensor:
    """The derivative of tanh, 1 - tanh^2, which keeps its digits where tanh is nearly one."""
    return 4 * torch.sigmoid(2 * a) * torch.sigmoid(-2 * a)


def check_group(group: str) -> None:
    """Raise ValueError unless group is one of the twelve blocks."""
    if group not in GROUPS:
        raise ValueError(f"group={group!r}: the parameter blocks are {', '.join(GROUPS)}.")


def _as_state(tangent: State, y: Tensor) -> State:
    for x in tangent:
        if x.dtype != y.dtype or x.dim() > y.dim() or any(a not in (1, b) for a, b in zip(x.shape[::-1], y.shape[::-1])):
            raise ValueError(
                f"a tangent of shape {tuple(x.shape)}, {x.dtype}: give what broadcasts to {tuple(y.shape)}, in {y.dtype}."
            )
    return tangent


def _along(cell: LEMCell, u: Tensor, ys: Tensor, zs: Tensor) -> tuple[Coefficients, Blocks]:
    if not (u.dim() and ys.dim() and zs.dim()):
        raise ValueError("u, ys, zs: give tensors with time as their first dimension.")
    if len(u) < 1 or len(ys) != len(u) + 1 or len(zs) != len(u) + 1:
        raise ValueError(
            f"{len(u)} inputs and {len(ys)}, {len(zs)} states: L >= 1 inputs need L + 1 states, the initial one first."
        )
    return coefficients(cell, (ys[:-1], zs[:-1]), u), as_ode(cell).blocks()


def _rows(scale: Tensor, matrix: Tensor) -> Tensor:
    """diag(scale) @ matrix."""
    return scale.unsqueeze(-1) * matrix
