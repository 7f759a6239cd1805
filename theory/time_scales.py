r"""
Time scales from biases (7.1, 7.2)
==================================

A gate that depends on nothing but its bias, W = V = 0 in its rows, gives its unit one time scale. What bias for which scale, with what error?

| Computed by ``lemode.analysis.gate_bias`` and ``decay_error_bound``; measured along data by ``lemode.analysis.timescales``; tested as 7.1 and 7.2 in
| ``tests/properties``.
"""

import math

import numpy as np
import sympy as sp
import torch

from lemode import LEM, LEMCell
from lemode.analysis import decay_error_bound, gate_bias, timescales

STATEMENTS = ("7.1", "7.2")

# %%
# Two choices of the bias
# -----------------------
# **Statement 7.1.** Let :math:`\mathrm{logit}(p) = \log(p/(1 - p))`.
#
# - *Rate.* For a rate :math:`0 < g < 1`, :math:`b = \mathrm{logit}(g)` gives the ODE the rate g and LEM the leak :math:`\Delta t\, g`, which is the Euler step of that rate.
# - *Exact.* For :math:`0 < \lambda < \Delta t`, :math:`b = \mathrm{logit}(\lambda/\Delta t)` gives LEM the leak :math:`\lambda`. With
#   :math:`\lambda = 1 - e^{-\Delta t/\tau}`, admissible if this is below :math:`\Delta t`, in particular for every :math:`\tau \ge 1`, one step
#   decays by exactly :math:`e^{-\Delta t/\tau}`.
# - *Sensitivity.* :math:`\dfrac{d\log\lambda}{db} = 1 - \dfrac{\lambda}{\Delta t} \in (0, 1)`: a relative error :math:`\epsilon` in b is one of at most about :math:`|b|\epsilon` in
#   :math:`\lambda`, and :math:`|b| \approx \log(\tau)`. Scales up to 1e8 therefore cost two decimal digits at most, without parameters of extreme size.
#
# **Proof.** :math:`\hat\sigma(\mathrm{logit}(p)) = p`, and the leak is :math:`\Delta t\,\hat\sigma(b)`. For :math:`\tau \ge 1`,
# :math:`1 - e^{-\Delta t/\tau} < \Delta t/\tau \le \Delta t`. With :math:`\lambda = \Delta t\,\hat\sigma(b)`,
# :math:`d\log\lambda/db = \hat\sigma'/\hat\sigma = 1 - \hat\sigma(b)`, and :math:`\lambda(b(1 + \epsilon))/\lambda(b) = 1 + (1 - \hat\sigma)\,b\,\epsilon + O(\epsilon^2)`. ∎

b, dt, tau, p = sp.symbols("b dt tau p", positive=True)
sigma = 1 / (1 + sp.exp(-b))
assert sp.simplify(sigma.subs(b, sp.log(p / (1 - p))) - p) == 0
leak = dt * sigma
assert sp.simplify(sp.log(leak).diff(b) - (1 - leak / dt)) == 0

rng = np.random.default_rng(0)
eps = 2.0**-52
for _ in range(500):
    scale, step = 10 ** rng.uniform(0.1, 8), float(rng.choice([0.1, 0.5, 1.0]))
    bias = gate_bias(scale, step)
    cell = LEMCell(1, 1, dt=step, dtype=torch.float64).requires_grad_(False)
    for parameter in cell.parameters():
        parameter.zero_()
    cell.ode.bias[0] = bias
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    _, g = cell.ode.gates(zero, zero)[::-1]
    wanted = -math.expm1(-step / scale)
    # |b| eps from the bias, and a few eps for logit and sigmoid themselves
    assert abs(step * float(g) - wanted) <= (abs(bias) + 6) * eps * wanted
    z = cell(zero, (zero, one))[1]
    assert abs(float(z) - math.exp(-step / scale)) <= 4 * eps
    if scale > 1:
        assert (
            abs(1 / (1 + math.exp(-gate_bias(scale, step, mode="rate"))) - 1 / scale)
            <= (abs(math.log(scale)) + 6) * eps / scale
        )

# %%
# The time scale that ``timescales`` reports is the one that was set, :math:`\tau = \Delta t/\ell` with the leak of a rate, for every unit.

rnn = LEM(1, 3, dt=0.5, dtype=torch.float64).requires_grad_(False)
for parameter in rnn.parameters():
    parameter.zero_()
scales = np.array([2.0, 30.0, 1e5])
rnn.cells[0].ode.bias[:3] = torch.from_numpy(gate_bias(scales, 0.5, mode="rate"))
found = timescales(rnn, torch.zeros(5, 1, dtype=torch.float64), dt_physical=0.5)
assert np.allclose(found.median[0, 0], scales, rtol=1e-12)

# %%
# What the Euler leak costs
# -------------------------
# **Statement 7.2.** For :math:`0 \le x \le 1` and every :math:`n \ge 0`
#
# .. math:: 0 \le e^{-nx} - (1 - x)^n \le \tfrac{x}{2}\,e^{x - 1} \le \tfrac{x}{2} .
#
# With :math:`x = \Delta t\,g` it bounds the difference of LEM's decay from that of the ODE with the same rate, uniformly in time.
#
# **Proof.** :math:`0 \le 1 - x \le e^{-x}`, and :math:`e^{-x} \le 1 - x + x^2/2` for :math:`x \ge 0`. With :math:`\alpha = e^{-x} \ge \beta = 1 - x \ge 0`
#
# .. math:: 0 \le \alpha^n - \beta^n = (\alpha - \beta)\sum_{j=0}^{n-1} \alpha^{n-1-j}\beta^j \le \frac{x^2}{2}\, n\, e^{-(n-1)x} = \frac{x}{2}\,e^{x}\cdot (nx\,e^{-nx}) \le \frac{x}{2}\,e^{x}\,e^{-1},
#
# because :math:`s e^{-s} \le 1/e`. Finally :math:`x \le 1`. ∎

x, s, n = sp.symbols("x s n", positive=True)
remainder = 1 - x + x**2 / 2 - sp.exp(-x)
assert remainder.subs(x, 0) == 0
assert remainder.diff(x).subs(x, 0) == 0
assert sp.simplify(remainder.diff(x, 2) - (1 - sp.exp(-x))) == 0  # >= 0, so the remainder is convex with a double zero
assert sp.solve((s * sp.exp(-s)).diff(s), s) == [1]
assert sp.simplify(x**2 / 2 * n * sp.exp(-(n - 1) * x) - x / 2 * sp.exp(x) * n * x * sp.exp(-n * x)) == 0

grid, steps = np.linspace(1e-4, 1, 400)[:, None], np.arange(2000)
difference = np.exp(-steps * grid) - (1 - grid) ** steps
assert np.all(difference >= -1e-14)
ratio = difference / decay_error_bound(grid)
assert np.allclose(decay_error_bound(grid), grid / 2 * np.exp(grid - 1), rtol=1e-14)
assert ratio.max() <= 1 + 1e-9
assert ratio.max() > 0.98  # sharp as x tends to 0
