r"""
LEM as a discretization: local and global error (6.1, 6.2)
==========================================================

The field F of the ODE is that of ``vector_field``; :math:`F_z = g_1(\hat z - z)`, :math:`F_y = g_2(\hat y - y)`. The input is piecewise constant,
:math:`u(t) = u_n` on :math:`(t_{n-1}, t_n]`, and the state starts in the unit cube.

| Computed by ``lemode.analysis.local_error_bound``, ``global_error_bound``; tested as 6.1 and 6.2 in ``tests/properties``.
"""

import itertools
import math

import numpy as np
import sympy as sp
import torch
from scipy.integrate import solve_ivp

from lemode import LEMCell
from lemode.analysis import contraction_certificate, global_error_bound, growth_rate, local_error_bound
from lemode.schemes import explicit

STATEMENTS = ("6.1", "6.2")

# %%
# What kind of step LEM is
# ------------------------
# **Statement 6.1.** LEM is a Lie splitting (Gauss-Seidel) of two forward Euler steps, each with its gates at :math:`y_{n-1}` and the input of the end of the step:
#
# .. math:: z_n = z_{n-1} + \Delta t\, F_z(z_{n-1}, y_{n-1}), \qquad y_n = y_{n-1} + \Delta t\, F_y(z_n, y_{n-1}) .
#
# No equation is solved: the decay -z, -y is explicit, and the step is "IMEX" in the sense of the partitioned (symplectic) Euler method only, in that y sees
# the new z. While :math:`\ell = \Delta t\,g < 1` it is also, identically,
#
# - the exponential step :math:`z_n = e^{-\kappa\Delta t} z_{n-1} + (1 - e^{-\kappa\Delta t})\hat z` with the frozen rate :math:`\kappa = -\log(1 - \Delta t\, g)/\Delta t`, and
# - the linearly implicit step :math:`z_n = (z_{n-1} + \kappa\Delta t\,\hat z)/(1 + \kappa\Delta t)` with the frozen rate :math:`\kappa = g/(1 - \Delta t\, g)`.
#
# **Proof.** The first display is the definition. For the identities equate the leaks: :math:`1 - e^{-\kappa\Delta t} = \ell` and
# :math:`\kappa\Delta t/(1 + \kappa\Delta t) = \ell`. ∎

z, y, zh, dt, g = sp.symbols("z y zh dt g", positive=True)
lem = z + dt * g * (zh - z)
rate = -sp.log(1 - dt * g) / dt
assert sp.simplify(sp.exp(-rate * dt) * z + (1 - sp.exp(-rate * dt)) * zh - lem) == 0
rate = g / (1 - dt * g)
assert sp.simplify((z + rate * dt * zh) / (1 + rate * dt) - lem) == 0

# %%
# Order one, and the modified equation
# ------------------------------------
# **Statement.** One step differs from the flow by
#
# .. math::
#
#     z:\ -\tfrac12\Delta t^2\,(DF\,F)_z + O(\Delta t^3), \qquad
#     y:\ \Delta t^2\left(\partial_z F_y\,F_z - \tfrac12 (DF\,F)_y\right) + O(\Delta t^3) = \tfrac12\Delta t^2\left(\partial_z F_y\,F_z - \partial_y F_y\,F_y\right) + O(\Delta t^3),
#
# so LEM is of order one, not two. Up to :math:`O(\Delta t^2)` per unit of time it follows instead the modified equation
#
# .. math:: \dot x = F + \Delta t\,F_1, \qquad F_1 = -\tfrac12 DF\,F + (0,\ \partial_z F_y\,F_z) .
#
# **Proof.** Expand the flow: :math:`x + \Delta t\,F + \frac12\Delta t^2 DF\,F + O(\Delta t^3)`. Expand LEM: z is exactly :math:`z + \Delta t\,F_z`, and
# :math:`y + \Delta t\,F_y(z + \Delta t F_z, y) = y + \Delta t\,F_y + \Delta t^2\,\partial_z F_y\,F_z + O(\Delta t^3)`. Subtract. The flow of :math:`F + \Delta t\,F_1` adds
# :math:`\Delta t^2 F_1 + O(\Delta t^3)` to that of F. ∎

Fz, Fy = sp.Function("Fz")(z, y), sp.Function("Fy")(z, y)


def lie(f, field):
    """Derivative of f along a field."""
    return f.diff(z) * field[0] + f.diff(y) * field[1]


def flow(field, order=2):
    """Taylor polynomial of the time-dt flow."""
    out = []
    for x in (z, y):
        term, total = x, x
        for j in range(1, order + 1):
            term = lie(term, field) if j > 1 else field[0 if x == z else 1]
            total = total + dt**j / sp.factorial(j) * term
        out.append(total)
    return out


# LEM's y to second order: Fy(z + dt Fz, y) expanded by hand-free substitution of a shift e
e = sp.Symbol("e")
shifted = sp.series(sp.Function("Fy")(z + e, y), e, 0, 2).removeO().doit()
lem_step = [z + dt * Fz, sp.expand(y + dt * (Fy + Fy.diff(z) * dt * Fz))]
assert sp.simplify(shifted.doit() - Fy - e * Fy.diff(z)) == 0
error = [sp.expand(a - b) for a, b in zip(lem_step, flow((Fz, Fy)))]
DFF = [lie(Fz, (Fz, Fy)), lie(Fy, (Fz, Fy))]
assert sp.expand(error[0] + dt**2 / 2 * DFF[0]) == 0
assert sp.expand(error[1] - dt**2 / 2 * (Fy.diff(z) * Fz - Fy.diff(y) * Fy)) == 0

F1 = [-DFF[0] / 2, -DFF[1] / 2 + Fy.diff(z) * Fz]
modified = flow((Fz + dt * F1[0], Fy + dt * F1[1]))
for a, b in zip(lem_step, modified):
    difference = sp.expand(a - b)
    assert all(sp.simplify(difference.coeff(dt, j)) == 0 for j in (0, 1, 2))

# %%
# Bounds with explicit constants
# ------------------------------
# **Statement 6.2.** Let :math:`L_z = 1 + \frac12 w_1 + w_z`, :math:`L_y = 1 + \frac12 w_2 + w_y` (infinity norms). From any state in the cube the error of one step is at most
#
# .. math:: C\,\Delta t^2 \quad \text{in } |\cdot|_\infty, \qquad C = \max\{L_z,\ L_y + \Delta t\, w_y L_z\} ,
#
# and after n steps, for :math:`\Delta t \le 1`,
#
# .. math:: |x_n - x(t_n)|_\infty \le C\,\Delta t\,\frac{(1 + \Delta t\,\Gamma)^n - 1}{\Gamma} \qquad (= C\,\Delta t\, t_n \text{ for } \Gamma = 0) .
#
# If the certificate of ``contraction`` holds, then uniformly in n
#
# .. math:: |x_n - x(t_n)|_r \le \frac{C'\,\Delta t}{g_{\min}(1 - \Psi)}, \qquad C' = \max\{r L_z,\ L_y + \Delta t\,w_y L_z\} .
#
# **Proof.** In the cube :math:`|F_i| \le 2`, and the solution stays there (5.3). *Local error of z.* LEM's z is the first Taylor polynomial, so the error is at most
# :math:`\frac12\Delta t^2 \max|\ddot z|`, :math:`\ddot z = D F_z\,F`, and the rows of :math:`DF_z` have sums of at most
# :math:`g_1 + g_1(1 - g_1)|\hat z - z| w_1 + g_1(1 - \hat z^2) w_z \le 1 + \frac12 w_1 + w_z = L_z`: together :math:`L_z\Delta t^2`. *Local error of y.* Let :math:`\bar z = z(\Delta t)` be the exact
# value at the end and :math:`z'` LEM's. Then
#
# .. math::
#
#     y(\Delta t) - y' = \int_0^{\Delta t}\left[F_y(z(s), y(s)) - F_y(\bar z, y(0))\right]ds + \Delta t\left[F_y(\bar z, y(0)) - F_y(z', y(0))\right].
#
# The field :math:`F_y` has the Lipschitz constants :math:`1 + \frac12 w_2` in y and :math:`w_y` in z, and :math:`|y(s) - y(0)| \le 2s`,
# :math:`|z(s) - \bar z| \le 2(\Delta t - s)`. So the integral is at most
# :math:`\int_0^{\Delta t}\left[(1 + \frac12 w_2)\,2s + w_y\,2(\Delta t - s)\right]ds = \Delta t^2 (1 + \frac12 w_2 + w_y) = L_y\Delta t^2`, and the last term is at most
# :math:`\Delta t\, w_y\,|\bar z - z'| \le \Delta t\, w_y L_z \Delta t^2`.
#
# *Global error.* Both the exact state and LEM's lie in the cube, which is convex, so that by J1 one step of LEM is Lipschitz with :math:`1 + \Delta t\,\Gamma` there:
# :math:`e_n \le (1 + \Delta t\,\Gamma)\,e_{n-1} + C\Delta t^2`. Sum the geometric series. Under the certificate the factor is :math:`1 - \Delta t\,g_{\min}(1 - \Psi)` and the local error
# in :math:`|\cdot|_r` is at most :math:`C'\Delta t^2`. ∎
#
# *No constant can be smaller.* Let :math:`\Delta t \to 0`, when the error over :math:`\Delta t^2` tends to half of :math:`|(DF\,F)_z|`, and of
# :math:`|\partial_z F_y F_z - \partial_y F_y F_y|`. With all weights nothing, both gates at 1, z = y = -1 and both targets at 1 it is 1: the 1 of both. Let a unit that moves so, at the speed 2,
# be read by another one at -1 through a single weight w, with a bias that makes the pre-activation nothing. If it is its gate's, the target at 1, the entry
# :math:`g(1 - g)\,|\hat z - z|\,w \cdot 2` of :math:`DF\,F` is w, and the error w/2; if it is its target's, its gate at 1, that is 2 w, and the error w. As w grows, the 1 beside it is nothing, and the bound is attained: so with
# :math:`w_1, w_z` for z and :math:`w_2, w_y` for y. (Of the term :math:`\Delta t\,w_y L_z` this says nothing: it is of the next order.) ∎

s, w2, wy, T = sp.symbols("s w2 w_y T", positive=True)
assert sp.expand(sp.integrate((1 + w2 / 2) * 2 * s + wy * 2 * (T - s), (s, 0, T)) - T**2 * (1 + w2 / 2 + wy)) == 0

f64 = torch.float64
rng = np.random.default_rng(0)


def network(d, scale, dt=0.1):
    cell = LEMCell(1, d, dt=dt, dtype=f64).requires_grad_(False)
    for p in cell.parameters():
        p.copy_(torch.from_numpy(scale * rng.standard_normal(tuple(p.shape))))
    return cell


def exact(ode, u, y, z, time):
    d = ode.hidden_size

    def field(t, x):
        dy, dz = ode(torch.from_numpy(x[:d]), torch.from_numpy(x[d:]), u)
        return np.concatenate([dy, dz])

    x = solve_ivp(field, (0, time), np.concatenate([y, z]), method="DOP853", rtol=1e-11, atol=1e-13).y[:, -1]
    return torch.from_numpy(x[:d].copy()), torch.from_numpy(x[d:].copy())


def distance(a, b, r=1.0):
    return max(float((a[0] - b[0]).abs().max()), r * float((a[1] - b[1]).abs().max()))


minus, rest = -torch.ones(2, dtype=f64), torch.zeros(1, dtype=f64)
for name, gates in {"W1": "b2", "Wz": "b1 b2", "W2": "", "Wy": "b1 b2"}.items():
    cell = LEMCell(1, 2, dt=1e-6, dtype=f64).requires_grad_(False)
    blocks = cell.ode.blocks()._asdict()
    for p in cell.parameters():
        p.zero_()
    for saturated in ("bz", "by", *gates.split()):
        blocks[saturated].fill_(40.0)
    sign = -1.0 if name in ("W1", "W2") else 1.0
    blocks[name][0, 1], blocks["b" + name[1]][0] = 1e3 * sign, 1e3 * sign
    if name in ("W1", "W2"):
        blocks["b2"][1] = 40.0
    attained = distance(cell(rest, (minus, minus)), exact(cell.ode, rest, minus, minus, cell.dt)) / local_error_bound(cell)
    print(f"{name} of 1,000, dt = 1e-6: local error over its bound {attained:.4f}")
    assert 0.997 < attained <= 1

uniform = 0
for case in range(24):
    cell = network(int(rng.integers(1, 4)), (0.15, 1.0)[case % 2], dt=float(rng.choice([0.05, 0.3, 1.0])))
    d, drive = cell.ode.hidden_size, torch.from_numpy(rng.standard_normal((6, 1)))
    lem = sol = tuple(torch.from_numpy(rng.uniform(-1, 1, d)) for _ in range(2))
    certificate = contraction_certificate(cell, drive)
    for n in range(6):
        local = distance(cell(drive[n], sol), after := exact(cell.ode, drive[n], *sol, cell.dt))
        assert local <= local_error_bound(cell) * (1 + 1e-9) + 1e-10  # 1e-10: the solver
        lem, sol = cell(drive[n], lem), after
        assert distance(lem, sol) <= global_error_bound(cell, n + 1, drive) * (1 + 1e-9) + 1e-9
        if certificate.holds:
            uniform += 1
            w1, w2_, wz, wy_ = (float(W.abs().sum(1).max()) for W in cell.ode.blocks()[:4])
            Lz, Ly = 1 + w1 / 2 + wz, 1 + w2_ / 2 + wy_
            C = max(certificate.r * Lz, Ly + cell.dt * wy_ * Lz)
            assert distance(lem, sol, certificate.r) <= C * cell.dt / certificate.rate
assert uniform > 20

# %%
# The order, measured: errors at a fixed time halve with the step. Plain forward Euler, with the old z, has the same order and another constant.

cell = network(3, 1.0)
u = torch.ones(1, dtype=f64)
start = (torch.full((3,), 0.3, dtype=f64), torch.full((3,), -0.6, dtype=f64))
truth = exact(cell.ode, u, *start, 2.0)
for step in (cell.scheme.step, explicit):
    errors = []
    for steps in (200, 400, 800):
        state = start
        for _ in range(steps):
            state = step(cell.ode, state, u, 2.0 / steps)
        errors.append(distance(state, truth))
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(0.95 < slope < 1.05 for slope in slopes)
assert growth_rate(cell) > 0
