r"""
Bounds on the gradient (G_inf, G_1, G_ref, G_rec, G_unif, G_adj)
================================================================

The loss is :math:`E = \frac1N \sum_{n=1}^N \frac12 \|y_n - \bar y_n\|_2^2` with targets bounded by :math:`|\bar y_{n,j}| \le \bar Y`, the initial state
lies in the unit cube, :math:`0 < \Delta t \le 1`, :math:`t_n = n\Delta t`. :math:`\theta` is any single entry of one of the twelve parameter
blocks; c = 1/2 for the gate blocks (index 1, 2) and c = 1 for the candidate blocks (z, y); :math:`\mu` = 1 for W and b, and
:math:`\mu = \max|u_{n,j}|` for V. Every bound holds for every N, every input and every target. :math:`\Gamma, \Gamma_1` are those of
``jacobian_bounds``; :math:`G, \beta, A` those of ``engine_functions``.

For another loss :math:`E = \frac1N\sum_n E_n(y_n)` replace :math:`d\,(1 + \bar Y)` by :math:`\max_n \|\partial E_n/\partial y_n\|_1`, and
:math:`1 + \bar Y` by :math:`\max_n \|\partial E_n/\partial y_n\|_\infty`. A readout :math:`o = C y + c` with residual
:math:`\rho_n` has :math:`\partial E_n/\partial y_n = C^T \rho_n`.

| Computed by ``lemode.analysis.gradient_bound``, ``gradient_bound_posterior``, ``linearisable``; tested as G_inf to G_adj in
| ``tests/properties``.
"""

import math

import numpy as np
import sympy as sp
import torch

from lemode import LEMCell
from lemode.analysis import gradient_bound, gradient_bound_posterior, linear_growth
from lemode.analysis.recursion import adjoint_bound

STATEMENTS = ("G_inf", "G_1", "G_ref", "G_rec", "G_unif", "G_adj")

# %%
# The sensitivity recursion
# -------------------------
# Let :math:`X_n = \partial(z_n, y_n)/\partial\theta`, so :math:`X_0 = 0`. By the chain rule
#
# .. math:: X_n = J_n X_{n-1} + p_n = \sum_{k=1}^n J_n \cdots J_{k+1}\, p_k, \qquad
#           \frac{\partial E}{\partial \theta} = \frac1N \sum_{n=1}^N (y_n - \bar y_n) \cdot (X_n)_y ,
#
# where :math:`p_n` is the source of ``step_jacobian``: for :math:`\theta` in row i it is :math:`(a\, e_i,\, a\,S e_i)` for the z blocks
# (1, z) and :math:`(0,\, a\, e_i)` for the y blocks (2, y). **The size of the source**: :math:`|a| \le c\,\mu\,\Delta t`, because
# :math:`g(1 - g)|\hat z - z| \le \frac14 \cdot 2` for the gates, :math:`g(1 - \hat z^2) \le 1` for the candidates, and by S1 the multipliers
# :math:`y_j, z_j` are at most 1. The column :math:`S e_i` has entries :math:`|S_{ji}| \le \Delta t |W_{y,ji}|`. So
#
# .. math::
#
#     \|p_n\|_\infty &\le c\,\mu\,\Delta t\, q, & q &= \max(1, \Delta t \max_{ij}|W_{y,ij}|) \text{ (z blocks)}, \quad 1 \text{ (y blocks)} \\
#     \|p_n\|_1 &\le c\,\mu\,\Delta t\, q_1, & q_1 &= 1 + \Delta t\, |W_y|_1 \text{ (z blocks)}, \quad 1 \text{ (y blocks)} .
#
# G_inf and G_1
# -------------
# **Statement.**
#
# .. math::
#
#     G_\infty:\quad \left|\frac{\partial E}{\partial\theta}\right| &\le d\,(1 + \bar Y)\, c\,\mu\, q\, A(N, \Delta t, \Gamma), \\
#     G_1:\quad \left|\frac{\partial E}{\partial\theta}\right| &\le (1 + \bar Y)\, c\,\mu\, q_1\, A(N, \Delta t, \Gamma_1) .
#
# **Proof.** By J1, :math:`\|X_n\|_\infty \le \sum_{k \le n} (1 + \Delta t\,\Gamma)^{n-k} c\mu\Delta t\,q`. The state lies in the cube, so
# :math:`|y_{n,j} - \bar y_{n,j}| \le 1 + \bar Y` and :math:`|(y_n - \bar y_n) \cdot (X_n)_y| \le \|y_n - \bar y_n\|_1 \|X_n\|_\infty \le d(1 + \bar Y)\|X_n\|_\infty`.
# The mean over n of the sums is, by definition, A. For :math:`G_1` pair instead
# :math:`|(y_n - \bar y_n) \cdot (X_n)_y| \le \|y_n - \bar y_n\|_\infty \|X_n\|_1`, and use J3. ∎
#
# G_ref: the dimension enters at second order only
# ------------------------------------------------
# **Statement.** With :math:`b_z = \max_i\beta(w_{1,i}, w_{z,i})`, :math:`b_e = \max\{b_z,\ \max_i \beta(w_{2,i}, w_{y,i}(1 + \Delta t\, b_z))\}` and
# :math:`A_0 = \Delta t\,(N + 1)/2`
#
# .. math::
#
#     \text{y blocks:}\quad \left|\frac{\partial E}{\partial\theta}\right| &\le (1 + \bar Y)\,c\mu\left[A_0 + d\,(A(N, \Delta t, b_e) - A_0)\right], \\
#     \text{z blocks:}\quad \left|\frac{\partial E}{\partial\theta}\right| &\le (1 + \bar Y)\,c\mu\left[\Delta t\,|W_y|_1 A_0 + d\,q\,(A(N, \Delta t, b_e) - A_0)\right].
#
# **Proof.** Write :math:`J_n = \Lambda_n + R_n`, :math:`\Lambda_n` the diagonal matrix of :math:`1 - \ell_1` and :math:`1 - \ell_2`, with entries in
# [0, 1]. Then :math:`\|R_n\|_\infty \le \Delta t\,b_e`: its z rows are those of B, with sums of at most :math:`\Delta t\,b_z` (the proof of J1 without the decay); its y
# rows are those of :math:`[SA,\ SB + D - \mathrm{diag}(1 - \ell_2)]`, with sums of at most
# :math:`\ell_2 (1 - \hat y^2) w_{y,i}(1 + \Delta t\, b_z) + \ell_2 (1 - g_2)|\hat y - y|\, w_{2,i} \le \Delta t\,\beta(w_{2,i}, w_{y,i}(1 + \Delta t\,b_z))`. Expand the product
# of M = n - k factors :math:`\Lambda + R`: the term without R is the diagonal matrix :math:`\Pi = \Lambda_n \cdots \Lambda_{k+1}`, with entries in [0, 1],
# and the other terms sum up to a matrix of infinity norm at most :math:`\sum_{j \ge 1} \binom{M}{j}(\Delta t\,b_e)^j = (1 + \Delta t\,b_e)^M - 1`.
# Pair with :math:`v = y_n - \bar y_n`. The diagonal part: for a y block :math:`|v \cdot (\Pi p_k)_y| \le |v_i||a| \le (1 + \bar Y)c\mu\Delta t`; for a z block
# :math:`|v \cdot (\Pi p_k)_y| \le |a| \sum_j |v_j||S_{ji}| \le (1 + \bar Y) c\mu\Delta t \cdot \Delta t\,|W_y|_1`. The rest:
# :math:`\|v\|_1 \cdot ((1 + \Delta t\,b_e)^M - 1) \cdot \|p_k\|_\infty \le d(1 + \bar Y)((1 + \Delta t\, b_e)^M - 1)\, c\mu\Delta t\, q`. The mean over n of the sums over k of
# :math:`\Delta t` is :math:`A_0`, that of :math:`\Delta t (1 + \Delta t\,b_e)^{n-k}` is A. ∎
#
# Here :math:`b_e` cannot be replaced by :math:`\Gamma`: see ``counterexamples``.
#
# G_rec: a majorant, entry by entry
# ---------------------------------
# **Statement.** Let :math:`r_n` bound the entries of the state (S1). For :math:`\theta` in row i of a block define nonnegative vectors by
# :math:`s^z_0 = s^y_0 = 0` and, entry by entry,
#
# .. math::
#
#     s^z_n &= s^z_{n-1} + \Delta t\, G\left(s^z_{n-1},\ |W_1| s^y_{n-1} + \mu_1 e_i,\ |W_z| s^y_{n-1} + \mu_z e_i;\ r_{n-1}\right), \\
#     s^y_n &= s^y_{n-1} + \Delta t\, G\left(s^y_{n-1},\ |W_2| s^y_{n-1} + \mu_2 e_i,\ |W_y| s^z_n + \mu_y e_i;\ r_{n-1}\right),
#
# where only the :math:`\mu` with the block's index is not zero: it is :math:`r_{n-1}` for :math:`W_1, W_2, W_z`, :math:`r_n` for :math:`W_y`,
# :math:`|u_{n,j}|` for V, 1 for b. Then :math:`|(X_n)_z| \le s^z_n`, :math:`|(X_n)_y| \le s^y_n`, and
#
# .. math:: \left|\frac{\partial E}{\partial\theta}\right| \le \frac1N \sum_n \sum_j |y_{n,j} - \bar y_{n,j}|\, s^y_{n,j} \le \frac1N \sum_n (r_n + \bar Y) \sum_j s^y_{n,j} .
#
# **Proof.** By induction on n. Differentiate one component of the z step, :math:`h = |\hat z|`, :math:`|z_{n-1}| \le r_{n-1}`:
#
# .. math::
#
#     |(X_n)_z| &\le (1 - \ell)|X_z| + \ell (1 - g)|\hat z - z_{n-1}|\left(|W_1||X_y| + \mu_1 e_i\right) + \ell (1 - h^2)\left(|W_z||X_y| + \mu_z e_i\right) \\
#     &\le s^z_{n-1} + \Delta t\, g\left[-s^z_{n-1} + (1 - g)(r_{n-1} + h)\left(|W_1| s^y_{n-1} + \mu_1 e_i\right) + (1 - h^2)\left(|W_z| s^y_{n-1} + \mu_z e_i\right)\right].
#
# In the first line X may be replaced by its majorant because all coefficients, :math:`1 - \ell \ge 0` among them, are nonnegative. The maximum over
# g and h in [0, 1] of the second line is :math:`s^z_n`. The y step is the same with :math:`s^z_n`, already known, in the place of :math:`s^y_{n-1}` at
# :math:`W_y`. ∎
#
# What makes G_rec sharp is that source, coupling and decay share one gate; G_inf maximises them separately. *A posteriori* one uses the gates
# that are met instead of the maximum: the same proof, first line only.
#
# **Statement.** :math:`G_{rec} \le G_\infty`.
#
# **Proof.** Let :math:`\sigma_n` be the largest entry of :math:`s^z_n, s^y_n`, and write :math:`p = c\mu\Delta t`, with the :math:`\mu` of the block.
# G does not increase in s by more than it is worth: :math:`s + \Delta t\,G(s, \cdot)` is nondecreasing in s, being a maximum of functions with slope
# :math:`1 - \Delta t\, g \ge 0`. Put :math:`\sigma = \sigma_{n-1}` for every entry:
# :math:`s^z_n \le \sigma + \Delta t\max_{g,h} g[-\sigma + (1-g)(1+h) w_1\sigma + (1-h^2) w_z \sigma] + p\,e_i = (1 + \Delta t\,\gamma_z)\sigma + p\, e_i`, the
# last term being there for the z blocks only: its coefficient is :math:`g(1-g)(1+h)\mu \le \mu/2` or :math:`g(1-h^2)\mu \le \mu`. Then
# :math:`(|W_y| s^z_n)_j \le w_{y,j}(1 + \Delta t\,\gamma_z)\sigma + |W_{y,ji}|\,p`, so :math:`s^y_{n,j} \le (1 + \Delta t\,\Gamma)\sigma + \Delta t|W_{y,ji}|\,p` for a z block and
# :math:`\le (1 + \Delta t\,\Gamma)\sigma + p\,\delta_{ij}` for a y block. Altogether :math:`\sigma_n \le (1 + \Delta t\,\Gamma)\sigma_{n-1} + q\,p`, the recursion that
# G_inf solves; finally :math:`r_n + \bar Y \le 1 + \bar Y` and :math:`\sum_j s_j \le d\,\sigma`. ∎
#
# G_unif: for all time
# --------------------
# **Statement.** If the contraction certificate holds, :math:`\Psi < 1` with the weight r (``contraction``, statement 5.4), and every gate is at least
# :math:`g_{\min}`, then for **every** N
#
# .. math:: \left|\frac{\partial E}{\partial\theta}\right| \le \frac{d\,(1 + \bar Y)\,c\mu\,q_r}{g_{\min}(1 - \Psi)}, \qquad
#           q_r = \max(r, \Delta t\max_{ij}|W_{y,ij}|) \text{ (z blocks)}, \quad 1 \text{ (y blocks)} .
#
# **Proof.** In the norm :math:`|x|_r = \max(r|z|_\infty, |y|_\infty)`, :math:`\|J_n\|_r \le 1 - \Delta t\, g_{\min}(1 - \Psi)`, and the source has
# :math:`|p|_r \le c\mu\Delta t\,q_r`. The geometric series gives :math:`|X_n|_r \le c\mu q_r/(g_{\min}(1 - \Psi))`, and :math:`|(X_n)_y|_\infty \le |X_n|_r`. ∎

# %%
# The quadratic form and its horizon
# ----------------------------------
# **Statement.** Let :math:`s_* = 5.10980\ldots` be the positive root of :math:`(e^s - 1 - s)/s^2 = 1 + s`. If :math:`\Gamma t_N \le s_*` then, for every N,
#
# .. math:: q\,A(N, \Delta t, \Gamma) \;\le\; (1 + \Delta t\,\Gamma)\, A(N, \Delta t, \Gamma) \;\le\; t_N + \Gamma t_N^2 ,
#
# so that :math:`d\,(1 + \bar Y)\left[t_N + \Gamma t_N^2\right]` bounds the gradient by every W and b. The number :math:`s_*` cannot be enlarged.
#
# **Proof.** *First inequality.* :math:`\Gamma \ge \gamma(w_{2,i}, w_{y,i}) \ge w_{y,i} - 1` (``engine_functions``), so
# :math:`\Delta t\max|W_y| \le \Delta t(1 + \Gamma) \le 1 + \Delta t\,\Gamma`.
#
# *Second inequality.* Let :math:`x = \Delta t\,\Gamma`, :math:`s = N x`, and divide by :math:`t_N`. We have to show :math:`H_N(s) \le 1 + s` for
#
# .. math:: H_N(s) = (1 + x)\frac{A}{t_N} = \frac{(1 + x)^{N+2} - (1 + x)^2 - s(1 + x)}{s^2}, \qquad x = s/N .
#
# :math:`H_N` is a polynomial in s with nonnegative coefficients (see A in ``engine_functions``), hence convex on :math:`s \ge 0`, and
# :math:`H_N(0) = (1 + 1/N)/2 \le 1`. A convex function below an affine one at both ends of an interval is below it in between: it is enough that
# :math:`H_N(s_*) \le 1 + s_*`. Let :math:`N \ge 4`. From :math:`\log(1 + x) \le x(6 + x)/(6 + 4x)` for :math:`x \ge 0`,
#
# .. math:: (N + 2)\log(1 + x) \le \frac{(s + 2x)(6 + x)}{6 + 4x} \le s \iff x \le \tfrac32 s - 6,
#
# and at :math:`s = s_*` the right-hand side is 1.66 while :math:`x = s_*/N < 1.28`. So :math:`(1 + x)^{N+2} \le e^{s}`, and
# :math:`H_N(s_*) \le (e^{s_*} - 1 - s_*)/s_*^2 = 1 + s_*`. For N = 1, :math:`H_1(s) = 1 + s`; N = 2 and 3 are checked below.
#
# *Sharpness.* As :math:`N \to \infty`, :math:`A/t_N \to (e^s - 1 - s)/s^2`, which exceeds 1 + s beyond :math:`s_*`. ∎
#
# For larger :math:`\Gamma t_N` no quadratic can do: growth is exponential in time (``counterexamples``).

s, x, N = sp.symbols("s x N", positive=True)
s_star = float(sp.nsolve((sp.exp(s) - 1 - s) / s**2 - 1 - s, 5.1))
assert abs(s_star - 5.10980) < 5e-6
A_over_t = ((1 + x) * ((1 + x) ** N - 1) / (N * x) - 1) / (N * x)
H = ((1 + x) ** (N + 2) - (1 + x) ** 2 - N * x * (1 + x)) / (N * x) ** 2
assert sp.simplify((1 + x) * A_over_t - H) == 0
for size in (1, 2, 3):
    polynomial = sp.Poly(sp.cancel(H.subs(N, size).subs(x, s / size)), s)
    assert all(c >= 0 for c in polynomial.all_coeffs())
    assert polynomial.eval(sp.Float(s_star)) <= 1 + s_star + 1e-12
# log(1 + x) <= x (6 + x)/(6 + 4 x): equal at 0, and the derivative of the difference is x^3 times something positive
difference = sp.cancel(sp.diff(x * (6 + x) / (6 + 4 * x) - sp.log(1 + x), x))
numerator, denominator = sp.fraction(sp.factor(difference))
assert sp.expand(numerator) in (x**2 * 2 * x / 2, 2 * x**3, x**3)
assert all(c >= 0 for c in sp.Poly(sp.expand(denominator), x).all_coeffs())
# the equivalence: s (6 + 4 x) - (s + 2 x)(6 + x) = x (3 s - 12 - 2 x)
assert sp.expand(s * (6 + 4 * x) - (s + 2 * x) * (6 + x) - x * (3 * s - 12 - 2 * x)) == 0
for size in range(1, 2000):
    t_N, growth = size * 0.001, s_star / (size * 0.001)
    assert (1 + 0.001 * growth) * linear_growth(size, 0.001, growth) <= t_N * (1 + s_star) * (1 + 1e-12)
assert linear_growth(10**6, 1e-6, s_star * 1.001) > 1 + s_star * 1.001

# %%
# G_adj: a posteriori, for long times
# -----------------------------------
# **Statement.** Let :math:`\lambda_n = \frac1N \sum_{m \ge n} \frac{\partial E_m}{\partial y_m} \frac{\partial y_m}{\partial X_n}` be the exact adjoint on the
# data (a row vector in the order (z, y)), and :math:`p_n` the source of a parameter. Then
#
# .. math:: \Big|\frac{\partial E}{\partial\theta}\Big| \le \sum_{n=1}^N |\lambda_n p_n| ,
#
# and it is within the cancellation between different times of the gradient itself, however long N is.
#
# **Proof.** Exchange the sums in the sensitivity recursion: :math:`\partial E/\partial\theta = \frac1N \sum_m (\partial E_m/\partial y_m)\,(X_m)_y
# = \frac1N \sum_m \sum_{n \le m} (\partial E_m/\partial y_m)\,(J_m \cdots J_{n+1} p_n)_y = \sum_n \lambda_n p_n`, and take absolute values of the terms.
# :math:`\lambda` obeys :math:`\lambda_n = \lambda_{n+1} J_{n+1} + (0, \frac1N \partial E_n/\partial y_n)` backwards from :math:`\lambda_{N+1} = 0`: O(N d^2) work.
# For all entries of one row of a block :math:`p_n = m_n q_n` with the same :math:`q_n` and a multiplier :math:`m_n` (an entry of
# :math:`y_{n-1}`, :math:`z_n` or :math:`u_n`, or 1), so :math:`\sum_n |\lambda_n q_n| \max_j |m_{n,j}|` bounds all of them at once. ∎
#
# It is computed by ``lemode.analysis.recursion.adjoint_bound`` and shown by ``lemode.analysis.audit``; no product of norms enters, which is why it stays
# useful where the a-priori bounds overflow.

# %%
# Check on networks
# -----------------
# Every bound against automatic differentiation, for all twelve groups. The bound's targets and the data's are the same.

GROUPS = ["W1", "W2", "Wz", "Wy", "V1", "V2", "Vz", "Vy", "b1", "b2", "bz", "by"]
f64 = torch.float64
rng = np.random.default_rng(0)
closest = {}
for case in range(24):
    d, steps, dt = int(rng.integers(1, 5)), int(rng.choice([1, 3, 12])), float(rng.choice([0.02, 0.3, 1.0]))
    cell = LEMCell(2, d, dt=dt, dtype=f64)
    scale = float(rng.choice([0.2, 1.0, 4.0]))
    with torch.no_grad():
        for p in cell.parameters():
            p.copy_(torch.from_numpy(scale / math.sqrt(d) * rng.standard_normal(tuple(p.shape))))
        if case % 2:  # a case in which the certificate often holds
            cell.ode.weight_hh.mul_(0.2)
            cell.ode.weight_zy.mul_(0.2)
    u, Y = torch.from_numpy(rng.standard_normal((steps, 2))), float(rng.choice([0.5, 3.0]))
    target = torch.from_numpy(rng.uniform(-Y, Y, (steps, d)))
    y = z = torch.zeros(d, dtype=f64)
    losses, pull, ys, zs = [], [], [y], [z]
    for n in range(steps):
        y, z = cell(u[n], (y, z))
        ys.append(y.detach())
        zs.append(z.detach())
        losses.append(0.5 * (y - target[n]).square().sum())
        pull.append((y - target[n]).detach())
    grads = torch.autograd.grad(
        sum(losses) / steps, [cell.ode.weight_hh, cell.ode.weight_zy, cell.ode.weight_ih, cell.ode.bias]
    )
    blocks = [*grads[0].chunk(3), grads[1], *grads[2].chunk(4), *grads[3].chunk(4)]
    with torch.no_grad():
        adjoint = adjoint_bound(cell, torch.stack(pull), GROUPS, u, torch.stack(ys), torch.stack(zs))
    for k, (group, grad) in enumerate(zip(GROUPS, blocks)):
        rows = grad.abs().reshape(d, -1).amax(-1)
        assert (rows <= adjoint[k] * (1 + 1e-9) + 1e-13).all(), group
        if steps == 1 and group[0] == "b":  # one step, one entry a row: nothing to cancel, the bound is the gradient
            assert torch.allclose(rows, adjoint[k], rtol=1e-9, atol=1e-13)
        actual = float(grad.abs().max())
        bounds = {}
        for kind in ("inf", "one", "ref", "recursion", "uniform"):
            bounds[kind] = gradient_bound(cell, steps, 1 + Y, group, kind, u=u)
            assert actual <= bounds[kind] * (1 + 1e-9) + 1e-13, (group, kind)
            closest[kind] = max(closest.get(kind, 0), actual / bounds[kind] if bounds[kind] else 0)
        assert bounds["recursion"] <= bounds["inf"] * (1 + 1e-12)
        posterior = float(gradient_bound_posterior(cell, torch.stack(pull), group, u))
        assert actual <= posterior * (1 + 1e-9) + 1e-13
        assert posterior <= bounds["recursion"] * (1 + 1e-9) + 1e-13
assert closest["uniform"] > 0  # the certificate did hold in some case
