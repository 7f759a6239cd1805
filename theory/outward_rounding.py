r"""
How bounds are rounded (10.1 to 10.3)
=====================================

A bound that is computed in the nearest rounding may lie below what it bounds, by a unit in the last place or, where like numbers are subtracted,
by more. Every number that lemode calls a bound is rounded *outward*: up for a bound, down for a floor. Arithmetic is float64 in the nearest
rounding, unit roundoff :math:`u = 2^{-53}`, as the processor does it, with fused products or without, sums in any order.

*Weights.* Those of a float32 network are numbers of float64 too, and are taken as they are: what is bounded is the network of exactly these weights.
What its *run* in float32 rounds by is another matter. Of S1 it is settled by S4, the cube being kept to the last bit; in a tube and a
certified horizon it is a defect of each step, :math:`\bar\rho` in ``along_data``. An audit runs the weights in float64.

*What is assumed.* That exp, log1p, expm1, tanh and the sigmoid of NumPy, torch and the C library err by at most 8 u, relatively (4 units in the last place), and are
monotone enough to stay within their ranges. LAPACK is not trusted for a bound: the spectral norm comes from a decomposition whose residual is bounded. It is for the measured
2-norm of an audit.

| Computed by ``lemode.analysis.rounding``, ``lemode.analysis.engine``, ``lemode.analysis.adjoint``; tested as 10.1 to 10.3 in ``tests/properties``, and by
| ``benchmarks/rounding.py`` on 100,000 cases.
"""

from fractions import Fraction

import mpmath
import numpy as np
import torch

from lemode import LEMCell, kernels
from lemode.analysis import lem_G
from lemode.analysis.adjoint import adjoint, steps_along
from lemode.analysis.rounding import TINY, U, norm2_above, outward, power_above

STATEMENTS = ("10.1", "10.2", "10.3")

# %%
# Values without cancellation
# ---------------------------
# **Statement (10.1).** (a) Let v be a nonnegative value that is made of nonnegative numbers by sums, products and quotients, with at most k of them on any path from an
# input to v, and :math:`\hat v` what is computed for it. If :math:`(k + 8)\,u \le 10^{-3}`, then :math:`v \le \mathrm{fl}(\hat v\,(1 + 2(k + 8)u) + t)`, where
# :math:`t = 10^{-300}` is above what underflow has taken, as long as that has not been multiplied by more than :math:`10^{8}`.
#
# (b) With :math:`x > -1, n \ge 0`, :math:`E = n \log(1 + x)` and functions that err by F u, what is computed for :math:`e^E - 1` errs by at most
# :math:`(2F + 2)(|E| + 1)\,u` relatively if E > 0, and :math:`(2F + 2)\,u` if E < 0.
#
# (c) For a matrix A and any :math:`U, \Sigma, V`: :math:`\|A\|_2 \le \sigma_1\sqrt{(1 + \|U^TU - I\|_F)(1 + \|V^TV - I\|_F)} + \|A - U\Sigma V^T\|_F`.
#
# **Proof.** (a) Each operation multiplies by :math:`1 + \delta` or its inverse, :math:`|\delta| \le u`; with nonnegative numbers a sum of values, each of them wrong by a factor
# between :math:`(1 - u)^k` and :math:`(1 - u)^{-k}`, is wrong by no other factor. So :math:`v \le \hat v\,(1 - u)^{-k} \le \hat v\,(1 + k u/(1 - k u))`, and the three roundings
# in the enlargement itself take less than 4 u of the :math:`(k + 16)\,u` that are left. A result below :math:`2^{-1022}` errs by at most
# :math:`2^{-1075}` instead; a thousand of these, times :math:`10^8`, are below t. (b) The exponent has a relative error of :math:`(F + 1)u`, so that :math:`e^E - 1` changes by a factor of at most
# :math:`1 + (F + 1)u\,\max |E| e^{E}/|e^{E} - 1|`, and the quotient is at most :math:`E + 1` for E > 0 and at most 1 for E < 0. Add F u for expm1.
# (c) :math:`A = U\Sigma V^T + (A - U\Sigma V^T)` and :math:`\|U\|_2^2 = \|U^TU\|_2 \le 1 + \|U^TU - I\|_2`. ∎
#
# Where something is subtracted, it is rounded the other way: :math:`1 - \Psi` with :math:`\Psi` from above, :math:`A - A_0` with :math:`A_0` from below, the denominators of 5.2, the argument of the least gate by
# the error of its sum. A recursion is rounded up at every step, which is allowed because the proofs of G_rec and J7 hold for *any* numbers above the sensitivities.

rng = np.random.default_rng(0)
for _ in range(300):
    numbers = 10.0 ** rng.uniform(-6, 6, rng.integers(1, 200))
    assert Fraction(float(outward(numbers.sum(), len(numbers)))) >= sum(map(Fraction, numbers))
mpmath.mp.dps = 50
for _ in range(300):
    x, n = float(10.0 ** rng.uniform(-12, 1)), int(10 ** rng.uniform(0, 3))
    assert mpmath.mpf(float(power_above(x, n))) >= mpmath.expm1(n * mpmath.log1p(mpmath.mpf(x)))
for n in (2, 3, 5):
    A = rng.standard_normal((n, n))
    assert mpmath.mpf(norm2_above(A)) >= max(mpmath.svd_r(mpmath.matrix(A.tolist()), compute_uv=False))

# %%
# The maximum G
# -------------
# G of ``engine_functions`` is the largest value of :math:`p(g) = g[-s + \psi_r((1-g)A, B)]` at some points, which are themselves rounded, and its bracket may cancel.
#
# **Statement (10.2).** What is computed lacks at most :math:`64\,u\,T` of G, with :math:`T = |B - s| + 2(1 + r)A` if :math:`A > 2B` and
# :math:`T = |B - s| + rA + A^2/(4B)` otherwise; unless :math:`\psi_r(A, B) \le s`, where G = 0. If :math:`B \ge s` that is a relative error.
#
# **Proof.** Scaling by a power of two is exact, so B - s is wrong by its own rounding only. *The value at a point.* For a given float g the terms of the bracket, B - s, r a and
# :math:`a^2/(4B)` with a = (1 - g)A, are each computed within 8 u; as :math:`a \le A` and g lies in [0, 1], p errs by at most :math:`8u\,T`; in the first piece the terms are :math:`(1 + r)a` and s, and there
# :math:`s < (1 + r)A` since otherwise G = 0. p at any point is at most G, so that nothing is lost by an ill-chosen one. *The point.* The maximum is at g = 0 or 1, at the meeting point, at the vertex of the first piece, a parabola, or at the local
# maximum of the cubic :math:`p = (1 - q)(kq^2 + rAq + B - s)`, q = 1 - g, :math:`k = A^2/(4B)`. Its leading coefficient is negative, so that is at the **larger** root of
# :math:`3kq^2 - 2(k - rA)q - (rA - B + s) = 0`, of which q is computed as :math:`\frac13(P + \sqrt{P^2 + 3cQ})` with P = 1 - 2rc, c = 2B/A, :math:`Q = 2r + 2(s - B)/A`, or, if P < 0, from the product of
# the roots, so without cancellation. Every rounding in it, that of :math:`P^2` included, is a relative change of at most 16 u of one of the numbers k, rA, B - s in the coefficients :math:`k`, :math:`k - rA`,
# :math:`rA - B + s`: the computed q is the exact root of a cubic :math:`\tilde p` with such coefficients. On the part of [0, 1] where :math:`qA \le 2B`, :math:`kq^2 \le \min(B, A^2/(4B), A/2)`, so that
# :math:`|\tilde p - p| \le 16u\,T`. Hence :math:`p(q) \ge \tilde p(q) - 16uT = \max \tilde p - 16uT \ge \max p - 32uT`; with the 8 u of the value that is 40 u. The vertex and the meeting point are rounded within 4 u,
# where p has the slope 0, or at most T. The simple bound :math:`G \le (B - s)_+ + (1 + r)A/4` of ``engine_functions`` is taken where it is smaller, and where :math:`A < 10^{-140}\max(B, s)`, as there c and Q overflow. ∎


def brute(s, A, B, r):
    """On a grid of 50 digits: from below."""
    s, A, B, r = map(mpmath.mpf, (s, A, B, r))
    best = mpmath.mpf(0)
    for g in mpmath.linspace(0, 1, 65):
        a = (1 - g) * A
        best = max(best, g * (-s + (r * a + B + a * a / (4 * B) if B > 0 and a <= 2 * B else (1 + r) * a)))
    return best


for _ in range(150):
    s, A, B = 10.0 ** rng.uniform(-8, 8, 3) * rng.integers(0, 2, 3)
    B = s * (1 + int(rng.integers(-3, 4)) * 2.0**-52) if rng.integers(2) else B
    r = float(rng.integers(2))
    assert mpmath.mpf(lem_G(s, A, B, r)) >= brute(s, A, B, r)

# %%
# The adjoint along given states
# ------------------------------
# G_adj, and every gradient that an audit measures, is a sum over time of an adjoint. It is to be known how far the computed one is from the exact one of the same states, without a factor that grows with
# the number of steps where perturbations die out.
#
# **Statement (10.3).** Let :math:`\hat\lambda_n = \mathrm{fl}(\hat\lambda_{n+1} \hat J_{n+1} + v_n)` with :math:`\|\,|\hat J_n - J_n|\,\|_\infty \le \epsilon_n`, the exact Jacobians :math:`J_n`, and
# :math:`\rho_n \ge \|\,|J_n|\,\|_\infty` in the sense of J2. Put :math:`\eta_n = (\epsilon_{n+1} + \gamma\rho_{n+1})|\hat\lambda_{n+1}|_1 + 2u\,|\hat\lambda_n|_1` with :math:`\gamma = 2(3d + 12)u`. Then for every :math:`n < m`
#
# .. math:: |\hat\lambda_n - \lambda_n|_1 \le \|J_m \cdots J_{n+1}\|_\infty\,|\hat\lambda_m - \lambda_m|_1 + \sum_{n \le k < m} \|J_k \cdots J_{n+1}\|_\infty\,\eta_k .
#
# **Proof.** The product of a vector with the Jacobian, through its coefficients, has at most 3d + 12 roundings on a path, and the sizes of the paths are summed by :math:`\rho`: so
# :math:`\hat\lambda_k = \hat\lambda_{k+1}J_{k+1} + v_k + h_k` with :math:`|h_k|_1 \le \eta_k`. The difference obeys the recursion with :math:`h_k` in the place of v; unroll it from m, and use
# :math:`|wM|_1 \le |w|_1\|M\|_\infty`. ∎
#
# Any choice of m is a bound: the code takes the least over products of 10, 20, 40, ... steps, which end at multiples of these. The norms of the products are those of computed ones, plus what these lack: a product of two with errors
# :math:`o_1, o_2` lacks at most :math:`\|P_1\|o_2 + o_1\|P_2\| + \gamma\|P_1\|\|P_2\|`. The coefficients' errors :math:`\epsilon` are the radii of ``along_data`` for a box of no size.
#
# With it a measured gradient has a bound on its own rounding, and the verdict of an audit is one of three: it holds where the measured value plus its rounding is below the bound, it is violated where the value minus its rounding is above, and else
# it is undecided.

cell = LEMCell(1, 4, dt=0.5, dtype=torch.float64).requires_grad_(False)
generator = torch.Generator().manual_seed(0)
for p in cell.parameters():
    p.copy_(0.3 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
drive = torch.randn(500, 1, generator=generator, dtype=torch.float64)
zero = torch.zeros(1, 4, dtype=torch.float64)
ys, zs = (torch.cat([zero, a[:, 0]]) for a in kernels.run(cell.ode, cell.scheme, drive[:, None], zero, zero, cell.dt))
steps = steps_along(cell, drive, ys, zs)
pull = torch.randn(500, 4, generator=generator, dtype=torch.float64)
found = adjoint(steps, pull, windows=True)
assert (found.error <= adjoint(steps, pull).error).all()
print(
    f"adjoint of 500 steps: of size {float(found.y.abs().max()):.3g}, known to {float(found.error.max()):.1e}; by norms of single steps to {float(adjoint(steps, pull).error.max()):.1e}"
)
assert TINY < U
