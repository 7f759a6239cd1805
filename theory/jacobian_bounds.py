r"""
Norms of Jacobians (J1 to J7)
=============================

The blocks A, B, S, D and the factors :math:`J = J_Q J_P` are those of ``step_jacobian``. Throughout :math:`0 < \Delta t \le 1`, the state
lies in the unit cube, and the input is arbitrary. Row i of a matrix W has the absolute sum :math:`w_i`; :math:`|W|_1` is the largest
absolute *column* sum and :math:`|W|_2` the spectral norm. The functions :math:`\gamma, \beta, \psi` are those of ``engine_functions``, and

.. math:: \gamma_z = \max_i \gamma(w_{1,i}, w_{z,i}), \qquad \gamma_y = \max_i \gamma\left(w_{2,i},\, w_{y,i}(1 + \Delta t\, \gamma_z)\right), \qquad
          \Gamma = \max(\gamma_z, \gamma_y) .

| Computed by ``lemode.analysis.growth_rate`` (:math:`\Gamma`), ``jacobian_bound`` (J1, J3, J4), ``jacobian_bound_posterior`` (J2),
| ``input_bound`` (J5), ``step_distance_bound`` (J6), ``jacobian_product_bound`` (J7); tested as J1 to J7 in ``tests/properties``.
"""

import math

import numpy as np
import torch

from lemode import LEMCell
from lemode.analysis import (
    gam,
    growth_rate,
    input_bound,
    input_jacobian,
    jacobian_bound,
    jacobian_bound_posterior,
    jacobian_product_bound,
    step_distance_bound,
    step_jacobian,
)

STATEMENTS = ("J1", "J2", "J3", "J4", "J5", "J6", "J7")

# %%
# J2: from the gates that are met
# -------------------------------
# **Statement.** With
#
# .. math::
#
#     \rho_{z,i} &= 1 - \ell_{1,i} + \ell_{1,i}(1 - g_{1,i})|\hat z_i - z_i|\, w_{1,i} + \ell_{1,i}(1 - \hat z_i^2)\, w_{z,i}, \\
#     \rho_{y,i} &= 1 - \ell_{2,i} + \ell_{2,i}(1 - g_{2,i})|\hat y_i - y_i|\, w_{2,i} + \ell_{2,i}(1 - \hat y_i^2)\, (|W_y| \rho_z)_i,
#
# :math:`\|J\|_\infty \le \max_i \max(\rho_{z,i}, \rho_{y,i})`, and a product of Jacobians is bounded by the product of these numbers. It
# costs :math:`O(d^2)`, and needs the cube not at all.
#
# **Proof.** The infinity norm is the largest absolute row sum. Row i of [A, B] has the sum
# :math:`|1 - \ell_1| + \sum_j |B_{ij}| \le \rho_{z,i}` by the triangle inequality, as :math:`\ell_1 \le 1`. Row i of [S A, S B] is the
# combination :math:`\sum_k S_{ik}\, [A, B]_k` of rows, hence has at most the sum :math:`\sum_k |S_{ik}| \rho_{z,k} = \ell_2 (1 - \hat y^2) (|W_y| \rho_z)_i`;
# adding row i of D gives at most :math:`\rho_{y,i}`. Norms are submultiplicative. ∎
#
# J1: before anything is met
# --------------------------
# **Statement.** :math:`\|J\|_\infty \le 1 + \Delta t\, \Gamma`, and
# :math:`\Gamma \le \max_i \max\{\tfrac12 w_{1,i} + (w_{z,i} - 1)_+,\ \tfrac12 w_{2,i} + (w_{y,i}(1 + \Delta t\,\gamma_z) - 1)_+\}`.
#
# **Proof.** Let :math:`h = |\hat z_i|`. In the cube :math:`|\hat z_i - z_i| \le 1 + h`, so that by J2, with :math:`\ell_1 = \Delta t\, g`,
#
# .. math:: \rho_{z,i} \le 1 + \Delta t\, g\left[-1 + (1 - g)(1 + h)\, w_{1,i} + (1 - h^2)\, w_{z,i}\right] \le 1 + \Delta t\, \gamma(w_{1,i}, w_{z,i}) \le 1 + \Delta t\,\gamma_z .
#
# Consequently :math:`(|W_y|\rho_z)_i \le w_{y,i}(1 + \Delta t\,\gamma_z)`, and the same estimate for the second row gives
# :math:`\rho_{y,i} \le 1 + \Delta t\, \gamma(w_{2,i}, w_{y,i}(1 + \Delta t\, \gamma_z))`. The simpler form is the bound on :math:`\gamma` in
# ``engine_functions``. ∎
#
# J1 is best possible
# -------------------
# **Statement.** Let :math:`W_1, W_2, W_z, W_y \ge 0` entrywise and let the rows of each have equal sums. Then
# :math:`\sup \|J\|_\infty = 1 + \Delta t\, \Gamma`, the supremum taken over the states in the cube and over the biases (or, equivalently, over inputs
# that reach each argument separately). So no bound in terms of :math:`\Delta t` and the row sums is better.
#
# **Proof.** Let :math:`(g_*, h_*)` be a maximiser for :math:`\gamma(w_1, w_z)`. Take :math:`z = -1` and choose :math:`b_1, b_z` so that
# :math:`g_1 = g_*` and :math:`\hat z = h_*` in every component, or as close as one likes if :math:`g_*` or :math:`h_*` is 1. All entries of
# A and of B, :math:`\hat z - z = 1 + h_*` being positive, are nonnegative: the triangle inequality above is an equality, and every z row
# has the sum :math:`1 + \Delta t\, \gamma_z`. Take also :math:`y = -1` and choose :math:`b_2, b_y` so that :math:`g_2, \hat y` are a
# maximiser for :math:`\gamma(w_2, w_y(1 + \Delta t\,\gamma_z))`. D, S are nonnegative, and every y row has the sum
# :math:`1 - \ell_2 + \ell_2(1 - g_2)(1 + \hat y)\, w_2 + \ell_2(1 - \hat y^2)\, w_y (1 + \Delta t\,\gamma_z) = 1 + \Delta t\,\gamma_y`.
# One state attains both. ∎

f64 = torch.float64


def maximiser(a, b):
    """(g, h) that attains gamma(a, b), by refining a grid."""
    g_low, g_high = 0.0, 1.0
    for _ in range(8):
        g = np.linspace(g_low, g_high, 2001)
        h = np.where((1 - g) * a <= 2 * b, (1 - g) * a / max(2 * b, 1e-300), 1.0)
        value = g * (-1 + (1 - g) * (1 + h) * a + (1 - h**2) * b)
        k = int(value.argmax())
        g_low, g_high = g[max(k - 1, 0)], g[min(k + 1, 2000)]
    assert abs(value[k] - gam(a, b)) <= 1e-12 * max(1.0, gam(a, b))
    return float(g[k]), float(h[k])


def logit(g):
    return math.log(g / (1 - g)) if 1e-17 < g < 1 - 1e-16 else math.copysign(40.0, g - 0.5)


rng = np.random.default_rng(0)
for _ in range(60):
    d, dt = int(rng.integers(1, 6)), float(rng.choice([0.01, 0.3, 1.0]))
    cell = LEMCell(1, d, dt=dt, dtype=f64)
    w = rng.exponential(2, 4)
    W = rng.uniform(0.1, 1, (4, d, d))
    W *= (w / 1)[:, None, None] / W.sum(2, keepdims=True)
    g1, h1 = maximiser(w[0], w[2])
    g2, h2 = maximiser(w[1], w[3] * (1 + dt * gam(w[0], w[2])))
    z_new = -1 + dt * g1 * (h1 + 1)
    with torch.no_grad():
        cell.ode.weight_ih.zero_()
        cell.ode.weight_hh.copy_(torch.from_numpy(np.concatenate(W[:3])))
        cell.ode.weight_zy.copy_(torch.from_numpy(W[3]))
        bias = [
            logit(g1) + w[0],
            logit(g2) + w[1],
            math.atanh(min(h1, 1 - 1e-16)) + w[2],
            math.atanh(min(h2, 1 - 1e-16)) - w[3] * z_new,
        ]
        cell.ode.bias.copy_(torch.tensor(bias, dtype=f64).repeat_interleave(d))
        corner = (-torch.ones(d, dtype=f64), -torch.ones(d, dtype=f64))
        attained = float(torch.linalg.matrix_norm(step_jacobian(cell, corner, torch.zeros(1, dtype=f64)).matrix(), math.inf))
    bound = jacobian_bound(cell)
    assert bound - 1e-9 * (1 + bound) <= attained <= bound * (1 + 1e-12)

# %%
# J3: the 1-norm
# --------------
# **Statement.** :math:`\|J\|_1 \le 1 + \Delta t\, \Gamma_1` with
# :math:`\Gamma_1 = \max\{|W_y|_1,\ \tfrac12|W_2|_1 + (\tfrac12|W_1|_1 + |W_z|_1)(1 + \Delta t\,|W_y|_1)\}`.
#
# **Proof.** The 1-norm is the largest absolute column sum. Since :math:`\ell_2(1 - \hat y^2) \le \Delta t`, the columns of S have sums of at
# most :math:`\Delta t\,|W_y|_1`. Since :math:`g(1 - g) \le \frac14` and :math:`|\hat z - z| \le 2`, those of B have sums of at most
# :math:`\Delta t\,(\tfrac12|W_1|_1 + |W_z|_1)`, and likewise column j of D has at most
# :math:`1 - \ell_{2,j} + \tfrac12 \Delta t\,|W_2|_1 \le 1 + \tfrac12 \Delta t\,|W_2|_1`. A column of J in the z block is
# :math:`(A e_j, S A e_j)`, with a sum of at most :math:`(1 - \ell_{1,j})(1 + \Delta t\,|W_y|_1)`; one in the y block is
# :math:`(B e_j, D e_j + S B e_j)`, with a sum of at most
# :math:`1 + \tfrac12\Delta t|W_2|_1 + \Delta t(\tfrac12|W_1|_1 + |W_z|_1)(1 + \Delta t\,|W_y|_1)`. ∎
#
# J4: the 2-norm
# --------------
# **Statement.** With :math:`b_e = \tfrac12|W_1|_2 + |W_z|_2`, :math:`b = \Delta t\, b_e`, :math:`s = \Delta t\,|W_y|_2`,
#
# .. math:: \|J\|_2 \le \left\| \begin{pmatrix} 1 & b \\ s & 1 + \tfrac12\Delta t\,|W_2|_2 + s b \end{pmatrix} \right\|_2
#           \le 1 + \Delta t \left\| \begin{pmatrix} 0 & b_e \\ |W_y|_2 & \tfrac12|W_2|_2 + \Delta t\,|W_y|_2\, b_e \end{pmatrix} \right\|_2 .
#
# **Proof.** For a block matrix :math:`(M_{kl})` and :math:`x = (x_1, x_2)`,
# :math:`\|(Mx)_k\|_2 \le \sum_l \|M_{kl}\|_2 \|x_l\|_2`; so :math:`\|M\|_2 \le \|(\|M_{kl}\|_2)\|_2`, and the norm of a nonnegative matrix
# does not decrease with its entries. A diagonal factor contributes its largest entry: :math:`\|A\|_2 \le 1`,
# :math:`\|B\|_2 \le \Delta t(\frac14 \cdot 2\,|W_1|_2 + |W_z|_2) = b`, :math:`\|S\|_2 \le s`,
# :math:`\|D\|_2 \le 1 + \tfrac12\Delta t\,|W_2|_2`. Insert these into the blocks A, B, SA, D + SB. The second inequality is
# :math:`\|M\| \le 1 + \|M - I\|`. ∎
#
# J5: the input
# -------------
# **Statement.** :math:`\|\partial x_n/\partial u_n\|_\infty \le \Delta t \max_i \max\{b_z,\ \beta(v_{2,i}, v_{y,i} + w_{y,i} \Delta t\, b_z)\}`,
# :math:`b_z = \max_i \beta(v_{1,i}, v_{z,i})`, with x = (z, y).
#
# **Proof.** As for J1 without the decay: row i of :math:`U_z` has a sum of at most
# :math:`\Delta t\, g[(1 - g)(1 + h) v_{1,i} + (1 - h^2) v_{z,i}] \le \Delta t\,\beta(v_{1,i}, v_{z,i}) \le \Delta t\, b_z`; row i of :math:`U_y` one of at most
# :math:`\Delta t\, g[(1 - g)(1 + h) v_{2,i} + (1 - h^2)(v_{y,i} + w_{y,i} \Delta t\, b_z)]`. ∎
#
# J6: distance from the identity
# ------------------------------
# **Statement.** If no gate exceeds :math:`\lambda / \Delta t`, then :math:`\|J - I\|_\infty \le \lambda \kappa` with
# :math:`\kappa = 1 + \max_i \max\{\psi(w_{1,i}, w_{z,i}),\ \psi(w_{2,i}, w_{y,i}(1 + \Delta t\,\gamma_z))\}`.
#
# **Proof.** Row i of :math:`[A - I, B]` has a sum of at most
# :math:`\ell_1[1 + (1 - g)(1 + h) w_{1,i} + (1 - h^2) w_{z,i}] \le \lambda(1 + \psi(w_{1,i}, w_{z,i}))`, as :math:`1 - g \le 1`; row i of
# :math:`[SA, D - I + SB]` one of at most :math:`\ell_2[1 + (1 - g)(1 + h) w_{2,i} + (1 - h^2) w_{y,i}(1 + \Delta t\,\gamma_z)]`. ∎
#
# J7: products
# ------------
# **Statement.** For :math:`s = (s^z, s^y) \ge 0` let :math:`S(s) = (S^z, S^y)`, entry by entry,
#
# .. math:: S^z = s^z + \Delta t\, G\left(s^z,\ |W_1| s^y,\ |W_z| s^y;\ 1\right), \qquad S^y = s^y + \Delta t\, G\left(s^y,\ |W_2| s^y,\ |W_y| S^z;\ 1\right).
#
# Then :math:`|J|\,s \le S(s)` for every Jacobian of a step, and
#
# .. math:: \|J_n \cdots J_1\|_\infty \le \|S^n(\mathbf 1)\|_\infty \le (1 + \Delta t\,\Gamma)^n, \qquad
#           |v\,J_n \cdots J_1|_1 \le |v|\,S^n(\mathbf 1) .
#
# **Proof.** The first is the recursion of ``gradient_bounds`` (G_rec) without a source and with r = 1: row i of z gives
# :math:`(1 - \ell) s^z_i + \ell(1 - g)|\hat z - z|(|W_1| s^y)_i + \ell(1 - h^2)(|W_z| s^y)_i \le S^z_i`, and with it row i of y. S is nondecreasing in each entry
# of s: :math:`s + \Delta t\,G(s, \cdot)` is a maximum of functions with slopes :math:`1 - \Delta t\,g \ge 0`, and G is nondecreasing in its other arguments. So
# :math:`|J_n \cdots J_1|\mathbf 1 \le |J_n| \cdots |J_1|\mathbf 1 \le S^n(\mathbf 1)` by induction. :math:`S(\mathbf 1) \le (1 + \Delta t\,\Gamma)\mathbf 1` is J1, and S is
# homogeneous, :math:`S(cs) = c\,S(s)`, so that monotony gives :math:`S^n(\mathbf 1) \le (1 + \Delta t\,\Gamma)^n \mathbf 1`. Last,
# :math:`|v P|_1 \le \sum_i |v_i| \sum_j |P_{ij}|`. ∎
#
# For a positive weight :math:`\omega` with :math:`S(\omega) \le \mu\,\omega`, :math:`S^n(\mathbf 1) \le \mu^n \omega/\min\omega`: the growth rate of :math:`S^n` is at most that in any
# weighted sup norm, and is that of the best one (Collatz and Wielandt).
#
# Check on random networks, states and inputs
# -------------------------------------------

slack = 1 + 1e-9  # rounding
for _case in range(300):
    d, dt, scale = int(rng.integers(1, 7)), float(rng.choice([1e-3, 0.2, 0.9, 1.0])), float(rng.choice([0.1, 1, 5]))
    cell = LEMCell(2, d, dt=dt, dtype=f64)
    with torch.no_grad():
        for p in cell.parameters():
            p.copy_(torch.from_numpy(scale * rng.standard_normal(tuple(p.shape)) * rng.integers(0, 2, tuple(p.shape))))
        y, z = (torch.from_numpy(np.clip(rng.uniform(-1.5, 1.5, (40, d)), -1, 1)) for _ in range(2))
        u = torch.from_numpy(rng.standard_normal((40, 2)))
        J = step_jacobian(cell, (y, z), u).matrix()
        norm = {o: torch.linalg.matrix_norm(J, o) for o in (1, 2, math.inf)}
        for o in norm:
            assert bool((norm[o] <= jacobian_bound(cell, o) * slack).all()), o
        posterior = jacobian_bound_posterior(cell, (y, z), u)
        assert bool((norm[math.inf] <= posterior * slack).all())
        assert bool((posterior <= jacobian_bound(cell) * slack).all())
        by_u = torch.cat(input_jacobian(cell, (y, z), u), -2)
        assert bool((torch.linalg.matrix_norm(by_u, math.inf) <= input_bound(cell) * slack + 1e-13).all())
        largest = min(1.0, float(torch.stack(cell.ode.gates(y, u)).max()) * (1 + 1e-15))
        away = torch.linalg.matrix_norm(J - torch.eye(2 * d, dtype=f64), math.inf)
        assert bool((away <= step_distance_bound(cell, largest) * slack + 1e-13).all())
        w1, w2, wz, wy = (W.abs().sum(1).numpy() for W in cell.ode.blocks()[:4])
        product, bounds = np.eye(2 * d), jacobian_product_bound(cell, 40)
        for n, factor in enumerate(J.numpy()):  # those of any states make a product
            product = factor @ product
            assert np.abs(product).sum(1).max() <= bounds[n + 1] * slack
        assert bool((np.log(bounds) <= np.arange(41) * math.log(jacobian_bound(cell)) + 1e-9).all())
        gz = np.max(gam(w1, wz))
        simple = max(np.max(w1 / 2 + np.maximum(wz - 1, 0)), np.max(w2 / 2 + np.maximum(wy * (1 + dt * gz) - 1, 0)))
        assert growth_rate(cell) <= simple * slack + 1e-13

# %%
# A network without weights does not amplify at all, :math:`\Gamma = 0`, whatever its biases:

cell = LEMCell(1, 3, dtype=f64)
with torch.no_grad():
    cell.ode.weight_hh.zero_()
    cell.ode.weight_zy.zero_()
assert jacobian_bound(cell) == 1.0
