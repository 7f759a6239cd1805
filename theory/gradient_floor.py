r"""
How fast gradients can vanish (5.2)
===================================

Notation of ``step_jacobian``. A gradient flows backwards as a row vector, :math:`v \mapsto v J_n \cdots J_{k+1}`. Upper bounds are in
``jacobian_bounds``; here are lower ones. They come from bounds on :math:`J^{-1}`, and show that decay is at most exponential in elapsed *time*,
not in the number of steps. Throughout the state lies in the unit cube and :math:`0 < \Delta t < 1`.

| Computed by ``lemode.analysis.inverse_bound``, ``inverse_bound_posterior``, ``gradient_floor``, ``highway_floor``; tested as 5.2 in
| ``tests/properties``.
"""

import math

import numpy as np
import sympy as sp
import torch

from lemode import LEMCell
from lemode.analysis import (
    gradient_floor,
    highway_floor,
    inverse_bound,
    inverse_bound_posterior,
    parameter_jacobian,
    step_jacobian,
    trajectory_vjp,
)

STATEMENTS = ("5.2",)

# %%
# Bounds on the inverse
# ---------------------
# **Lemma (Varah).** Let D be strictly diagonally dominant by rows, :math:`\alpha_i = |D_{ii}| - \sum_{j \ne i}|D_{ij}| > 0`, and X any matrix with absolute
# row sums :math:`\xi_i`. Then :math:`\|D^{-1} X\|_\infty \le \max_i \xi_i/\alpha_i`.
#
# *Proof.* Let :math:`\|s\|_\infty \le 1`, :math:`x = D^{-1} X s`, and :math:`|x_i| = \|x\|_\infty`. Then
# :math:`\xi_i \ge |(Xs)_i| = |(Dx)_i| \ge |D_{ii}||x_i| - \sum_{j \ne i}|D_{ij}||x_j| \ge \alpha_i |x_i|`. ∎
#
# **Statement (a posteriori).** With
#
# .. math::
#
#     i_Q = \max\left\{1,\ \max_i \frac{1 + \ell_2(1 - \hat y^2)\, w_{y,i}}{1 - \ell_2 - \ell_2(1 - g_2)|\hat y - y|\, w_{2,i}}\right\}, \qquad
#     \beta_i = \ell_1(1 - g_1)|\hat z - z|\,w_{1,i} + \ell_1(1 - \hat z^2)\,w_{z,i} ,
#
# and all denominators positive, :math:`\|J^{-1}\|_\infty \le \max\left\{i_Q,\ \max_i \dfrac{1 + \beta_i\, i_Q}{1 - \ell_{1,i}}\right\} \le i_Q\, i_P`,
# :math:`i_P = \max\{1, \max_i (1 + \beta_i)/(1 - \ell_{1,i})\}`.
#
# **Statement (a priori).** If :math:`\Delta t < 1` and :math:`\Delta t\,\chi(w_{2,i}) < 1` for all i, then :math:`\|J^{-1}\|_\infty \le K` with
#
# .. math:: K = \max\left\{i_Q,\ \max_i\frac{1 + \Delta t\,\beta(w_{1,i}, w_{z,i})\, i_Q}{1 - \Delta t}\right\}, \qquad
#           i_Q = \max\left\{1,\ \max_i \frac{1 + \Delta t\, w_{y,i}}{1 - \Delta t\,\chi(w_{2,i})}\right\} .
#
# **Proof.** The factors of :math:`J^{-1} = J_P^{-1} J_Q^{-1}` are
#
# .. math:: J_Q^{-1} = \begin{pmatrix} I & 0 \\ -D^{-1} S & D^{-1} \end{pmatrix}, \qquad
#           J_P^{-1} = \begin{pmatrix} A^{-1} & -A^{-1} B \\ 0 & I \end{pmatrix}.
#
# The lower rows of :math:`J_Q^{-1}` are :math:`D^{-1}[-S, I]`; by the lemma, whose :math:`\alpha_i` is at least the denominator of :math:`i_Q`
# (``determinant_and_inverse``) and whose :math:`\xi_i` is at most its numerator, their sums are at most :math:`i_Q`. Its upper rows are [I, 0], with sums of
# exactly 1. So the lower rows of :math:`J^{-1}`, which are those of :math:`J_Q^{-1}`, have sums of at most :math:`i_Q`, and the upper ones,
# :math:`A^{-1}([I, 0] - B \cdot \text{lower})`, sums of at most :math:`(1 + \beta_i\, i_Q)/(1 - \ell_{1,i})`, with :math:`\beta_i` the bound of J2 on row i of B.
# Since :math:`i_Q \ge 1` this is at most :math:`i_Q (1 + \beta_i)/(1 - \ell_{1,i})`. A priori, :math:`\ell_1 \le \Delta t`,
# :math:`\beta_i \le \Delta t\,\beta(w_{1,i}, w_{z,i})`, :math:`\ell_2(1 - \hat y^2) \le \Delta t`, and the denominator of :math:`i_Q` is at least
# :math:`1 - \Delta t\,\chi(w_{2,i})`. ∎
#
# **Statement (2-norm).** With b, s of J4, :math:`a = 1/(1 - \Delta t)` and :math:`m = 1/(1 - \Delta t - \tfrac12\Delta t\,|W_2|_2)`, if the latter is positive,
#
# .. math:: \|J^{-1}\|_2 \le \left\|\begin{pmatrix} a & a b \\ 0 & 1 \end{pmatrix}\begin{pmatrix} 1 & 0 \\ m s & m \end{pmatrix}\right\|_2 .
#
# **Proof.** :math:`\sigma_{\min}(D) \ge \min(1 - \ell_2) - \|\mathrm{diag}(\ell_2(1-g_2)(\hat y - y)) W_2\|_2 \ge 1 - \Delta t - \tfrac12\Delta t|W_2|_2`, so
# :math:`\|D^{-1}\|_2 \le m`. The matrices of block norms of the two inverse factors are at most those displayed; the matrix of block norms of a product is
# at most, entry by entry, the product of the matrices of block norms; compare as in J4. ∎
#
# The floor
# ---------
# **Statement.** For every row vector v, :math:`\|v\, J_n \cdots J_{k+1}\|_1 \ge K^{-(n-k)}\,\|v\|_1`. As :math:`K = 1 + O(\Delta t)`,
# :math:`K^{-(n-k)} \ge e^{-\kappa (t_n - t_k)}` with :math:`\kappa = (K - 1)/\Delta t` bounded as :math:`\Delta t \to 0`.
#
# **Proof.** For a row vector w and a matrix M, :math:`\|w M\|_1 \le \|w\|_1 \|M\|_\infty`. With :math:`w = v J_n \cdots J_{k+1}` and M the inverse of the product,
# :math:`\|v\|_1 \le \|w\|_1 K^{n-k}`. And :math:`K^{-m} = e^{-m \log K} \ge e^{-m(K - 1)}`. ∎
#
# At :math:`\Delta t\, g = 1` there is no floor, and there cannot be one: a saturated gate erases its memory in a single step.
#
# The highway
# -----------
# **Statement.** If no gate exceeds :math:`\lambda/\Delta t` in M steps, then with :math:`\kappa` of J6
# :math:`\|\prod J - I\|_\infty \le (1 + \lambda\kappa)^M - 1` and :math:`\|v \prod J\|_1 \ge \left(2 - (1 + \lambda\kappa)^M\right)\|v\|_1`.
#
# **Proof.** Write :math:`J_k = I + E_k`, :math:`\|E_k\|_\infty \le \lambda\kappa`; expand the product: the terms other than I have norms that sum up to at most
# :math:`(1 + \lambda\kappa)^M - 1`. Then :math:`\|v\prod J\|_1 \ge \|v\|_1 - \|v(\prod J - I)\|_1`. ∎

f64 = torch.float64
rng = np.random.default_rng(0)
slack = 1 + 1e-8  # inverses amplify rounding
posterior_used, prior_used = 0, 0
for case in range(90):
    d, dt = int(rng.integers(1, 6)), float(rng.choice([0.01, 0.1, 0.5, 0.9]))
    cell = LEMCell(1, d, dt=dt, dtype=f64).requires_grad_(False)
    for p in cell.parameters():
        p.copy_(torch.from_numpy(rng.choice([0.2, 1.0]) * rng.standard_normal(tuple(p.shape))))
    if case % 3 == 0:
        cell.ode.bias[: 2 * d] -= 4  # nearly closed gates
    u = torch.from_numpy(rng.standard_normal((12, 1)))
    y, z = (torch.from_numpy(rng.uniform(-1, 1, d)) for _ in range(2))
    ys, zs, J = [y], [z], []
    gates = 0.0
    for n in range(12):
        state = (ys[-1], zs[-1])
        J.append(step_jacobian(cell, state, u[n]).matrix())
        gates = max(gates, *(float(g.max()) for g in cell.ode.gates(ys[-1], u[n])))
        inverse = float(torch.linalg.matrix_norm(torch.linalg.inv(J[-1]), math.inf))
        after = float(inverse_bound_posterior(cell, state, u[n]))
        assert inverse <= after * slack
        posterior_used += after < math.inf
        assert inverse <= inverse_bound(cell) * slack
        assert float(torch.linalg.matrix_norm(torch.linalg.inv(J[-1]), 2)) <= inverse_bound(cell, 2) * slack
        new = cell(u[n], state)
        ys.append(new[0])
        zs.append(new[1])
    prior_used += inverse_bound(cell) < math.inf
    v = torch.from_numpy(rng.standard_normal(2 * d))  # (z, y)
    vy, vz = trajectory_vjp(cell, u, torch.stack(ys), torch.stack(zs), (v[d:], v[:d]))
    kept = (vy.abs().sum(-1) + vz.abs().sum(-1)) / v.abs().sum()
    for k in range(13):
        assert kept[k] * slack >= gradient_floor(cell, 12 - k)
        assert kept[k] * slack >= highway_floor(cell, 12 - k, gates)
assert posterior_used > 300
assert prior_used > 30

# %%
# With dt = 1 and a saturated gate the Jacobian is singular, and the floor says zero.

cell = LEMCell(1, 2, dt=1.0, dtype=f64).requires_grad_(False)
cell.ode.bias[:4] = 40.0
zero = torch.zeros(2, dtype=f64)
assert int(torch.linalg.matrix_rank(step_jacobian(cell, (zero, zero), zero[:1]).matrix())) < 4
assert gradient_floor(cell, 1) == 0.0

# %%
# Orders in dt: the y blocks and the z blocks differ
# --------------------------------------------------
# The contribution of step k to a gradient at step n is :math:`C_k = v\, J_n \cdots J_{k+1}\, p_k` with :math:`v = (0, v_y)` and the source :math:`p_k` of
# ``gradient_bounds``.
#
# **Statement.** Let N = n be fixed, the input constant, and :math:`\Delta t \to 0`. For a parameter in row i of
#
# - a y block (2, y): :math:`C_k = \Delta t\, v_{y,i}\,\alpha\,\mu + O(\Delta t^2)`, with :math:`\alpha, \mu` taken at the initial state: at leading order independent
#   of k;
# - a z block (1, z): :math:`C_k = \Delta t^2\,(n - k + 1)\; v_y^T\,\mathrm{diag}(g_2(1 - \hat y^2))\,W_y\, e_i\;\alpha\,\mu + O(\Delta t^3)`: of second order, and the first
#   step counts n times as much as the last one.
#
# Here :math:`\alpha` is :math:`g(1 - g)` times the distance to the candidate (gates) or :math:`g(1 - \tanh^2)` (candidates). So "of order
# :math:`\Delta t`, independently of k" is true of the y blocks only.
#
# **Proof.** N steps move the state by :math:`O(\Delta t)`, so all coefficients may be taken at the initial state, and :math:`J = I + O(\Delta t)`. For a y block
# :math:`p_k = (0, \Delta t\,\alpha\mu\,e_i) + O(\Delta t^2)`, which proves the first line. For a z block :math:`p_k = (a\mu\,e_i,\ a\mu\,S e_i)` with
# :math:`a = \Delta t\,\alpha` and :math:`S = \Delta t\, S_0 + O(\Delta t^2)`, :math:`S_0 = \mathrm{diag}(g_2(1 - \hat y^2)) W_y`. What arrives in y is
# :math:`a\mu S e_i` at once and, as the lower left block of each later :math:`J_j` is :math:`S A = \Delta t\,S_0 + O(\Delta t^2)`, the same amount again from each of the
# n - k later steps; products of two such couplings are of higher order. The sum is :math:`(n - k + 1)\,\Delta t\, S_0\, \Delta t\,\alpha\mu\, e_i`. ∎

gen = torch.Generator().manual_seed(1)
N = 8
for group, slope in (("b2", 1), ("by", 1), ("b1", N), ("bz", N)):
    errors, sizes = [], []
    for dt in (1e-3, 1e-4):
        gen.manual_seed(1)
        cell = LEMCell(1, 3, dt=dt, dtype=f64).requires_grad_(False)
        for p in cell.parameters():
            p.copy_(torch.randn(p.shape, generator=gen, dtype=f64))
        y, z = (torch.rand(3, generator=gen, dtype=f64) for _ in range(2))
        u = torch.ones(1, dtype=f64)
        v = torch.tensor([1.0, 2.0, -0.5], dtype=f64)
        states = [(y, z)]
        for _ in range(N):
            states.append(cell(u, states[-1]))
        ys, zs = (torch.stack(s) for s in zip(*states))
        vy, vz = trajectory_vjp(cell, u.expand(N, 1), ys, zs, (v, torch.zeros(3, dtype=f64)))
        contribution = []
        for k in (1, N):
            dy, dz = parameter_jacobian(cell, states[k - 1], u, group)
            contribution.append(float((vy[k] @ dy + vz[k] @ dz)[0]))
        errors.append(abs(contribution[0] / contribution[1] / slope - 1))
        order = 1 if slope == 1 else 2
        sizes.append(contribution[1] / dt**order)
    assert sizes[1] != 0
    assert abs(sizes[0] / sizes[1] - 1) < 0.2  # of exactly that order: a wrong power of dt would make this 9 or 0.9
    # the ratio tends to 1 or to N at first order in dt: ten times smaller a step, ten times smaller an error
    assert errors[1] < 0.01
    assert errors[1] < 0.12 * errors[0]

# %%
# The same in symbols: with one unit, the lower left entry of a product of n - k + 1 factors, first order in dt.

dt, a, b, s0, e = sp.symbols("dt a b s e")
J_symbol = sp.Matrix([[1 - dt * a, dt * b], [dt * s0 * (1 - dt * a), 1 + dt * e + dt**2 * s0 * b]])
p = sp.Matrix([dt, dt * dt * s0])
for M in (0, 1, 4):
    arrives = sp.series(sp.expand((J_symbol**M * p)[1]), dt, 0, 3).removeO()
    assert sp.expand(arrives - (M + 1) * s0 * dt**2) == 0
