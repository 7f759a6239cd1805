r"""
Counterexamples: what a gradient bound must contain
===================================================

Each example here is small, deterministic, and shows that an ingredient of the bounds in ``gradient_bounds`` cannot be dropped. The first two
concern a bound of linear-plus-quadratic form,

.. math:: \left|\frac{\partial E}{\partial\theta}\right| \overset{?}{\le} (1 + \bar Y)\left(t_N + \Gamma_\eta\, t_N^2\right), \qquad
          \Gamma_\eta = 2(1 + \eta)(1 + 3\eta), \quad \eta = \max(\|W_1\|_\infty, \|W_2\|_\infty, \|W_z\|_\infty, \|W_y\|_\infty)

for :math:`E = \frac1N\sum_n\frac12\|y_n - \bar y_n\|_2^2`. This is the form in which we recollect a proposition of the paper that introduced LEM. It is **not
a quotation**: constants and conditions there may differ, and what is refuted here is the display above, read for all d, N and
:math:`\Delta t \le 1`. In what range it does hold is part of the statements.

| Computed by ``lemode.analysis.recollected_bound``, ``linearisable``; tested as G_quad in ``tests/properties``.
"""

import math

import sympy as sp
import torch

from lemode import LEMCell
from lemode.analysis import gradient_bound, growth_rate, linear_growth, recollected_bound

STATEMENTS = ("G_quad",)

f64 = torch.float64


def gradient(cell, steps, target, group):
    """Largest entry of dE/d(group) for zero input from a zero state, by automatic differentiation."""
    d = cell.ode.hidden_size
    y = z = torch.zeros(d, dtype=f64)
    loss = torch.zeros((), dtype=f64)
    for _ in range(steps):
        y, z = cell(torch.zeros(cell.ode.input_size, dtype=f64), (y, z))
        loss = loss + 0.5 * (y - target).square().sum()
    (g,) = torch.autograd.grad(loss / steps, cell.ode.bias)
    return float(g.chunk(4)["12zy".index(group[1])].abs().max())


def network(d, dt, gate_bias, **weights):
    """All parameters zero but the gate biases b1 = b2 and the weights that are given."""
    cell = LEMCell(1, d, dt=dt, dtype=f64)
    with torch.no_grad():
        for p in cell.parameters():
            p.zero_()
        for name, value in weights.items():
            getattr(cell.ode.blocks(), name).copy_(value)
        cell.ode.bias[: 2 * d] = gate_bias
    return cell


# %%
# 1. The number of units
# ----------------------
# **Statement.** N = 1, :math:`\Delta t = 1`, the first column of :math:`W_y` equal to :math:`\eta = 1/\sqrt2`, all other weights zero, open gates, and a
# far target: for d = 17 the gradient by :math:`b_{z,1}` exceeds the display; for d = 16 it does not.
#
# **Proof.** From the zero state with zero input :math:`\hat z = \hat y = 0` and, with open gates, :math:`\ell_1 = \ell_2 = 1`. Hence
# :math:`\partial y_1/\partial b_{z,1} = S e_1 = W_y e_1`, and with a target of :math:`\bar Y` in every unit
# :math:`|\partial E/\partial b_{z,1}| = \bar Y\, d\,\eta`. The display is :math:`(1 + \bar Y)(1 + \Gamma_\eta) = (1 + \bar Y)(3 + 8\eta + 6\eta^2)`. As
# :math:`\bar Y \to \infty` it is violated once
#
# .. math:: d > \frac{3 + 8\eta + 6\eta^2}{\eta}, \qquad \min_\eta \frac{3 + 8\eta + 6\eta^2}{\eta} = 8 + 2\sqrt{18} = 16.49 \quad \text{at } \eta = 1/\sqrt2 ,
#
# which lies between 16 and 17. ∎
#
# So a factor d, or column norms as in :math:`G_1`, or a loss that is averaged over units, is needed. It is needed at second order in time only,
# which is what :math:`G_{ref}` says.

eta = sp.Symbol("eta", positive=True)
ratio = (3 + 8 * eta + 6 * eta**2) / eta
assert sp.expand(1 + 2 * (1 + eta) * (1 + 3 * eta) - ratio * eta) == 0
assert sp.solve(sp.diff(ratio, eta), eta) == [sp.sqrt(2) / 2]
assert sp.simplify(ratio.subs(eta, 1 / sp.sqrt(2)) - (8 + 2 * sp.sqrt(18))) == 0

ratios = {}
for d in (16, 17, 18):
    column = torch.zeros(d, d, dtype=f64)
    column[:, 0] = 1 / math.sqrt(2)
    cell = network(d, 1.0, 40.0, Wy=column)
    actual = gradient(cell, 1, torch.full((d,), 1e4, dtype=f64), "bz")
    ratios[d] = actual / recollected_bound(cell, 1, 1e4)
    for kind in ("inf", "one", "ref", "recursion"):
        assert actual <= gradient_bound(cell, 1, 1 + 1e4, "bz", kind) * (1 + 1e-9)
assert ratios[16] < 1 < ratios[17] < ratios[18]
assert 1.03 < ratios[17] < 1.032

# %%
# 2. Long times
# -------------
# **Statement.** d = 1, zero input, open gates, :math:`W_z = W_y = 3`, :math:`\Delta t = 0.1`, N = 100, :math:`\bar y = 1`: the gradient by :math:`b_z` is more than
# 1000 times the display.
#
# **Why.** Near the zero state the linearised pair is :math:`\dot z = -z + w_z y`, :math:`\dot y = -y + w_y z`, with eigenvalues :math:`-1 \pm \sqrt{w_z w_y}`.
# For :math:`w_z w_y > 1` one of them is positive, sensitivities grow like :math:`e^{(\sqrt{w_z w_y} - 1) t}`, and no polynomial in t with coefficients that
# depend on the norms only can bound them. The bounds with :math:`A(N, \Delta t, \Gamma)` are exponential and do.

wz, wy = sp.symbols("w_z w_y", positive=True)
eigenvalues = sp.Matrix([[-1, wz], [wy, -1]]).eigenvals()
assert {sp.simplify(e) for e in eigenvalues} == {-1 - sp.sqrt(wz * wy), -1 + sp.sqrt(wz * wy)}

three = 3 * torch.ones(1, 1, dtype=f64)
cell = network(1, 0.1, 30.0, Wz=three, Wy=three)
actual = gradient(cell, 100, torch.ones(1, dtype=f64), "bz")
assert actual > 1000 * recollected_bound(cell, 100, 1.0)
for kind in ("inf", "one", "ref", "recursion"):
    assert actual <= gradient_bound(cell, 100, 2.0, "bz", kind) * (1 + 1e-9)

# %%
# 3. Where the display does hold
# ------------------------------
# **Statement.** For d = 1 the display bounds the gradient by every weight and bias whenever :math:`\Gamma_\eta t_N \le s_* = 5.1098\ldots`.
#
# **Proof.** :math:`\Gamma \le \Gamma_\eta`: by J1 and :math:`(b - 1)_+ \le b`,
# :math:`\Gamma \le \tfrac12\eta + \eta(1 + \Delta t\,\gamma_z) \le \tfrac32\eta + \eta\cdot\tfrac32\eta \le 2 + 8\eta + 6\eta^2`, since
# :math:`\gamma_z \le \tfrac32\eta`. A does not decrease in its last argument, and the quadratic form of ``gradient_bounds`` applies with
# :math:`\Gamma_\eta` for :math:`\Gamma` (its proof uses :math:`\Gamma \ge w_y - 1` only, which :math:`\Gamma_\eta` satisfies as well). ∎

assert sp.expand(2 * (1 + eta) * (1 + 3 * eta)) == 6 * eta**2 + 8 * eta + 2

# %%
# 4. In G_ref the constant must not be Gamma
# ------------------------------------------
# :math:`G_{ref}` uses :math:`b_e`, a bound on what couples different units, and not :math:`\Gamma \le b_e`, in which coupling may cancel against decay. With
# :math:`W_1 = W_2 = 0` and :math:`w_z = w_y = 1`, :math:`\Gamma = 0`; the formula for a z block with :math:`\Gamma` in the place of :math:`b_e` would be
# :math:`(1 + \bar Y)\Delta t\,|W_y|_1 A_0`, of second order in :math:`\Delta t`, although what enters z has time to reach y: the gradient is of the order
# of :math:`t_N^2`.

one = torch.ones(1, 1, dtype=f64)
cell = network(1, 0.1, 30.0, Wz=one, Wy=one)
assert growth_rate(cell) == 0.0
actual = gradient(cell, 20, torch.full((1,), -1.0, dtype=f64), "bz")
wrong = 2 * 0.1 * linear_growth(20, 0.1, 0.0)
assert actual > 1.5 * wrong
assert actual <= gradient_bound(cell, 20, 2.0, "bz", "ref")
