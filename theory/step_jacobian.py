r"""
The Jacobian of one step
========================

LEM maps the state (z, y) and an input u to

.. math::

    z' &= z + \ell_1 (\hat z - z), & \ell_1 &= \Delta t\, g_1, & g_1 &= \hat\sigma(W_1 y + V_1 u + b_1), & \hat z &= \tanh(W_z y + V_z u + b_z) \\
    y' &= y + \ell_2 (\hat y - y), & \ell_2 &= \Delta t\, g_2, & g_2 &= \hat\sigma(W_2 y + V_2 u + b_2), & \hat y &= \tanh(W_y z' + V_y u + b_y)

with all products of vectors componentwise. **Blocks are always ordered (z, y)**, the order in which the step computes them.

**Statement (section 3).** With the diagonal matrices and products

.. math::

    A &= \mathrm{diag}(1 - \ell_1), & B &= \mathrm{diag}(\ell_1 (1 - g_1)(\hat z - z)) W_1 + \mathrm{diag}(\ell_1 (1 - \hat z^2)) W_z, \\
    S &= \mathrm{diag}(\ell_2 (1 - \hat y^2)) W_y, & D &= \mathrm{diag}(1 - \ell_2) + \mathrm{diag}(\ell_2 (1 - g_2)(\hat y - y)) W_2,

the Jacobian is

.. math::

    J = \frac{\partial (z', y')}{\partial (z, y)} = \begin{pmatrix} A & B \\ S A & D + S B \end{pmatrix}
      = J_Q J_P, \qquad J_P = \begin{pmatrix} A & B \\ 0 & I \end{pmatrix}, \quad J_Q = \begin{pmatrix} I & 0 \\ S & D \end{pmatrix},

the derivatives by the input are

.. math::

    U_z = \frac{\partial z'}{\partial u} &= \mathrm{diag}(\ell_1 (1 - g_1)(\hat z - z)) V_1 + \mathrm{diag}(\ell_1 (1 - \hat z^2)) V_z, \\
    U_y = \frac{\partial y'}{\partial u} &= \mathrm{diag}(\ell_2 (1 - g_2)(\hat y - y)) V_2 + \mathrm{diag}(\ell_2 (1 - \hat y^2)) V_y + S U_z,

and the derivative by a single parameter in row i is, with a scalar :math:`\mu`, the number that multiplies the parameter
(:math:`y_j` in W1, W2, Wz, the new :math:`z'_j` in Wy, :math:`u_j` in V, 1 in b),

.. math::

    W_1, V_1, b_1: &\quad (a\mu\, e_i,\ a\mu\, S e_i), & a &= \ell_{1,i} (1 - g_{1,i})(\hat z_i - z_i) \\
    W_z, V_z, b_z: &\quad (a\mu\, e_i,\ a\mu\, S e_i), & a &= \ell_{1,i} (1 - \hat z_i^2) \\
    W_2, V_2, b_2: &\quad (0,\ a\mu\, e_i), & a &= \ell_{2,i} (1 - g_{2,i})(\hat y_i - y_i) \\
    W_y, V_y, b_y: &\quad (0,\ a\mu\, e_i), & a &= \ell_{2,i} (1 - \hat y_i^2) .

**Proof.** The step is the composition of P: :math:`(z, y) \mapsto (z', y)` and Q: :math:`(z', y) \mapsto (z', y')`, since :math:`z'` does not
depend on :math:`y'`, and :math:`y'` depends on z only through :math:`z'`. By the chain rule :math:`J = J_Q J_P`, with J_Q taken at
:math:`z'`. The logistic function satisfies :math:`\hat\sigma' = \hat\sigma(1 - \hat\sigma)` and tanh satisfies :math:`\tanh' = 1 - \tanh^2`; so

.. math:: \frac{\partial \ell_1}{\partial y} = \mathrm{diag}(\ell_1 (1 - g_1)) W_1, \qquad \frac{\partial \hat z}{\partial y} = \mathrm{diag}(1 - \hat z^2) W_z,

and the product rule applied to :math:`z + \ell_1(\hat z - z)` gives A by z and B by y. In the same way Q has the derivatives S by
:math:`z'` and D by y. The same computation with V in the place of W gives :math:`U_z` and, :math:`y'` depending on u directly and
through :math:`z'`, :math:`U_y`; with a single parameter in the place of u it gives the last display, where the :math:`z'` part of the
first two lines reaches :math:`y'` through S. ∎

| Computed by ``lemode.analysis.step_jacobian``, ``input_jacobian``, ``parameter_jacobian``; tested as 3 in ``tests/properties``.
"""

import sympy as sp
import torch

from lemode import LEMCell
from lemode.analysis import input_jacobian, parameter_jacobian, step_jacobian

STATEMENTS = ("3",)

# %%
# Symbolic check
# --------------
# The step for d = 2 units and m = 1 input with every parameter a symbol, differentiated by sympy. The two activations are abstract
# functions that know nothing but their differential equations, so that what is compared are polynomials.


class Sigma(sp.Function):
    """Logistic function: only its derivative is known."""

    def fdiff(self, argindex=1):
        return self * (1 - self)


class Tanh(sp.Function):
    """Hyperbolic tangent: only its derivative is known."""

    def fdiff(self, argindex=1):
        return 1 - self**2


d, dt, u = 2, sp.Symbol("dt"), sp.Symbol("u")
z, y = sp.Matrix(sp.symbols("z0:2")), sp.Matrix(sp.symbols("y0:2"))
W = {k: sp.Matrix(2, 2, sp.symbols(f"W{k}_0:4")) for k in "12zy"}
V = {k: sp.Matrix(2, 1, sp.symbols(f"V{k}_0:2")) for k in "12zy"}
b = {k: sp.Matrix(2, 1, sp.symbols(f"b{k}_0:2")) for k in "12zy"}
had = sp.Matrix.multiply_elementwise
one = sp.ones(2, 1)

g1 = (W["1"] * y + V["1"] * u + b["1"]).applyfunc(Sigma)
g2 = (W["2"] * y + V["2"] * u + b["2"]).applyfunc(Sigma)
l1, l2 = dt * g1, dt * g2
zh = (W["z"] * y + V["z"] * u + b["z"]).applyfunc(Tanh)
z_new = z + had(l1, zh - z)
yh = (W["y"] * z_new + V["y"] * u + b["y"]).applyfunc(Tanh)
y_new = y + had(l2, yh - y)
new = sp.Matrix([*z_new, *y_new])


def diag(v):
    return sp.diag(*v)


def same(actual, formula):
    return all(sp.expand(e) == 0 for e in actual - formula)


gate_z, cand_z = had(had(l1, one - g1), zh - z), had(l1, one - had(zh, zh))
gate_y, cand_y = had(had(l2, one - g2), yh - y), had(l2, one - had(yh, yh))
J_A, J_B = diag(one - l1), diag(gate_z) * W["1"] + diag(cand_z) * W["z"]
J_S, J_D = diag(cand_y) * W["y"], diag(one - l2) + diag(gate_y) * W["2"]
J_P = sp.Matrix(sp.BlockMatrix([[J_A, J_B], [sp.zeros(2), sp.eye(2)]]))
J_Q = sp.Matrix(sp.BlockMatrix([[sp.eye(2), sp.zeros(2)], [J_S, J_D]]))
J = sp.Matrix(sp.BlockMatrix([[J_A, J_B], [J_S * J_A, J_D + J_S * J_B]]))
assert same(J_Q * J_P, J)
assert same(new.jacobian([*z, *y]), J)

U_z = diag(gate_z) * V["1"] + diag(cand_z) * V["z"]
U_y = diag(gate_y) * V["2"] + diag(cand_y) * V["y"] + J_S * U_z
assert same(new.jacobian([u]), sp.Matrix([*U_z, *U_y]))

coefficient = {"1": gate_z, "z": cand_z, "2": gate_y, "y": cand_y}
for letter, a in coefficient.items():
    for i in range(d):
        e_i = sp.eye(2)[:, i]
        source = sp.Matrix([*e_i, *(J_S * e_i)]) if letter in "1z" else sp.Matrix([0, 0, *e_i])
        multiplied_by = z_new if letter == "y" else y
        for j in range(d):
            assert same(new.diff(W[letter][i, j]), a[i] * multiplied_by[j] * source)
        assert same(new.diff(V[letter][i]), a[i] * u * source)
        assert same(new.diff(b[letter][i]), a[i] * source)

# %%
# The code computes it
# --------------------
# against automatic differentiation of the step itself, for every scheme that is LEM with another leak (see ``unconditional_schemes``).

f64 = torch.float64
gen = torch.Generator().manual_seed(0)
groups = ["W1", "W2", "Wz", "Wy", "V1", "V2", "Vz", "Vy", "b1", "b2", "bz", "by"]
for scheme in ("imex", "semi_implicit", "exponential"):
    cell = LEMCell(2, 3, dt=0.8, scheme=scheme, dtype=f64)
    with torch.no_grad():
        for p in cell.parameters():
            p.copy_(torch.randn(p.shape, generator=gen, dtype=f64))
    state = (torch.randn(3, generator=gen, dtype=f64), torch.randn(3, generator=gen, dtype=f64))
    v = torch.randn(2, generator=gen, dtype=f64)

    def step(x, v, cell=cell):
        y, z = cell.scheme.step(cell.ode, (x[3:], x[:3]), v, cell.dt)
        return torch.cat([z, y])

    x = torch.cat([state[1], state[0]])
    by_x, by_v = torch.autograd.functional.jacobian(step, (x, v))
    # 1e-14: a handful of roundings of numbers of size 1
    assert torch.allclose(step_jacobian(cell, state, v).matrix(), by_x, rtol=0, atol=1e-14)
    dy, dz = input_jacobian(cell, state, v)
    assert torch.allclose(torch.cat([dz, dy]), by_v, rtol=0, atol=1e-14)
    out = step(x, v)
    rows = [torch.autograd.grad(o, list(cell.ode.parameters()), retain_graph=True) for o in out]
    ih, hh, zy, bias = (torch.stack(g) for g in zip(*rows))  # V stacked, (W1 W2 Wz) stacked, Wy, b stacked
    blocks = [*hh.chunk(3, 1), zy, *ih.chunk(4, 1), *bias.chunk(4, 1)]
    named = dict(zip([name for name, _ in cell.ode.named_parameters()], (ih, hh, zy, bias)))
    assert list(named) == ["weight_ih", "weight_hh", "weight_zy", "bias"]
    for group, actual in zip(groups, blocks):
        dy, dz = parameter_jacobian(cell, state, v, group)
        assert torch.allclose(torch.cat([dz, dy]), actual, rtol=0, atol=1e-14), group
