r"""
The vector field (5.3)
======================

The ODE behind LEM, with :math:`g_1 = \hat\sigma(W_1 y + V_1 u + b_1)`, :math:`g_2 = \hat\sigma(W_2 y + V_2 u + b_2)`,

.. math:: \dot z = g_1 (\hat z - z), \quad \hat z = \tanh(W_z y + V_z u + b_z), \qquad
          \dot y = g_2 (\hat y - y), \quad \hat y = \tanh(W_y z + V_y u + b_y) .

F denotes its right-hand side, x = (z, y).

| Computed by ``lemode.analysis.field_jacobian``, ``logarithmic_norm``, ``growth_rate(ode)``, ``lyapunov_bounds``; tested as 5.3 in
| ``tests/properties``.
"""

import numpy as np
import sympy as sp
import torch
from scipy.integrate import solve_ivp

from lemode import LEMCell, MultiscaleODE
from lemode.analysis import field_jacobian, growth_rate, logarithmic_norm, lyapunov_bounds, spectrum_of_lem

STATEMENTS = ("5.3",)

# %%
# Its Jacobian
# ------------
# **Statement.**
#
# .. math::
#
#     DF = \begin{pmatrix} -\mathrm{diag}(g_1) & \mathrm{diag}(g_1(1 - g_1)(\hat z - z)) W_1 + \mathrm{diag}(g_1(1 - \hat z^2)) W_z \\
#     \mathrm{diag}(g_2(1 - \hat y^2)) W_y & -\mathrm{diag}(g_2) + \mathrm{diag}(g_2(1 - g_2)(\hat y - y)) W_2 \end{pmatrix} .
#
# **Proof.** Product and chain rule, as in ``step_jacobian``; differentiated by sympy below. ∎


class Sigma(sp.Function):
    def fdiff(self, argindex=1):
        return self * (1 - self)


class Tanh(sp.Function):
    def fdiff(self, argindex=1):
        return 1 - self**2


z, y = sp.Matrix(sp.symbols("z0:2")), sp.Matrix(sp.symbols("y0:2"))
W = {k: sp.Matrix(2, 2, sp.symbols(f"W{k}_0:4")) for k in "12zy"}
c = {k: sp.Matrix(2, 1, sp.symbols(f"c{k}_0:2")) for k in "12zy"}  # V u + b
g1, g2 = ((W[k] * y + c[k]).applyfunc(Sigma) for k in "12")
zh, yh = (W["z"] * y + c["z"]).applyfunc(Tanh), (W["y"] * z + c["y"]).applyfunc(Tanh)
had, one = sp.Matrix.multiply_elementwise, sp.ones(2, 1)


def diag(v):
    return sp.diag(*v)


F = sp.Matrix([*had(g1, zh - z), *had(g2, yh - y)])
zy = diag(had(had(g1, one - g1), zh - z)) * W["1"] + diag(had(g1, one - had(zh, zh))) * W["z"]
yy = diag(had(had(g2, one - g2), yh - y)) * W["2"] - diag(g2)
DF = sp.Matrix(sp.BlockMatrix([[-diag(g1), zy], [diag(had(g2, one - had(yh, yh))) * W["y"], yy]]))
assert all(sp.expand(e) == 0 for e in F.jacobian([*z, *y]) - DF)

# %%
# Solutions exist, and the cube attracts
# --------------------------------------
# **Statement.** Let u be piecewise continuous. For every initial state there is a unique solution, for all :math:`t \ge 0`. The unit cube is
# invariant, and attracts exponentially: for every component
#
# .. math:: (|z_i(t)| - 1)_+ \le (|z_i(0)| - 1)_+ \exp\left(-\int_0^t g_{1,i}\,ds\right),
#
# and the same for y with :math:`g_2`.
#
# **Proof.** F is smooth in x, so solutions exist locally and are unique; :math:`|F_i| \le 1 + |x_i|`, so they cannot blow up. Where
# :math:`|z_i| > 1`, :math:`\frac{d}{dt}|z_i| = g_1(\hat z_i\,\mathrm{sgn}\,z_i - |z_i|) \le -g_1 (|z_i| - 1)`. So the absolutely continuous function
# :math:`\varphi = (|z_i| - 1)_+` satisfies :math:`\dot\varphi \le -g_1\varphi` almost everywhere, and :math:`\varphi\exp(\int g_1)` does not increase. With
# :math:`\varphi(0) = 0` this is invariance. ∎

f64 = torch.float64
rng = np.random.default_rng(0)


def network(d, scale):
    ode = MultiscaleODE(1, d, dtype=f64).requires_grad_(False)
    for p in ode.parameters():
        p.copy_(torch.from_numpy(scale * rng.standard_normal(tuple(p.shape))))
    return ode


ode, u = network(2, 1.5), torch.ones(1, dtype=f64)


def field(t, x):
    dy, dz = ode(torch.from_numpy(x[2:4]), torch.from_numpy(x[:2]), u)
    g1, g2 = ode.gates(torch.from_numpy(x[2:4]), u)
    return np.concatenate([dz, dy, g1, g2])  # with the integrals of the gates


start = np.array([3.0, -0.5, 1.0, -4.0])
solution = solve_ivp(field, (0, 8), np.concatenate([start, np.zeros(4)]), rtol=1e-10, atol=1e-12).y
excess = np.maximum(np.abs(start) - 1, 0)[:, None] * np.exp(-solution[4:])
assert np.all(np.maximum(np.abs(solution[:4]) - 1, 0) <= excess + 1e-8)

# %%
# Growth of perturbations
# -----------------------
# The logarithmic norm of a matrix, in the infinity norm, is
#
# .. math:: \mu_\infty(M) = \lim_{h \downarrow 0} \frac{\|I + hM\|_\infty - 1}{h} = \max_i \Big(M_{ii} + \sum_{j \ne i}|M_{ij}|\Big) .
#
# **Statement.** In the unit cube
# :math:`\mu_\infty(DF) \le \Gamma_0 := \max_i \max\{\gamma(w_{1,i}, w_{z,i}), \gamma(w_{2,i}, w_{y,i})\}`, which is :math:`\Gamma` of J1 at :math:`\Delta t = 0`. Hence
# the derivative of the flow satisfies :math:`\|\Phi_t\|_\infty \le e^{\Gamma_0 t}`, and every Lyapunov exponent of a trajectory in the cube is at most :math:`\Gamma_0`. For LEM,
# every exponent per unit of time is at most :math:`\log(1 + \Delta t\,\Gamma)/\Delta t`.
#
# **Proof.** With :math:`h = |\hat z_i|`, row i of the z block gives at most
# :math:`-g_1 + g_1(1 - g_1)(1 + h) w_{1,i} + g_1(1 - h^2) w_{z,i} \le \gamma(w_{1,i}, w_{z,i})`. In the y block the diagonal entry is
# :math:`-g_2 + q\,(W_2)_{ii} \le -g_2 + |q||(W_2)_{ii}|` with :math:`q = g_2(1 - g_2)(\hat y - y)`, so that row i gives at most
# :math:`-g_2 + g_2(1 - g_2)(1 + h) w_{2,i} + g_2(1 - h^2) w_{y,i} \le \gamma(w_{2,i}, w_{y,i})`. For the flow,
# :math:`\|\Phi_{t+h}\| \le \|I + h\,DF\|\,\|\Phi_t\| + o(h)`, so the upper right derivative of :math:`\|\Phi_t\|` is at most
# :math:`\mu_\infty(DF)\|\Phi_t\| \le \Gamma_0\|\Phi_t\|`: Gronwall. For LEM multiply J1. Exponents are limits of :math:`\frac1t\log` of norms of products. ∎

h = sp.Symbol("h", positive=True)
M = rng.standard_normal((4, 4))
formula = max(M[i, i] + sum(abs(M[i, j]) for j in range(4) if j != i) for i in range(4))
assert abs((np.abs(np.eye(4) + 1e-6 * M).sum(1).max() - 1) / 1e-6 - formula) < 1e-9

for _ in range(300):
    ode = network(int(rng.integers(1, 6)), float(rng.choice([0.2, 1, 4])))
    d = ode.hidden_size
    y, z = (torch.from_numpy(rng.uniform(-1, 1, (50, d))) for _ in range(2))
    u = torch.from_numpy(rng.standard_normal((50, 1)))
    mu = logarithmic_norm(ode, (y, z), u)
    assert float(mu.max()) <= growth_rate(ode) * (1 + 1e-12) + 1e-13
    eigenvalues = torch.linalg.eigvals(field_jacobian(ode, (y, z), u))
    assert bool((eigenvalues.real.amax(-1) <= mu + 1e-10).all())

for scale in (0.5, 2.0, 4.0):
    cell = LEMCell(1, 4, dt=0.5, dtype=f64).requires_grad_(False)
    for p in cell.parameters():
        p.copy_(torch.from_numpy(scale * rng.standard_normal(tuple(p.shape))))
    drive = torch.from_numpy(rng.standard_normal((200, 1)))
    spectrum = spectrum_of_lem(cell, drive)
    # over finitely many steps: the mean of log|R_11| is at most that of log||J||_2, and the 2-norm exceeds the infinity norm of
    # the whole product by sqrt(8) at most, which 200 steps of 0.5 spread over 100 units of time
    assert spectrum.exponents[0] <= lyapunov_bounds(cell, drive).lem + np.log(8) / 100
