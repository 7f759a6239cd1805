r"""
State bounds (S1, S2, S3)
=========================

How large can the state of LEM get? One component of z in one step is

.. math:: z_n = (1 - \ell_n)\, z_{n-1} + \ell_n \hat z_n, \qquad \ell_n = \Delta t\, g_n, \quad 0 < g_n < 1, \quad |\hat z_n| < 1 ,

with :math:`\hat z_n` the hyperbolic tangent, and y obeys the same equation with its own gates. Nothing else about the network is used
here, so that every statement holds for every weight and input, component by component, for z and for y.

| Computed by ``lemode.analysis.state_radius``; tested as S1 to S3 in ``tests/properties``.
"""

import numpy as np
import sympy as sp
import torch

from lemode import LEMCell
from lemode.analysis import state_radius

STATEMENTS = ("S1", "S2", "S3")

# %%
# S1: the cube is invariant, and how the state fills it
# -----------------------------------------------------
# **Statement.** Let :math:`0 < \Delta t \le 1`. For every real :math:`z_0` and all n
#
# .. math:: |z_n| \;\le\; 1 - (1 - |z_0|) \prod_{k=1}^n (1 - \Delta t\, g_k) .
#
# Hence from :math:`|z_0| \le 1` the state stays in the unit cube; from :math:`z_0 = 0`
#
# .. math:: |z_n| \le 1 - \prod_{k=1}^n (1 - \Delta t\, g_k) \le r_n := 1 - (1 - \Delta t)^n \le \min(1, t_n), \qquad t_n = n \Delta t ,
#
# and from :math:`|z_0| > 1` the excess decays: :math:`|z_n| - 1 \le (|z_0| - 1) \prod_k (1 - \Delta t\, g_k)`.
#
# **Proof.** Here :math:`\ell \in (0, 1)`, as :math:`g < 1`. The triangle inequality and :math:`|\hat z| \le 1` give
# :math:`|z_n| \le (1 - \ell_n)|z_{n-1}| + \ell_n`, that is,
#
# .. math:: 1 - |z_n| \;\ge\; (1 - \ell_n)\,(1 - |z_{n-1}|) .
#
# Since :math:`1 - \ell_n \ge 0`, this may be iterated whatever the sign of :math:`1 - |z_0|`:
# :math:`1 - |z_n| \ge (1 - |z_0|) \prod_k (1 - \ell_k)`, which is the first display and, with the sign changed, the last.
# With :math:`z_0 = 0`, :math:`\ell_k \le \Delta t` bounds the product from below by :math:`(1 - \Delta t)^n`, and Bernoulli's inequality
# :math:`(1 - \Delta t)^n \ge 1 - n \Delta t` gives :math:`r_n \le t_n`. For y replace the index. ∎
#
# **Sharp.** With constant saturated gates and candidates, :math:`g \to 1` and :math:`\hat z \to 1`, every inequality above tends to an
# equality: the supremum of :math:`|z_n|` over all networks and inputs is :math:`r_n`.
#
# **Consequence.** As :math:`\min(1, t_n) \le \min(1, \sqrt{t_n})`, any bound of the form :math:`\min(1, c \sqrt{t_n})` with
# :math:`c \ge 1` follows and is strictly weaker; with :math:`c < 1` such a bound is false at :math:`\Delta t = 1`, n = 1, where the
# supremum is 1.

l, z, zhat = sp.symbols("l z zhat", real=True)
# the one algebraic step: 1 - ((1 - l)|z| + l) = (1 - l)(1 - |z|)
assert sp.expand(1 - ((1 - l) * sp.Abs(z) + l) - (1 - l) * (1 - sp.Abs(z))) == 0

for dt in (0.01, 0.3, 1.0):  # attained in the limit g = zhat = 1
    x = 0.0
    for n in range(1, 60):
        x = (1 - dt) * x + dt
        assert abs(x - state_radius(dt, n)) < 1e-14 * (n + 1)  # rounded outward
        assert state_radius(dt, n) <= min(1.0, n * dt) * (1 + 1e-14)  # rounded outward

# %%
# and on networks: weights of any size, initial states inside and outside the cube.

gen = torch.Generator().manual_seed(0)
f64 = torch.float64
for scale in (0.3, 1.0, 10.0):
    for dt in (0.05, 0.7, 1.0):
        cell = LEMCell(2, 4, dt=dt, dtype=f64)
        with torch.no_grad():
            for p in cell.parameters():
                p.copy_(scale * torch.randn(p.shape, generator=gen, dtype=f64))
            y = 3 * torch.randn(50, 4, generator=gen, dtype=f64)
            z0 = state = 3 * torch.randn(50, 4, generator=gen, dtype=f64)
            y0, gates = y, []
            for _ in range(40):
                u = torch.randn(50, 2, generator=gen, dtype=f64)
                gates.append(torch.stack(cell.ode.gates(y, u)))
                y, state = cell(u, (y, state))
        g = torch.stack(gates).numpy()
        for k, (start, end) in enumerate(((z0, state), (y0, y))):
            bound = state_radius(dt, 40, gates=g[:, k], x0=start.abs().numpy())
            # tolerance: 40 steps, each with a handful of roundings of numbers below 15
            assert np.all(end.abs().numpy() <= bound + 40 * 15 * 2.3e-16)

# %%
# S2: what invariance needs
# -------------------------
# **Statement.** The cube is mapped into itself for every candidate if and only if :math:`\Delta t\, g \le 1` for the gate met. So a
# :math:`\Delta t > 1` is admissible as long as the gates that occur stay below :math:`1/\Delta t`.
#
# **Proof.** For :math:`\ell \le 1` the step is a convex combination of two numbers in [-1, 1]. For :math:`\ell > 1` take
# :math:`z_{n-1} = -1`: then :math:`z_n = \ell - 1 + \ell \hat z > 1` as soon as :math:`\hat z > (2 - \ell)/\ell`, which is a number below
# 1 and so is exceeded by some value of the hyperbolic tangent. ∎

step = (1 - l) * z + l * zhat
threshold = sp.solve(sp.Eq(step.subs(z, -1), 1), zhat)[0]
assert sp.simplify(threshold - (2 - l) / l) == 0
assert sp.simplify(1 - threshold - 2 * (l - 1) / l) == 0  # positive exactly for l > 1

# %%
# S3: beyond dt = 1
# -----------------
# **Statement.** Let :math:`\Delta t > 1` and :math:`z_0 = 0`. Then
#
# .. math:: |z_n| \le R_n, \qquad R_n = \frac{\Delta t \left((\Delta t - 1)^n - 1\right)}{\Delta t - 2} \quad (\Delta t \ne 2), \qquad
#           R_n = 2 n \quad (\Delta t = 2) .
#
# For :math:`1 \le \Delta t < 2` the cube of radius :math:`R = \Delta t / (2 - \Delta t)` is invariant. Both are best possible, R being
# the limit of :math:`R_n`; it tends to infinity as :math:`\Delta t \to 2`, and no bounded set is invariant from there on.
#
# **Proof.** If :math:`\ell \le 1` then :math:`|z_n| \le \max(|z_{n-1}|, 1)`. If :math:`1 < \ell < \Delta t` then
# :math:`|z_n| \le (\ell - 1)|z_{n-1}| + \ell \le (\Delta t - 1)|z_{n-1}| + \Delta t`. So :math:`|z_n| \le f(|z_{n-1}|)` with
#
# .. math:: f(R) = \max\{R,\ (\Delta t - 1) R + \Delta t\} ,
#
# where 1 could be dropped from the maximum since :math:`\Delta t > 1`. f does not decrease. The second entry is the larger one if and
# only if :math:`(2 - \Delta t) R \le \Delta t`: always for :math:`\Delta t \ge 2`, and for :math:`R \le \Delta t/(2 - \Delta t)`
# otherwise.
#
# *From zero.* Let :math:`R_0 = 0`, :math:`R_n = (\Delta t - 1) R_{n-1} + \Delta t`; the closed form above solves this recursion. For
# :math:`\Delta t < 2` all :math:`R_n` lie below the fixed point :math:`R = \Delta t/(2 - \Delta t)`, so that in either case
# :math:`f(R_{n-1}) = R_n` and, by induction, :math:`|z_n| \le R_n`.
#
# *Invariance.* For :math:`1 \le \Delta t < 2`, :math:`f(R) = R` at :math:`R = \Delta t/(2 - \Delta t)`, because both entries are equal
# there; so :math:`|z_{n-1}| \le R` implies :math:`|z_n| \le R`.
#
# *Sharpness.* With :math:`g \to 1` and candidates that alternate between :math:`\pm 1` so as to oppose the sign of :math:`z_{n-1}`,
# :math:`|z_n| = (\Delta t - 1)|z_{n-1}| + \Delta t` in the limit: :math:`R_n` is the supremum of :math:`|z_n|`. An invariant set that
# contains 0 must therefore have radius :math:`\sup_n R_n`, which is R for :math:`\Delta t < 2` and infinite for
# :math:`\Delta t \ge 2`. ∎

dt, n = sp.symbols("dt n", positive=True)
R = dt * ((dt - 1) ** n - 1) / (dt - 2)
assert sp.simplify(R.subs(n, n + 1) - ((dt - 1) * R + dt)) == 0
assert sp.simplify(R.subs(n, 1) - dt) == 0
assert sp.limit(R.subs(n, 3), dt, 2) == 6
fixed = dt / (2 - dt)
assert sp.simplify((dt - 1) * fixed + dt - fixed) == 0

for step_size in (1.2, 1.9, 2.0, 2.5):  # attained by alternating saturated candidates
    x = 0.0
    for k in range(1, 30):
        x = (1 - step_size) * x - np.sign(x or -1.0) * step_size
        assert abs(abs(x) - state_radius(step_size, k)) <= 1e-12 * abs(x)
