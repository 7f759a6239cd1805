r"""
Exact gates without limits (7.3)
================================

Universality arguments for gated networks often freeze the gates at 1 with large biases and let an error :math:`\delta \to 0`. LEM does not need the limit.

| Tested as 7.3 in ``tests/properties``.
"""

import numpy as np
import sympy as sp
import torch

from lemode import LEMCell

STATEMENTS = ("7.3",)

# %%
# A two-layer tanh network, exactly
# ---------------------------------
# **Statement 7.3.** Let :math:`\Delta t = 2` and let all gate parameters vanish: :math:`W_1 = W_2 = 0`, :math:`V_1 = V_2 = 0`, :math:`b_1 = b_2 = 0`. Then one step of LEM is
#
# .. math:: z_n = \tanh(W_z y_{n-1} + V_z u_n + b_z), \qquad y_n = \tanh(W_y z_n + V_y u_n + b_y)
#
# for every initial state: a recurrent network with two tanh layers a step. Likewise any leak :math:`0 < \lambda < \Delta t` is attained exactly by
# :math:`b = \mathrm{logit}(\lambda/\Delta t)`. So in constructions that need gates with the values 1 and :math:`\lambda` in one network, choose :math:`\Delta t` larger than all
# of them; no bias tends to infinity, and a time scale :math:`\tau` enters through one bias of size :math:`O(\log\tau)` alone (7.1), with the number of units independent of
# :math:`\tau`.
#
# **Proof.** :math:`\hat\sigma(0) = \frac12`, so both leaks are :math:`2 \cdot \frac12 = 1` and :math:`z_n = z_{n-1} + (\hat z - z_{n-1}) = \hat z`; the same for y, with the new z in its
# argument. ∎
#
# **In floating point.** :math:`\hat\sigma(0)` and the leak are computed exactly. If the step is written as :math:`(1 - \ell) z + \ell\hat z`, the identity holds bit by bit. Written as
# :math:`z + \ell(\hat z - z)`, as in lemode, it holds up to rounding: :math:`\mathrm{fl}(z + \mathrm{fl}(\hat z - z))` differs from :math:`\hat z` by at most
# :math:`2^{-p} + 2^{-(p+1)}` in absolute value (p = 53 for float64), since :math:`|\hat z - z| \le 2` is rounded with an error of at most :math:`2^{-p}`, and the sum with one of at
# most :math:`2^{-(p+1)}` if its absolute value is at most 1; if not, it is rounded to :math:`\pm 1` (S4), and :math:`\hat z` is within :math:`2^{-p}` of that. It is *not* exact: take
# :math:`z = 1` and a tiny :math:`\hat z`.
#
# Note that :math:`\Delta t = 2` with open gates is outside the range :math:`\Delta t\,g \le 1` in general; here :math:`\Delta t\,g = 1` exactly (S2).

z, zh = sp.symbols("z zh", real=True)
leak = 2 * (1 / (1 + sp.exp(-sp.Integer(0))))
assert leak == 1
assert sp.expand(z + leak * (zh - z)) == zh

f64 = torch.float64
assert float(2 * torch.sigmoid(torch.zeros((), dtype=f64))) == 1.0

gen = torch.Generator().manual_seed(0)
d = 16
cell = LEMCell(3, d, dt=2.0, allow_large_dt=True, dtype=f64).requires_grad_(False)
for parameter in cell.parameters():
    parameter.copy_(torch.randn(parameter.shape, generator=gen, dtype=f64) / 4)
for block in ("W1", "W2", "V1", "V2", "b1", "b2"):
    getattr(cell.ode.blocks(), block).zero_()
B = cell.ode.blocks()

y, z = (2 * torch.rand(d, generator=gen, dtype=f64) - 1 for _ in range(2))
by, bz = y.clone(), z.clone()  # the same with the convex form of the step
worst = 0.0
for _ in range(200):
    u = torch.randn(3, generator=gen, dtype=f64)
    y_before = y
    y, z = cell(u, (y, z))
    z_net = torch.tanh(torch.nn.functional.linear(y_before, B.Wz) + torch.nn.functional.linear(u, B.Vz, B.bz))
    y_net = torch.tanh(torch.nn.functional.linear(z, B.Wy) + torch.nn.functional.linear(u, B.Vy, B.by))
    worst = max(worst, float((z - z_net).abs().max()), float((y - y_net).abs().max()))
    l = 2.0 * torch.sigmoid(torch.zeros(d, dtype=f64))
    zt = torch.tanh(torch.nn.functional.linear(by, B.Wz) + torch.nn.functional.linear(u, B.Vz, B.bz))
    bz = (1 - l) * bz + l * zt
    yt = torch.tanh(torch.nn.functional.linear(bz, B.Wy) + torch.nn.functional.linear(u, B.Vy, B.by))
    by = (1 - l) * by + l * yt
    assert torch.equal(bz, zt)
    assert torch.equal(by, yt)
assert worst <= 2.0**-53 + 2.0**-54

# the example in which the incremental form is not exact
assert np.float64(1.0) + (np.float64(1e-20) - np.float64(1.0)) != np.float64(1e-20)
