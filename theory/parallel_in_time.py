r"""
How many sweeps over a whole sequence are enough (9.1)
======================================================

The states of a sequence solve :math:`x_n = F(x_{n-1}, u_n)`, n = 1, ..., L, all at once. ``lemode.kernels.parallel`` begins with a guess and makes it
better by sweeps, each a linear recurrence that an associative scan solves in :math:`\log_2 L` rounds. Parallel time is won where few sweeps are
enough. How many, before the first one is made?

A *leaky* sweep takes gates and targets from the states :math:`y^k` of the sweep before; :math:`\ell_j = \varphi(\Delta t\,g_j)`:

.. math::

    z^{k+1}_n &= (1 - \ell_1(y^k_{n-1}))\, z^{k+1}_{n-1} + \ell_1(y^k_{n-1})\, \hat z(y^k_{n-1}), \\
    y^{k+1}_n &= (1 - \ell_2(y^k_{n-1}))\, y^{k+1}_{n-1} + \ell_2(y^k_{n-1})\, \hat y(z^{k+1}_n) ,

from :math:`y^k_0 = y_0,\ z^k_0 = z_0` for all k, the input being that of step n everywhere. A *Newton* sweep is
:math:`x^{k+1}_n = F(x^k_{n-1}) + J(x^k_{n-1})\,(x^{k+1}_{n-1} - x^k_{n-1})`, every entry then held in [-1, 1]. Let :math:`0 < \Delta t \le 1`, or any
positive step for the schemes that keep the cube for every step, and :math:`x_0` be in the cube. :math:`\psi` is that of ``engine_functions``; w are absolute row sums.

| Computed by ``lemode.analysis.promised_sweeps``; tested as 9.1 in ``tests/properties``.
"""

from itertools import pairwise

import numpy as np
import torch
from scipy.stats import binom

from lemode import LEMCell
from lemode.analysis import contraction_certificate, contraction_over_windows, promised_sweeps, psi, step_jacobian
from lemode.kernels import run
from lemode.kernels.parallel import solve

STATEMENTS = ("9.1",)

# %%
# The statement
# -------------
# **Statement (9.1).** (a) Every sweep of either kind stays in the cube, whatever the weights.
#
# (b) After k sweeps of either kind, in any order, the first k states are exact. So L sweeps are always enough. For (b) neither the step nor the initial
# state matters.
#
# (c) Let :math:`p_j` be the largest leak over the cube and the inputs, :math:`\bar g_{j,i}` one minus the least value of gate i there, and
#
# .. math:: B^0_n = (1 + |y_0|_\infty)\,(1 - (1 - p_2)^n), \qquad B^k_0 = C_0 = 0, \qquad R(x) = \frac{e^x - 1}{x} .
#
# Begin with :math:`y^0_n = y_0`, and make leaky sweeps. Then :math:`|z^{k+1}_n - z_n|_\infty \le C_n` and :math:`|y^k_n - y_n|_\infty \le B^k_n`, where
#
# .. math::
#
#     C_n &= (1 - p_1)\,C_{n-1} + p_1 \max_i R(\bar g_{1,i} w_{1,i} B^k_{n-1})\,\psi(\bar g_{1,i} w_{1,i},\ w_{z,i})\,B^k_{n-1}, \\
#     B^{k+1}_n &= (1 - p_2)\,B^{k+1}_{n-1} + p_2 \max_i R(\bar g_{2,i} w_{2,i} B^k_{n-1})\,\psi(\bar g_{2,i} w_{2,i} B^k_{n-1},\ w_{y,i} C_n) ,
#
# each cut off at 2.
#
# (d) Write :math:`\rho(E) = \max_i R(\bar g_{2,i} w_{2,i} E)\,\psi(\bar g_{2,i} w_{2,i},\ w_{y,i}\,\rho_z(E))`,
# :math:`\rho_z(E) = \max_i R(\bar g_{1,i} w_{1,i} E)\,\psi(\bar g_{1,i} w_{1,i}, w_{z,i})`. If :math:`\rho(E) \le q < 1` for :math:`E = 1 + |y_0|_\infty`, then
#
# .. math:: \max_n |y^k_n - y_n|_\infty \le q^k E :
#
# the number of sweeps to a tolerance does not depend on the length, and hardly on :math:`\Delta t`. With the certificate 5.4 :math:`\rho(0) < 1`; for
# :math:`W_1 = W_2 = 0` the condition is :math:`q = w_z w_y = \Psi^2 < 1`, that certificate itself.
#
# (e) If :math:`\rho(E) \le \rho`, not necessarily below one, then :math:`\max_n |y^k_n - y_n|_\infty \le E\,\rho^k\,\Pr[\mathrm{Bin}(L - 1, p_2) \ge k]`. As
# :math:`p_2 \le \Delta t`, this is below :math:`E\,(\rho\,L\,\Delta t)^k / k!`: over a fixed time of the ODE the sweeps converge faster than any power, for every
# network and every number of steps.
#
# **Proof.** (a) A leaky sweep takes convex combinations of numbers in [-1, 1], as :math:`0 \le \ell \le 1`; a Newton sweep is held there. (b) By induction on k. If
# :math:`x^k_m = x_m` for :math:`m \le k`, then in sweep k + 1, for :math:`n \le k + 1`, and with the states up to n - 1 of the new sweep exact, by induction on n: the leaky sweep
# is the step itself, evaluated at :math:`y_{n-1}`; in Newton's the difference :math:`x^{k+1}_{n-1} - x^k_{n-1}` is zero, what is left is :math:`F(x_{n-1})`, and
# to be held in the cube changes nothing, as :math:`x_n` is in it (S1). (Outside the cube, or beyond the largest step, the calculation is the same, without a hold.)
#
# (c) The solution satisfies :math:`z_n = (1 - \ell_1(y_{n-1})) z_{n-1} + \ell_1(y_{n-1}) \hat z(y_{n-1})`. Subtract, with :math:`h(y) = \ell_1(y)\,(\hat z(y) - z_{n-1})`:
#
# .. math:: z^{k+1}_n - z_n = (1 - \ell_1(y^k_{n-1}))\,(z^{k+1}_{n-1} - z_{n-1}) + h(y^k_{n-1}) - h(y_{n-1}) .
#
# Along the segment from :math:`y^k_{n-1}` (s = 0) to :math:`y_{n-1}` (s = 1), which is in the cube, row i of the derivative of h has an absolute sum of at most
# :math:`\ell_{1,s}\,[(1 - g_{1,s})(1 + |\hat z_s|)\,w_1 + (1 - \hat z_s^2)\,w_z] \le \ell_{1,s}\,\psi(\bar g_1 w_1, w_z)`, since :math:`x\varphi'(x) \le \varphi(x)` for a concave
# :math:`\varphi` with :math:`\varphi(0) = 0`, and :math:`|z_{n-1}| \le 1`. And :math:`\ell_{1,s} \le e^{\bar g_1 w_1 E s}\,\ell_{1,0}`, E being
# :math:`|y^k_{n-1} - y_{n-1}|_\infty`, because :math:`(\log\hat\sigma)' = 1 - \hat\sigma \le \bar g_1`, and :math:`\varphi(c x) \le c\,\varphi(x)` for :math:`c \ge 1`. The integral
# over s gives :math:`|h(y^k) - h(y)| \le \ell_1(y^k_{n-1})\,R(\bar g_1 w_1 E)\,\psi(\bar g_1 w_1, w_z)\,E`.
#
# So each entry of the error is at most :math:`(1 - \ell)\,e_{n-1} + \ell\,t_n` with some :math:`0 \le \ell \le p_1` and :math:`t_n` the factor of :math:`p_1` in the statement, which
# grows with E and so is at most its value at :math:`B^k_{n-1}`. Those bounds do not fall with n: :math:`B^0` does not, and if :math:`t_n` does not, then
# :math:`C_{n-1}`, an average of zero and of earlier t, is at most :math:`t_n`; hence :math:`C_n \ge C_{n-1}`. And because :math:`C_{n-1} \le t_n`, the
# largest leak is the worst, :math:`(1 - \ell)C_{n-1} + \ell t_n \le (1 - p_1)C_{n-1} + p_1 t_n = C_n`.
# For y the same calculation with :math:`h(y, z) = \ell_2(y)\,(\hat y(z) - y_{n-1})` at the two arguments :math:`(y^k_{n-1}, z^{k+1}_n)` and :math:`(y_{n-1}, z_n)`, and :math:`\psi(a, b)`
# homogeneous: :math:`(1 - g)(1 + |\hat y|)\,w_2 B + (1 - \hat y^2)\,w_y C \le \psi(\bar g_2 w_2 B, w_y C)`. The cut at 2 is (a). And :math:`B^0`: in n steps y goes at most the share
# :math:`1 - \prod(1 - \ell_2)` of the way from :math:`y_0` to targets at a distance of at most :math:`1 + |y_0|` (S1).
#
# (d) As :math:`C_n \le \rho_z(B) B` for :math:`B = \max_n B^k_n`, and :math:`B^{k+1}_n`, an average, is at most :math:`\rho(B)B`; :math:`\rho` grows with its argument, so that
# q stays valid. With 5.4, :math:`\psi(w_1, w_z) < 1/r` and :math:`\psi(w_2, w_y/r) < 1` in all rows, so that :math:`\rho_z(0) < 1/r` and :math:`\rho(0) < 1`. (e) Divide by
# :math:`E\rho^k`: :math:`f^{k+1}_n \le (1 - p_2) f^{k+1}_{n-1} + p_2 f^k_{n-1}` with :math:`f^0_n = 1` for :math:`n \ge 1` and :math:`f^k_0 = 0`, which is the recursion of
# :math:`\Pr[\mathrm{Bin}(n - 1, p_2) \ge k]`, by whether the last trial succeeds. The last claim is :math:`\Pr[\mathrm{Bin}(m, p) \ge k] \le \binom{m}{k} p^k`. ∎
#
# What is *not* said: a number of Newton sweeps beyond (b). They are quadratic near the solution, and often very few, but how near is near is not
# bounded here: that takes a bound on the second derivative of a step and one on products of Jacobians at all states that a sweep may visit. The solver takes
# one only where the last sweep has moved little.
#
# Nor does contraction over windows (8.3) promise a number of leaky sweeps, and for them it cannot. It is about products of :math:`J = D + B`,
# D being :math:`1 - \ell` on the diagonal and B the rest; a leaky sweep solves the recurrence of D and takes B from the sweep before. Where signs cancel, J contracts and the sweep does not: for one unit
# with :math:`W_z = 2`, :math:`W_y = -2`, both gates 1/2, states near zero turn and shrink, and an error grows by nearly :math:`|W_z W_y| = 4` a sweep, until the tanh saturates. (For Newton's sweeps 8.3 says too little,
# as it knows the Jacobians at the states of the data only.) The last part of this page has the numbers.

# %%
# (c) on drawn networks, sweep by sweep, and the number that is promised.

f64 = torch.float64
rng = np.random.default_rng(0)
table = []
for _ in range(30):
    d, L = int(rng.integers(1, 6)), int(rng.integers(1, 25))
    scheme = str(rng.choice(["imex", "semi_implicit", "exponential"]))
    dt = float(rng.choice([1.0, 0.3, 1 / L])) * (1 if scheme == "imex" else float(rng.choice([1.0, 5.0])))
    cell = LEMCell(1, d, dt=dt, scheme=scheme, dtype=f64).requires_grad_(False)
    for p in cell.parameters():
        p.copy_(torch.from_numpy(float(rng.choice([0.1, 0.3, 1.0])) * rng.standard_normal(tuple(p.shape))))
    u = torch.from_numpy(rng.standard_normal((L, 2, 1)))
    y0, z0 = (torch.from_numpy(float(rng.choice([0.0, 1.0])) * rng.uniform(-1, 1, (2, d))) for _ in range(2))
    ys, zs = run(cell.ode, cell.scheme, u, y0, z0, dt)
    promised = promised_sweeps(cell, u, 1e-8, (y0, z0))
    for k in range(1, len(promised.errors)):
        found = solve(cell.ode, cell.scheme, u, y0, z0, dt, sweeps=k)
        error = max(float((found.ys - ys).abs().max()), float((found.zs - zs).abs().max()))
        assert error <= promised.errors[k] + 1e-14  # what sums of numbers up to one are rounded by
        table.append(error / max(promised.errors[k], 1e-14))
    found = solve(cell.ode, cell.scheme, u, y0, z0, dt, sweeps=promised.sweeps)
    assert max(float((found.ys - ys).abs().max()), float((found.zs - zs).abs().max())) <= 1e-8
    assert promised.sweeps <= L
print(f"{len(table)} sweeps: no error above its bound; the closest came to {max(table):.3g} of it")

# %%
# (d): with 5.4 :math:`\rho(0) < 1`; and the number of sweeps is that of 1,000 steps for 10,000.

for _ in range(15):
    cell = LEMCell(1, 3, dtype=f64).requires_grad_(False)
    for p in cell.parameters():
        p.mul_(float(rng.choice([0.2, 0.4])))
    u = torch.from_numpy(rng.standard_normal((20, 1)))
    certificate = contraction_certificate(cell, u)
    assert not certificate.holds or promised_sweeps(cell, u, 1e-3).rate < 1
numbers = []
cell = LEMCell(1, 4, dt=0.5, dtype=f64).requires_grad_(False)
for p in cell.parameters():
    p.mul_(0.2)
for L in (100, 1000, 10_000):
    numbers.append(promised_sweeps(cell, torch.from_numpy(np.sin(np.arange(L))[:, None]), 1e-8).sweeps)
print("promised for 100, 1,000 and 10,000 steps:", numbers)
assert numbers[1] == numbers[2]

# %%
# (e): the closed form is a bound of the recursion's result, and the binomial tail of the last one.

for _ in range(10):
    L, p, rho = int(rng.integers(2, 80)), float(rng.uniform(0, 1)), float(rng.uniform(0.1, 10))
    B = np.where(np.arange(L + 1) > 0, 1.0, 0.0)
    for k in range(1, min(L, 12)):
        new = np.zeros(L + 1)
        for n in range(1, L + 1):
            new[n] = (1 - p) * new[n - 1] + p * rho * B[n - 1]
        B = new
        closed = rho**k * binom.sf(k - 1, np.arange(1, L + 1) - 1, p)
        np.testing.assert_allclose(B[1:], closed, rtol=1e-9, atol=1e-300 + 1e-14 * rho**k)

# %%
# The row bound of (c) is that of 5.4 without :math:`A` and with the gates' ratio: the rows of :math:`J - \mathrm{diag}(1 - \ell)`.

for _ in range(20):
    d = int(rng.integers(1, 5))
    cell = LEMCell(1, d, dt=0.7, dtype=f64).requires_grad_(False)
    y, z = (torch.from_numpy(rng.uniform(-1, 1, (10, d))) for _ in range(2))
    u = torch.from_numpy(rng.standard_normal((10, 1)))
    J = step_jacobian(cell, (y, z), u)
    w1, wz = (W.abs().sum(1) for W in (cell.ode.blocks().W1, cell.ode.blocks().Wz))
    leak = 0.7 * cell.ode.gates(y, u)[0]
    assert bool((J.B.abs().sum(-1) <= leak * torch.from_numpy(psi(w1.numpy(), wz.numpy())) * (1 + 1e-12)).all())

# %%
# Windows contract, and leaky sweeps do not: no number follows from 8.3.

cell = LEMCell(1, 1, dt=0.2, dtype=f64).requires_grad_(False)
for p in cell.parameters():
    p.zero_()
cell.ode.weight_hh[2], cell.ode.weight_zy[0] = 2.0, -2.0
u, y0, z0 = torch.zeros(300, 1, 1, dtype=f64), torch.full((1, 1), 1e-3, dtype=f64), torch.zeros(1, 1, dtype=f64)
ys, _ = run(cell.ode, cell.scheme, u, y0, z0, cell.dt)
windows = contraction_over_windows(cell, u[:, 0], (y0[0], z0[0]))
errors = [float((solve(cell.ode, cell.scheme, u, y0, z0, cell.dt, sweeps=k).ys - ys).abs().max()) for k in range(1, 5)]
taken = [solve(cell.ode, cell.scheme, u, y0, z0, cell.dt, newton=newton).sweeps[0] for newton in (False, True)]
print(
    f"windows of 20 steps contract by {windows.factor:.3g}; errors after 1, 2, 3, 4 leaky sweeps:",
    *(f"{e:.2g}" for e in errors),
)
print(f"to 1e-10 it takes {taken[0]} leaky sweeps, or {taken[1]} with Newton's")
assert windows.holds
assert all(after > 3 * before for before, after in pairwise(errors))
