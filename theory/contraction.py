r"""
One certificate of contraction for the ODE and for every LEM (5.4)
==================================================================

When does the network forget its initial state, for every input? In this section a network is measured in the norm

.. math:: |x|_r = \max(r\,|z|_\infty,\ |y|_\infty), \qquad r > 0 .

Notation of ``jacobian_bounds``; :math:`\psi` is that of ``engine_functions``, :math:`\psi(r a, r b) = r\,\psi(a, b)`.

| Computed by ``lemode.analysis.contraction_certificate``, ``contraction_rate``; tested as 5.4 in ``tests/properties``.
"""

import math

import numpy as np
import sympy as sp
import torch

from lemode import LEMCell
from lemode.analysis import contraction_certificate, field_jacobian, psi, step_jacobian

STATEMENTS = ("5.4",)

# %%
# The certificate
# ---------------
# **Statement.** Let :math:`\Psi(r) = \max_i \max\{\psi(r w_{1,i}, r w_{z,i}),\ \psi(w_{2,i}, w_{y,i}/r)\} < 1` for some r > 0, and let every gate be at least
# :math:`g_{\min} > 0`. Then in the unit cube, for every :math:`0 < \Delta t \le 1`,
#
# .. math:: \|J\|_r \le 1 - \Delta t\, g_{\min}(1 - \Psi(r)), \qquad \mu_r(DF) \le -g_{\min}(1 - \Psi(r)) ,
#
# and any two trajectories in the cube with the same input approach each other,
#
# .. math:: |x_n - \tilde x_n|_r \le \left(1 - \Delta t\, g_{\min}(1 - \Psi)\right)^n |x_0 - \tilde x_0|_r, \qquad
#           |x(t) - \tilde x(t)|_r \le e^{-g_{\min}(1 - \Psi)\,t}\, |x(0) - \tilde x(0)|_r .
#
# The condition does not depend on :math:`\Delta t`: it is one certificate for the ODE and all of its discretizations. A valid
# :math:`g_{\min}` is :math:`\min_i \hat\sigma(-w_{1,i} + \inf_u (V_1 u + b_1)_i)`, together with the same expression with index 2.
#
# **Proof.** Take a perturbation with :math:`|x|_r \le 1`, that is :math:`|z| \le 1/r`, :math:`|y| \le 1`. One step turns z into at most
#
# .. math:: r|z'_i| \le 1 - \ell_1 + \ell_1\left[(1 - g_1)(1 + h)\,r w_{1,i} + (1 - h^2)\, r w_{z,i}\right] \le 1 - \ell_1 + \ell_1\,\psi(r w_{1,i}, r w_{z,i}) \le 1 - \ell_1 (1 - \Psi),
#
# where :math:`h = |\hat z_i|`, :math:`|\hat z_i - z_i| \le 1 + h` in the cube, and :math:`1 - g_1 \le 1`. In particular :math:`|z'| \le 1/r`. With that
#
# .. math:: |y'_i| \le 1 - \ell_2 + \ell_2\left[(1 - g_2)(1 + h)\, w_{2,i} + (1 - h^2)\, w_{y,i}/r\right] \le 1 - \ell_2 (1 - \Psi) .
#
# As :math:`\ell \ge \Delta t\,g_{\min}`, the bound on :math:`\|J\|_r` follows. The logarithmic norm in :math:`|\cdot|_r` is
# :math:`\max_i (M_{ii} + \sum_{j \ne i} \omega_j|M_{ij}|/\omega_i)` with :math:`\omega = 1/r` for z and 1 for y; its rows are, by the same estimates, at most
# :math:`-g + g\,\psi \le -g_{\min}(1 - \Psi)`. For trajectories: the cube is convex and invariant (S1, 5.3), so that the mean value inequality
# :math:`|P(x) - P(\tilde x)|_r \le \sup\|DP\|_r\,|x - \tilde x|_r` may be used along the segment between two states, on which the gates are at least
# :math:`g_{\min}` as well; and for the ODE, :math:`\frac{d^+}{dt}|x - \tilde x|_r \le \sup\mu_r\,|x - \tilde x|_r`, the supremum over the segment. The
# lower bound on the gates holds since :math:`W_1 y \ge -w_1` for :math:`|y|_\infty \le 1`. ∎
#
# The best r
# ----------
# The first entry of the maximum, :math:`r\,\psi(w_1, w_z)`, increases with r; the second decreases, since :math:`\psi` increases with its second argument. Their
# maximum is therefore smallest where they meet, and bisection on :math:`\log r` finds it. For :math:`W_1 = W_2 = 0`, :math:`\psi(0, b) = b` and
#
# .. math:: \Psi = \min_r \max(r w_z, w_y/r) = \sqrt{w_z w_y} .

wz, wy, r = sp.symbols("w_z w_y r", positive=True)
best = sp.solve(sp.Eq(r * wz, wy / r), r)[0]
assert sp.simplify(best * wz - sp.sqrt(wz * wy)) == 0

f64 = torch.float64
rng = np.random.default_rng(0)


def network(d, dt, scale, gate_scale):
    cell = LEMCell(1, d, dt=dt, dtype=f64).requires_grad_(False)
    for p in cell.parameters():
        p.copy_(torch.from_numpy(scale * rng.standard_normal(tuple(p.shape))))
    cell.ode.weight_hh[: 2 * d] *= gate_scale
    return cell


def weighted_norm(J, r):
    d = J.shape[-1] // 2
    omega = torch.cat([torch.full((d,), 1 / r, dtype=f64), torch.ones(d, dtype=f64)])
    return (J.abs() @ omega / omega).amax(-1)


held = 0
for _ in range(100):
    d = int(rng.integers(1, 5))
    cell = network(d, float(rng.choice([0.01, 0.5, 1.0])), float(rng.choice([0.1, 0.3])), float(rng.choice([0.0, 0.3, 1.0])))
    u = torch.from_numpy(rng.standard_normal((30, 1)))
    certificate = contraction_certificate(cell, u)
    w1, w2, wz_, wy_ = (W.abs().sum(1).numpy() for W in cell.ode.blocks()[:4])
    at = max(np.max(psi(certificate.r * w1, certificate.r * wz_)), np.max(psi(w2, wy_ / certificate.r)))
    assert abs(at - certificate.Psi) <= 1e-12 * at
    for other in np.geomspace(0.01, 100, 41):  # no other r is better
        assert max(np.max(psi(other * w1, other * wz_)), np.max(psi(w2, wy_ / other))) >= certificate.Psi * (1 - 1e-9)
    if not certificate.holds:
        continue
    held += 1
    y, z = (torch.from_numpy(rng.uniform(-1, 1, (30, d))) for _ in range(2))
    assert all(float(g.min()) >= certificate.gate_min for g in cell.ode.gates(y, u))
    factor = 1 - cell.dt * certificate.gate_min * (1 - certificate.Psi)
    assert abs(certificate.factor(cell) - factor) < 1e-14
    assert bool((weighted_norm(step_jacobian(cell, (y, z), u).matrix(), certificate.r) <= factor * (1 + 1e-12)).all())
    DF = field_jacobian(cell.ode, (y, z), u)
    off = weighted_norm(DF - torch.diag_embed(DF.diagonal(dim1=-2, dim2=-1)), certificate.r)
    omega = torch.cat([torch.full((d,), 1 / certificate.r, dtype=f64), torch.ones(d, dtype=f64)])
    diagonal = DF.diagonal(dim1=-2, dim2=-1)
    mu = (diagonal + (DF.abs() @ omega / omega - diagonal.abs())).amax(-1)
    assert float(mu.max()) <= -certificate.rate * (1 - 1e-12)
    a, b = (y[0], z[0]), (y[1], z[1])
    distance = [max(certificate.r * float((a[1] - b[1]).abs().max()), float((a[0] - b[0]).abs().max()))]
    for n in range(30):
        a, b = cell(u[n], a), cell(u[n], b)
        distance.append(max(certificate.r * float((a[1] - b[1]).abs().max()), float((a[0] - b[0]).abs().max())))
        assert distance[-1] <= factor * distance[-2] * (1 + 1e-9) + 1e-15
assert held > 30

# %%
# Row by row, without gate weights: sharp
# ---------------------------------------
# **Statement.** Let :math:`W_1 = W_2 = 0`. If the spectral radius :math:`\rho = \rho(|W_z||W_y|) < 1` then ODE and LEM (every :math:`\Delta t \le 1`) contract in the norm
# :math:`\max_i \max(|z_i|/\omega_{z,i},\ |y_i|/\omega_{y,i})` with the positive weights
#
# .. math:: \omega_y = (I - |W_y||W_z|)^{-1}\mathbf 1, \qquad \omega_z = |W_z|\,\omega_y + \frac{1/2}{\|W_y\|_\infty + 1}\,\mathbf 1 .
#
# Conversely, for nonnegative :math:`W_z, W_y`, zero input and zero biases, :math:`\rho > 1` makes the zero state unstable: the top eigenvalue of DF there is
# :math:`\frac12(-1 + \sqrt\rho)`, and LEM has an eigenvalue above 1.
#
# **Proof.** :math:`|W_y||W_z|` has the spectral radius :math:`\rho` too; for :math:`\rho < 1` the Neumann series gives :math:`\omega_y \ge \mathbf 1`. As in the proof above, with
# :math:`w_1 = w_2 = 0` and :math:`1 - h^2 \le 1`, one step maps a perturbation with :math:`|z| \le \omega_z`, :math:`|y| \le \omega_y` to
#
# .. math:: |z'| \le (1 - \ell_1)\omega_z + \ell_1 |W_z|\omega_y, \qquad |y'| \le (1 - \ell_2)\omega_y + \ell_2 |W_y|\omega_z ,
#
# the second because :math:`|z'| \le \omega_z`. Now :math:`|W_z|\omega_y \le \theta_z\omega_z` with some :math:`\theta_z < 1`, as :math:`\omega_z - |W_z|\omega_y > 0`; and
# :math:`|W_y|\omega_z = |W_y||W_z|\omega_y + \frac{1/2}{\|W_y\|_\infty + 1}|W_y|\mathbf 1 \le (\omega_y - \mathbf 1) + \tfrac12\mathbf 1`, so
# :math:`\le \theta_y\omega_y` with :math:`\theta_y = 1 - 1/(2\max\omega_y) < 1`. Hence each entry shrinks by at least
# :math:`1 - \Delta t\,g_{\min}(1 - \max(\theta_z, \theta_y))`.
#
# Conversely, at the zero state all gates are 1/2 and :math:`DF = \frac12\begin{pmatrix} -I & W_z \\ W_y & -I \end{pmatrix}`. An eigenvalue
# :math:`\nu` of the off-diagonal part satisfies :math:`\nu^2 \in \mathrm{spec}(W_z W_y)`, and by Perron and Frobenius :math:`\nu = \sqrt\rho` is one. For LEM the same
# vectors reduce J to the pair of ``linear_stability`` with a = b = :math:`\Delta t/2`, :math:`pq = \rho`, whose criterion fails if and only if :math:`pq \ge 1`. ∎

for _ in range(60):
    d = int(rng.integers(1, 6))
    Wz, Wy = rng.standard_normal((2, d, d)) * (rng.random((2, d, d)) < 0.6)
    rho = max(abs(np.linalg.eigvals(np.abs(Wz) @ np.abs(Wy))))
    if rho < 1e-6:
        continue
    Wz *= 0.95 / rho
    omega_y = np.linalg.solve(np.eye(d) - np.abs(Wy) @ np.abs(Wz), np.ones(d))
    omega_z = np.abs(Wz) @ omega_y + 0.5 / (np.abs(Wy).sum(1).max() + 1)
    assert np.all(omega_y >= 1 - 1e-9)
    theta = max(np.max(np.abs(Wz) @ omega_y / omega_z), np.max(np.abs(Wy) @ omega_z / omega_y))
    assert theta < 1
    assert np.max(np.abs(Wy) @ omega_z / omega_y) <= 1 - 0.5 / omega_y.max() + 1e-9
    cell = LEMCell(1, d, dt=float(rng.choice([0.1, 1.0])), dtype=f64).requires_grad_(False)
    cell.ode.weight_hh[: 2 * d] = 0
    cell.ode.weight_hh[2 * d :] = torch.from_numpy(Wz)
    cell.ode.weight_zy.copy_(torch.from_numpy(Wy))
    y, z = (torch.from_numpy(rng.uniform(-1, 1, (20, d))) for _ in range(2))
    u = torch.from_numpy(rng.standard_normal((20, 1)))
    gate_min = min(float(g.min()) for g in cell.ode.gates(y, u))
    omega = torch.from_numpy(np.concatenate([omega_z, omega_y]))
    J = step_jacobian(cell, (y, z), u).matrix()
    assert float((J.abs() @ omega / omega).max()) <= 1 - cell.dt * gate_min * (1 - theta) + 1e-12

    # the converse, with the same nonnegative matrices scaled to a spectral radius above and below 1
    for target in (0.9, 1.1):
        cell.ode.weight_hh[2 * d :] = torch.from_numpy(np.abs(Wz) * target / 0.95)
        cell.ode.weight_zy.copy_(torch.from_numpy(np.abs(Wy)))
        cell.ode.weight_ih.zero_()
        cell.ode.bias.zero_()
        zero = torch.zeros(d, dtype=f64)
        top = float(torch.linalg.eigvals(field_jacobian(cell.ode, (zero, zero), u[0])).real.max())
        assert abs(top - 0.5 * (-1 + math.sqrt(target))) < 1e-6  # eigenvalues of a defective matrix are only so accurate
        largest = float(torch.linalg.eigvals(step_jacobian(cell, (zero, zero), u[0]).matrix()).abs().max())
        assert (largest > 1) == (target > 1)
