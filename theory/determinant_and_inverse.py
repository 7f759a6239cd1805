r"""
Determinant and inverse of the step (5.1)
=========================================

Is the step of LEM invertible, and how much volume does it lose? Notation of ``step_jacobian``.

| Computed by ``lemode.analysis.step_jacobian(...).logabsdet()`` and ``inverse_step``; tested as 5.1 in ``tests/properties``.
"""

import numpy as np
import sympy as sp
import torch
from scipy.integrate import solve_ivp

from lemode import LEMCell
from lemode.analysis import chi, field_jacobian, inverse_step, step_jacobian

STATEMENTS = ("5.1",)

# %%
# The determinant
# ---------------
# **Statement.** :math:`\det J = \prod_i (1 - \ell_{1,i}) \cdot \det D`.
#
# **Proof.** :math:`J = J_Q J_P`, and both factors are block triangular with one block the identity: :math:`\det J_P = \det A = \prod_i (1 - \ell_{1,i})`,
# :math:`\det J_Q = \det D`. ∎
#
# **Consequences.** Let :math:`0 < \Delta t \le 1`, so that :math:`\ell < 1`.
#
# 1. If :math:`W_2 = 0` then :math:`\det J = \prod_i (1 - \ell_{1,i})(1 - \ell_{2,i}) \ge (1 - \Delta t)^{2d}`: D is the diagonal matrix of :math:`1 - \ell_2`.
# 2. In the unit cube, J is invertible if :math:`\Delta t\, \chi(w_{2,i}) < 1` for every row i, :math:`\chi` as in ``engine_functions``.
#
# *Proof of 2.* D is then strictly diagonally dominant: by :math:`|\hat y - y| \le 2`, row i has
#
# .. math:: |D_{ii}| - \sum_{j \ne i} |D_{ij}| \ge 1 - \ell_2 - \ell_2 (1 - g_2)\cdot 2\, w_{2,i} = 1 - \Delta t\, g_2 \left(1 + 2 w_{2,i}(1 - g_2)\right) \ge 1 - \Delta t\, \chi(w_{2,i}) > 0 ,
#
# and such a matrix is invertible (Levy, Desplanques); A is invertible as :math:`\ell_1 < 1`. ∎

d = 2
Z, Eye = sp.zeros(d), sp.eye(d)
A = sp.diag(*sp.symbols("a1:3"))
B, S, D = (sp.Matrix(d, d, sp.symbols(f"{name}0:4")) for name in "BSD")
J = sp.Matrix(sp.BlockMatrix([[A, B], [S * A, D + S * B]]))
assert sp.expand(J.det() - A.det() * D.det()) == 0

# %%
# The explicit inverse, when the gate of y does not look at y
# -----------------------------------------------------------
# **Statement.** Let :math:`W_2 = 0` and let no leak be 1. For every input the step is a diffeomorphism of :math:`\mathbb{R}^{2d}` onto itself, and its
# inverse is
#
# .. math::
#
#     y = \frac{y' - \ell_2 \tanh(W_y z' + V_y u + b_y)}{1 - \ell_2}, \qquad \text{then} \qquad
#     z = \frac{z' - \ell_1 \tanh(W_z y + V_z u + b_z)}{1 - \ell_1}
#
# with :math:`\ell_2` from u alone and :math:`\ell_1` from the y just found.
#
# **Proof.** The second half of the step is :math:`y' = (1 - \ell_2) y + \ell_2 \tanh(W_y z' + \cdots)`, where :math:`z'` and u are known and
# :math:`\ell_2` does not depend on y: solve for y, uniquely. Then everything on the right-hand side of
# :math:`z' = (1 - \ell_1) z + \ell_1 \tanh(W_z y + \cdots)` but z is known. The inverse is smooth, being composed of smooth functions with denominators that are
# not zero. For :math:`|\ell| < 1` the rounding errors grow by at most :math:`1/(1 - \ell)` in each of the divisions. ∎
#
# Consequently a network with :math:`W_2 = 0` can be run backwards instead of storing its states: a reversible LEM.

y, z, l1, l2, zhat, yhat = sp.symbols("y z l1 l2 zhat yhat")
y_new = (1 - l2) * y + l2 * yhat
z_new = (1 - l1) * z + l1 * zhat
assert sp.simplify((y_new - l2 * yhat) / (1 - l2) - y) == 0
assert sp.simplify((z_new - l1 * zhat) / (1 - l1) - z) == 0

f64 = torch.float64
gen = torch.Generator().manual_seed(0)


def network(d, dt, W2=True):
    cell = LEMCell(2, d, dt=dt, dtype=f64)
    with torch.no_grad():
        for p in cell.parameters():
            p.copy_(torch.randn(p.shape, generator=gen, dtype=f64))
        if not W2:
            cell.ode.blocks().W2.zero_()
    return cell.requires_grad_(False)


for dt in (0.1, 0.5, 0.9):
    cell = network(4, dt, W2=False)
    u = torch.randn(30, 2, generator=gen, dtype=f64)
    start = state = (torch.zeros(4, dtype=f64), torch.zeros(4, dtype=f64))
    worst = 1.0
    for n in range(30):
        J = step_jacobian(cell, state, u[n])
        leaks = 1 - torch.cat([J.A.diagonal(), J.D.diagonal()])
        sign, value = torch.linalg.slogdet(J.matrix())
        assert sign > 0
        assert abs(value - torch.log1p(-leaks).sum()) < 1e-12  # sums of logarithms of size 1
        assert abs(value - J.logabsdet()) < 1e-12
        assert value >= 2 * 4 * np.log1p(-dt)
        back = inverse_step(cell, (new := cell(u[n], state)), u[n])
        assert max(float((p - q).abs().max()) for p, q in zip(back, state)) < 1e-15 * 20 / (1 - dt) ** 2
        state = new

# %%
# With :math:`W_2 \ne 0`, where :math:`\Delta t\,\chi < 1`, the Jacobian is invertible; without that it need not be. A scalar example: let
# :math:`g_2 = 1/2`, y = 1 and :math:`\hat y \to -1`, then :math:`D = 1 - \frac12\Delta t - \frac14 \cdot 2\,\Delta t\,w_2` vanishes for
# :math:`w_2 = 2/\Delta t - 1`.

for _ in range(50):
    cell = network(3, 0.4)
    w2 = cell.ode.blocks().W2.abs().sum(1).max().item()
    cell.ode.blocks().W2.mul_(1.0 / w2)  # row norms at most 1, chi(1) = 9/8, 0.4 * 9/8 < 1
    assert 0.4 * chi(1.0) < 1
    y, z = (2 * torch.rand(3, generator=gen, dtype=f64) - 1 for _ in range(2))
    J = step_jacobian(cell, (y, z), torch.randn(2, generator=gen, dtype=f64))
    margin = 2 * J.D.diagonal().abs() - J.D.abs().sum(1)
    assert bool((margin >= 1 - 0.4 * chi(1.0) - 1e-12).all())
    assert abs(torch.linalg.slogdet(J.matrix()).logabsdet - J.logabsdet()) < 1e-11

dt, w2 = sp.symbols("dt w2", positive=True)
assert sp.solve(1 - dt / 2 - dt * sp.Rational(1, 4) * 2 * w2, w2)[0].equals(2 / dt - 1)

# %%
# The flow: Liouville
# -------------------
# **Statement.** Let :math:`\Phi_t` be the derivative of the flow of the ODE by its initial state. Then
#
# .. math:: \frac{d}{dt} \log\det\Phi_t = \operatorname{tr} DF = -\sum_i g_{1,i} - \sum_i g_{2,i} + \sum_i g_{2,i}(1 - g_{2,i})(\hat y_i - y_i)(W_2)_{ii} .
#
# If :math:`W_2` has a zero diagonal, the sum of all Lyapunov exponents is minus the time average of the sum of all gates: negative.
#
# **Proof.** :math:`\dot\Phi = DF\,\Phi`, and Liouville's formula gives :math:`\frac{d}{dt}\det\Phi = \operatorname{tr}(DF)\det\Phi`. The diagonal of DF is read off
# ``vector_field``: :math:`-g_1` in the z block, :math:`-g_2 + g_2(1 - g_2)(\hat y - y)(W_2)_{ii}` in the y block. The sum of the Lyapunov
# exponents is :math:`\lim \frac1t \log|\det\Phi_t|`. ∎

t = sp.Symbol("t")
Phi = sp.Matrix(2, 2, [sp.Function(f"phi{i}")(t) for i in range(4)])
M = sp.Matrix(2, 2, sp.symbols("m0:4"))
by_ode = dict(zip(Phi.diff(t), M * Phi))
assert sp.simplify(sp.diff(Phi.det(), t).subs(by_ode) - M.trace() * Phi.det()) == 0

for zero_diagonal in (False, True):
    cell = network(3, 1.0)
    if zero_diagonal:
        cell.ode.blocks().W2.fill_diagonal_(0)
    u = torch.randn(2, generator=gen, dtype=f64)

    def extended(t, x, cell=cell, u=u):
        z, y, Phi = torch.from_numpy(x[:3]), torch.from_numpy(x[3:6]), x[6:42].reshape(6, 6)
        dy, dz = cell.ode(y, z, u)
        DF = field_jacobian(cell.ode, (y, z), u).numpy()
        g1, g2 = cell.ode.gates(y, u)
        yh = torch.tanh(cell.ode.blocks().Wy @ z + cell.ode.blocks().Vy @ u + cell.ode.blocks().by)
        trace = -g1.sum() - g2.sum() + (g2 * (1 - g2) * (yh - y) * cell.ode.blocks().W2.diagonal()).sum()
        assert abs(np.trace(DF) - float(trace)) < 1e-13
        return np.concatenate([dz, dy, (DF @ Phi).ravel(), [float(trace)]])

    start = np.concatenate([[0.5, -0.3, 0.1, 0.2, -0.8, 0.9], np.eye(6).ravel(), [0.0]])
    end = solve_ivp(extended, (0, 5), start, method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    logdet = np.linalg.slogdet(end[6:42].reshape(6, 6))[1]
    assert abs(logdet - end[42]) < 1e-7  # the determinant is small; its logarithm keeps the solver's relative accuracy
    assert not zero_diagonal or logdet < 0
