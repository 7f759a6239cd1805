r"""
Steps of different sizes (11.1)
===============================

Between uneven samples LEM takes steps of different sizes :math:`\Delta t_n`. What is proved a priori, for one size, holds then for the largest.

The state before a step is met with :math:`\ell_n = \varphi(\Delta t_n\,g)`, :math:`\varphi(x) = x` for LEM, which needs :math:`\Delta t_n \le 1`;
:math:`\varphi` is concave, grows, and :math:`\varphi(0) = 0`, :math:`\varphi(x) \le x`.

| Used by ``lemode.analysis.audit(..., dt=)``; tested as 11.1 in ``tests/properties``.
"""

import numpy as np
import torch

from lemode import LEM, LEMCell
from lemode.analysis import audit, jacobian_bound, step_jacobian

STATEMENTS = ("11.1",)

# %%
# **Statement (11.1).** Let a run take steps of sizes :math:`\Delta t_n \le \Delta t`. Then the bounds S1, J1, J3 to J7, 5.2, 6.2, G_inf, G_1, G_ref,
# G_rec and G_unif hold for it with :math:`\Delta t`, and the factor of one step in 5.4 with the *least* of the sizes. What is known by the gates met,
# J2, G_rec and G_adj a posteriori, reads the size of each step itself.
#
# **Proof.** *One step.* Each of J1, J3, J4, J5, J6 and of the bound on the inverse is made of nonnegative numbers and :math:`\Delta t_n` by sums,
# products, maxima, norms of matrices, which grow with their nonnegative entries, and by quotients whose denominators fall as :math:`\Delta t_n` grows. So
# it grows with :math:`\Delta t_n`. The same is true of :math:`\ell_n`, and with it of :math:`r_n = 1 - (1 - r_0) \prod_{k \le n} (1 - \ell_k)` of S1.
# Where 5.4 holds, :math:`1 - \varphi(\Delta t_n\,g_{\min})(1 - \Psi)` falls as :math:`\Delta t_n` grows.
#
# *Products and recursions.* A norm of a product, and a floor under one by the norms of inverses, is bounded factor by factor. The recursions of J7 and
# G_rec take :math:`s_{n-1}` to :math:`s_{n-1} + \Delta t\,G(s_{n-1}, \dots)`. With :math:`F_n(s)` the largest value that one step makes of s over all gates
# and targets: :math:`F_n` grows with s, as :math:`1 - \ell_n \ge 0`, and :math:`F_n(s) \le s + \Delta t_n\,G(s, \dots) \le s + \Delta t\,G(s, \dots)`,
# as :math:`G \ge 0`. If :math:`\bar s_{n-1} \ge s_{n-1}` then :math:`s_n \le F_n(s_{n-1}) \le F_n(\bar s_{n-1}) \le \bar s_n`, by induction. In the closed forms
# G_inf, G_1 and G_ref a gradient is a sum of sources, each at most a multiple of :math:`\Delta t_n \le \Delta t`, times products.
#
# *Uniform in time.* In G_unif a source is at most :math:`c\,\Delta t_n`, and what is left of it :math:`\prod_{k > n} (1 - \varphi_k (1 - \Psi))` with
# :math:`\varphi_k = \varphi(\Delta t_k\,g_{\min})`. As :math:`\varphi` is concave and zero at zero, :math:`\Delta t_n / \varphi_n` grows with :math:`\Delta t_n`, so that
# :math:`c\,\Delta t_n \le c\,\frac{\Delta t}{\varphi(\Delta t\,g_{\min})}\,\varphi_n`; and
# :math:`\sum_n \varphi_n (1 - \Psi) \prod_{k > n} (1 - \varphi_k (1 - \Psi)) = 1 - \prod_k (1 - \varphi_k (1 - \Psi)) \le 1`, a sum that telescopes.
#
# *Errors.* Over one step :math:`C \Delta t_n^2 \le C \Delta t^2`, and :math:`e_n \le (1 + \Delta t_n \Gamma) e_{n-1} + C \Delta t_n^2` as before. For the form that is
# uniform in time, with rate :math:`\lambda = g_{\min}(1 - \Psi)`: if :math:`e_{n-1} \le C' \Delta t / \lambda` then
# :math:`e_n \le (1 - \Delta t_n \lambda)\,C' \Delta t / \lambda + C' \Delta t_n^2 = C' \Delta t / \lambda - C' \Delta t_n (\Delta t - \Delta t_n) \le C' \Delta t / \lambda`. ∎
#
# The largest size cannot be replaced by a mean: one long step among short ones has a Jacobian of its own size.

# %%
# Check on networks
# -----------------
rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
for case in range(12):
    scheme = ("imex", "semi_implicit", "exponential")[case % 3]
    rnn = LEM(2, 3, dt=0.5, scheme=scheme, dtype=torch.float64)
    with torch.no_grad():
        for p in rnn.parameters():
            p.copy_(float(rng.choice([0.5, 2.0, 8.0])) * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    dt = torch.from_numpy(rng.uniform(1e-3, 1.0 if scheme == "imex" else 3.0, (25, 4)))
    u = torch.randn(25, 4, 2, generator=generator, dtype=torch.float64)
    report = audit(rnn, u, torch.randn(25, 4, 3, generator=generator, dtype=torch.float64), dt=dt)
    assert all(row.holds is not False for row in report.rows), report

cell = LEMCell(1, 2, dt=1.0, dtype=torch.float64)  # all gates half open, all candidates steep
with torch.no_grad():
    for p in cell.parameters():
        p.zero_()
    cell.ode.blocks().Wz.fill_(2.0)
zero = torch.zeros(2, dtype=torch.float64)
longest = step_jacobian(cell, (zero, zero), torch.zeros(1, dtype=torch.float64)).matrix().detach().abs().sum(-1).max()
cell.dt = 0.3
assert float(longest) > jacobian_bound(cell)  # that of a mean size is exceeded
print("All bounds hold with the largest of the sizes; that of a mean size does not.")
