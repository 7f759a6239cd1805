r"""
Schemes for every step size (6.4)
=================================

The linearly implicit and the exponential step are LEM with another leak:

.. math::

    \text{LEM: } \ell = x, \qquad \text{linearly implicit: } \ell = \varphi(x) = \frac{x}{1 + x}, \qquad
    \text{exponential: } \ell = \varphi(x) = 1 - e^{-x}, \qquad x = \Delta t\, g .

| ``lemode.schemes.semi_implicit``, ``lemode.schemes.exponential``; every calculator of ``lemode.analysis`` takes cells with these schemes. Tested as 6.4
| in ``tests/properties``.
"""

import math

import numpy as np
import sympy as sp
import torch

from lemode import LEMCell
from lemode.analysis import contraction_certificate, gradient_bound, input_bound, input_jacobian, jacobian_bound, step_jacobian

STATEMENTS = ("6.4",)

# %%
# The leaks
# ---------
# **Statement.** Solving the decay implicitly, :math:`z_n = z_{n-1} + \Delta t\,g(\hat z - z_n)`, or exactly for a frozen gate and candidate gives
# :math:`z_n = z_{n-1} + \ell(\hat z - z_{n-1})` with the leaks above.
#
# **Proof.** :math:`(1 + x) z_n = z_{n-1} + x\hat z`, and :math:`z(t) = \hat z + e^{-g t}(z(0) - \hat z)`. ∎

x, z, zh = sp.symbols("x z zh", positive=True)
implicit = sp.solve(sp.Eq(sp.Symbol("new"), z + x * (zh - sp.Symbol("new"))), sp.Symbol("new"))[0]
assert sp.simplify(implicit - (z + x / (1 + x) * (zh - z))) == 0
t, g = sp.symbols("t g", positive=True)
frozen = zh + sp.exp(-g * t) * (z - zh)
assert sp.simplify(frozen.diff(t) - g * (zh - frozen)) == 0
assert sp.simplify(frozen.subs(g, x / t) - (z + (1 - sp.exp(-x)) * (zh - z))) == 0

# %%
# The cube, for every step size
# -----------------------------
# **Statement.** For every :math:`\Delta t > 0`: :math:`0 < \ell < 1`, so S1 holds, with :math:`1 - (1 - \varphi(\Delta t))^n` in the place of :math:`r_n`, and the unit cube is
# invariant.
#
# **Proof.** :math:`\varphi` increases from 0 to 1; so :math:`0 < \varphi(\Delta t\,g) < \varphi(\Delta t) < 1`. S1 used nothing else. ∎
#
# The bounds, verbatim
# --------------------
# **Statement.** J1, J3, J4, J5, G_inf, G_1, G_ref and G_rec hold as they stand, with the same :math:`\Gamma, \Gamma_1, b_e, G`, for every :math:`\Delta t > 0`; in G_rec the radius is
# that of the previous statement. J6 holds with :math:`\lambda` the largest leak. The certificate 5.4 holds with the factor
# :math:`1 - \varphi(\Delta t\,g_{\min})(1 - \Psi)`.
#
# **Proof.** The Jacobian and the sources are those of ``step_jacobian`` with :math:`\ell' = \partial\ell/\partial a`, a the argument of the gate, in the place of
# :math:`\ell(1 - g)`. Since :math:`\partial x/\partial a = x(1 - g)`, :math:`\ell' = \varphi'(x)\,x\,(1 - g)`. Both leaks satisfy
#
# .. math:: \text{(i)}\ \varphi(x) \le x, \qquad \text{(ii)}\ x\,\varphi'(x) \le \varphi(x), \qquad \text{hence} \qquad \ell \le \Delta t\,g, \quad \ell' \le \ell(1 - g) .
#
# For the implicit leak (ii) reads :math:`x/(1 + x)^2 \le x/(1 + x)`; for the exponential one :math:`x e^{-x} \le 1 - e^{-x}`, that is :math:`1 + x \le e^x`. Both leaks are concave with
# :math:`\varphi(0) = 0` and :math:`\varphi'(0) = 1`, which is (i).
#
# *Rows with decay* (J1, G_rec). A row of J1 becomes
#
# .. math:: 1 - \ell + \ell'|\hat z - z|\,w_1 + \ell(1 - h^2) w_z \le 1 + \ell\,[\,\cdot\,] \le 1 + \ell\,[\,\cdot\,]_+ \le 1 + \Delta t\,g\,[\,\cdot\,]_+ \le 1 + \Delta t\,\gamma,
#           \qquad [\,\cdot\,] = -1 + (1 - g)(1 + h) w_1 + (1 - h^2) w_z ,
#
# the last step because :math:`\gamma`, the maximum of :math:`g[\,\cdot\,]`, is at least 0 and so also the maximum of :math:`g[\,\cdot\,]_+`. The y row is the same with
# :math:`w_2, w_y(1 + \Delta t\,\gamma_z)`, and a row of G_rec the same with G in the place of :math:`\gamma`. In it a majorant may replace the sensitivity because
# :math:`1 - \ell \ge 0`.
#
# *Everything else* uses only :math:`\ell' \le \Delta t\,g(1 - g) \le \frac14\Delta t`, :math:`\ell(1 - h^2) \le \Delta t\, g(1 - h^2) \le \Delta t`, and :math:`0 \le 1 - \ell \le 1`: the columns of J3, the
# norms of J4, the rows of J5, :math:`R_n` in G_ref, the sizes of the sources, c = 1/2 and 1, and q, :math:`q_1`.
#
# *Rows that use* :math:`1 - g \le 1` (J6, 5.4): :math:`\ell + \ell'(1 + h) w_1 + \ell(1 - h^2) w_z \le \ell(1 + \psi)`, and :math:`1 - \ell + \ell\,\psi = 1 - \ell(1 - \Psi)` with
# :math:`\ell \ge \varphi(\Delta t\,g_{\min})`. ∎

# %%
# The way back, and uniform gradients
# -----------------------------------
# **Statement.** 5.2 holds with :math:`1 - \varphi(\Delta t)` in the place of :math:`1 - \Delta t`, and with :math:`\min\{\Delta t\,\chi(w_{2,i}),\ \varphi(\Delta t)(1 + 2w_{2,i})\} < 1` in the place of
# :math:`\Delta t\,\chi(w_{2,i})`; so does the floor :math:`K^{-n}`, with that K, and the highway with :math:`\lambda = \varphi(\Delta t\,g_{\max})`. G_unif holds with :math:`\Delta t/\varphi(\Delta t\,g_{\min})` in the place of :math:`1/g_{\min}`.
#
# **Proof.** The diagonal of a y row of the factor :math:`J_Q`, less the rest of it, is at least :math:`1 - \ell_2 - \ell_2'|\hat y - y| w_2`. By (i) and (ii) what is subtracted is at most :math:`\ell_2(1 + 2(1 - g)w_2)`, which is at most
# :math:`\Delta t\,g(1 + 2(1 - g)w_2) \le \Delta t\,\chi(w_2)`, and, as :math:`\ell_2 \le \varphi(\Delta t)` and :math:`1 - g \le 1`, at most :math:`\varphi(\Delta t)(1 + 2w_2)`. The z rows have the diagonal
# :math:`1 - \ell_1 \ge 1 - \varphi(\Delta t)` and rows of B of at most :math:`\Delta t\,\beta(w_1, w_z)`; the rest of 5.2 is as it stands. J6 gives the highway. For G_unif the factor is :math:`1 - \varphi(\Delta t\,g_{\min})(1 - \Psi)`, the source
# :math:`c\mu\Delta t\,q_r`, and the geometric series their quotient. ∎

for phi in (x / (1 + x), 1 - sp.exp(-x)):
    assert phi.subs(x, 0) == 0
    assert phi.diff(x).subs(x, 0) == 1
    assert sp.simplify(phi.diff(x, 2)).is_negative  # concave
    assert sp.limit(phi, x, sp.oo) == 1
assert sp.simplify(x / (1 + x) - x * (x / (1 + x)).diff(x) - x**2 / (1 + x) ** 2) == 0
defect = (1 - sp.exp(-x)) - x * sp.exp(-x)
assert defect.subs(x, 0) == 0
assert sp.simplify(defect.diff(x)).is_positive  # x exp(-x)
a, dt = sp.symbols("a dt", real=True)
gate = 1 / (1 + sp.exp(-a))
assert sp.simplify((dt * gate).diff(a) - dt * gate * (1 - gate)) == 0

f64 = torch.float64
rng = np.random.default_rng(0)
contracting, tightest = 0, 0.0
for case in range(300):
    d, scheme = int(rng.integers(1, 5)), ("semi_implicit", "exponential")[case % 2]
    step_size = float(10 ** rng.uniform(-2, 2.5))
    cell = LEMCell(1, d, dt=step_size, scheme=scheme, dtype=f64).requires_grad_(False)
    scale = float(rng.choice([0.05, 0.3, 1.0]))
    for p in cell.parameters():
        p.copy_(torch.from_numpy(scale * rng.standard_normal(tuple(p.shape))))
    y, z = (torch.from_numpy(rng.uniform(-1, 1, (30, d))) for _ in range(2))
    u = torch.from_numpy(rng.standard_normal((30, 1)))
    J = step_jacobian(cell, (y, z), u).matrix()
    for order in (1, 2, math.inf):
        norm = float(torch.linalg.matrix_norm(J, order).max())
        assert norm <= jacobian_bound(cell, order) * (1 + 1e-12)
        tightest = max(tightest, norm / jacobian_bound(cell, order))
    by_u = torch.cat(input_jacobian(cell, (y, z), u), -2)
    assert float(torch.linalg.matrix_norm(by_u, math.inf).max()) <= input_bound(cell) * (1 + 1e-12)
    certificate = contraction_certificate(cell, u)
    if certificate.holds:
        contracting += 1
        omega = torch.cat([torch.full((d,), 1 / certificate.r, dtype=f64), torch.ones(d, dtype=f64)])
        x_min = step_size * certificate.gate_min
        leak = x_min / (1 + x_min) if scheme == "semi_implicit" else -math.expm1(-x_min)
        assert float((J.abs() @ omega / omega).max()) <= 1 - leak * (1 - certificate.Psi) + 1e-12
assert contracting > 50

# %%
# Full gradients, by automatic differentiation, with steps far above 1; and the cube, exactly, up to :math:`\Delta t = 10^6`.

GROUPS = ["W1", "W2", "Wz", "Wy", "V1", "V2", "Vz", "Vy", "b1", "b2", "bz", "by"]
for case in range(16):
    d, scheme, steps = 2, ("semi_implicit", "exponential")[case % 2], 6
    cell = LEMCell(1, d, dt=float(rng.choice([0.5, 3.0, 40.0])), scheme=scheme, dtype=f64)
    with torch.no_grad():
        for p in cell.parameters():
            p.copy_(torch.from_numpy(rng.standard_normal(tuple(p.shape))))
    u, target = torch.from_numpy(rng.standard_normal((steps, 1))), torch.from_numpy(rng.uniform(-1, 1, (steps, d)))
    y = z = torch.zeros(d, dtype=f64)
    loss = torch.zeros((), dtype=f64)
    for n in range(steps):
        y, z = cell(u[n], (y, z))
        loss = loss + 0.5 * (y - target[n]).square().sum() / steps
    grads = torch.autograd.grad(loss, [cell.ode.weight_hh, cell.ode.weight_zy, cell.ode.weight_ih, cell.ode.bias])
    blocks = [*grads[0].chunk(3), grads[1], *grads[2].chunk(4), *grads[3].chunk(4)]
    for group, grad in zip(GROUPS, blocks):
        for kind in ("inf", "one", "ref", "recursion"):
            assert float(grad.abs().max()) <= gradient_bound(cell, steps, 2.0, group, kind, u=u) * (1 + 1e-9) + 1e-13

for scheme in ("semi_implicit", "exponential"):
    for step_size in (1e-3, 1.0, 1e3, 1e6):
        cell = LEMCell(1, 4, dt=step_size, scheme=scheme).requires_grad_(False)  # float32
        for p in cell.parameters():
            p.copy_(10 * torch.from_numpy(rng.standard_normal(tuple(p.shape))))
        y = z = torch.zeros(200, 4)
        for _ in range(20):
            y, z = cell(torch.randn(200, 1), (y, z))
            assert float(y.abs().max()) <= 1
            assert float(z.abs().max()) <= 1
