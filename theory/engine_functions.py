r"""
Engine functions: psi, G, gamma, beta, chi, A
=============================================

Every bound of lemode reduces to a maximum over one gate :math:`g \in [0, 1]` and one candidate :math:`h = |\tanh| \in [0, 1]`. These
maxima have closed forms, which are proved here. All arguments are nonnegative.

.. math::

    \psi_r(a, b) &= \max_{0 \le h \le 1}\ (r + h)\,a + (1 - h^2)\,b , \qquad \psi = \psi_1 \\
    G(s, A, B; r) &= \max_{0 \le g, h \le 1}\ g \left[-s + (1 - g)(r + h) A + (1 - h^2) B\right] \\
    \gamma(a, b) &= G(1, a, b; 1), \qquad \beta(a, b) = G(0, a, b; 1) \\
    \chi(w) &= \max_{0 \le g \le 1}\ g \left(1 + 2 w (1 - g)\right) \\
    A(N, \Delta t, G) &= \frac1N \sum_{n=1}^N \sum_{k=1}^n \Delta t\,(1 + \Delta t\, G)^{n-k}

| Computed by ``lemode.analysis.psi``, ``psi_r``, ``lem_G``, ``gam``, ``beta``, ``chi``, ``linear_growth``; tested as psi to A in
| ``tests/properties``.
"""

import numpy as np
import sympy as sp

from lemode.analysis import beta, chi, gam, lem_G, linear_growth, psi, psi_r

STATEMENTS = ("psi", "G", "gamma", "beta", "chi", "A")

# %%
# psi
# ---
# **Statement.**
#
# .. math:: \psi_r(a, b) = \begin{cases} r a + b + \dfrac{a^2}{4 b} & \text{if } a \le 2b,\ b > 0 \\ (1 + r)\, a & \text{otherwise.} \end{cases}
#
# **Proof.** For b > 0 the function of h is a strictly concave parabola with its vertex at :math:`h^* = a/(2b)`. If :math:`h^* \le 1` the
# maximum is the value there; otherwise the function increases on [0, 1] and the maximum is its value at h = 1. For b = 0 it does not
# decrease, so h = 1 again. ∎

a, b, r, h, g, s, w, A, B = sp.symbols("a b r h g s w A B", positive=True)
parabola = (r + h) * a + (1 - h**2) * b
vertex = sp.solve(sp.diff(parabola, h), h)
assert vertex == [a / (2 * b)]
assert sp.diff(parabola, h, 2) == -2 * b
assert sp.simplify(parabola.subs(h, vertex[0]) - (r * a + b + a**2 / (4 * b))) == 0
assert sp.expand(parabola.subs(h, 1) - (1 + r) * a) == 0

rng = np.random.default_rng(0)
hs = np.linspace(0, 1, 4001)
a_, b_, r_ = rng.exponential(2, 300), rng.exponential(2, 300) * rng.integers(0, 2, 300), rng.uniform(0, 1, 300)
grid = np.max((r_ + hs[:, None]) * a_ + (1 - hs[:, None] ** 2) * b_, axis=0)
exact = psi_r(a_, b_, r_)
assert np.all(grid <= exact * (1 + 1e-14))
assert np.all(exact - grid <= b_ * (0.5 / 4000) ** 2 + 1e-14 * exact)  # a parabola: (half a grid step)^2 times its curvature
assert np.array_equal(psi(a_, b_), psi_r(a_, b_, 1.0))

# %%
# G
# -
# **Statement.** G is the largest of the values of :math:`p(g) = g\,[-s + \psi_r((1 - g) A, B)]` at g = 0, g = 1 and, where they
# exist and lie in [0, 1], at
#
# .. math:: \frac{(1 + r) A - s}{2 (1 + r) A}, \qquad 1 - \frac{2B}{A}, \qquad
#           1 - \frac{(k - rA) \pm \sqrt{(k - rA)^2 + 3k\,(rA - B + s)}}{3k}, \quad k = \frac{A^2}{4B} .
#
# **Proof.** Since :math:`g \ge 0`, the maximum over h may be taken inside: it is :math:`\psi_r((1 - g) A, B)`, and
# :math:`G = \max_g p(g)`. p is continuous on [0, 1] and, with q = 1 - g, consists of two polynomials, one for each case of
# :math:`\psi_r`:
#
# .. math::
#
#     q A > 2 B: &\quad p = g \left(-s + (1 + r) q A\right), \\
#     q A \le 2 B: &\quad p = (1 - q) \left(k q^2 + r A q + B - s\right).
#
# A continuous, piecewise smooth function has its maximum at an end of the interval, at the point :math:`q = 2B/A` where the pieces
# meet, or at a stationary point of one piece. The stationary points are the roots of a linear and of a quadratic equation, as
# listed (checked below). If A = 0, p is linear in g, and the ends are enough; if B = 0 only the first piece occurs. A stationary point of
# one piece that lies in the domain of the other does no harm as a candidate: p itself is evaluated there, and p never exceeds its
# maximum. ∎
#
# **Properties.** As a maximum of functions that are affine in (s, A, B), G is jointly convex in them; it does not increase in s, does not
# decrease in A, B and r, is positively homogeneous in (s, A, B), and :math:`G \ge 0` (take g = 0).

piece1 = g * (-s + (1 + r) * (1 - g) * A)
assert sp.simplify(sp.solve(sp.diff(piece1, g), g)[0] - ((1 + r) * A - s) / (2 * (1 + r) * A)) == 0
q, k = sp.symbols("q k", positive=True)
piece2 = (1 - q) * (k * q**2 + r * A * q + B - s)
inner = sp.expand((-s + (r * a + b + a**2 / (4 * b))).subs({a: q * A, b: B}))
assert sp.simplify(inner - (k * q**2 + r * A * q + B - s).subs(k, A**2 / (4 * B))) == 0
for sign in (1, -1):
    root = ((k - r * A) + sign * sp.sqrt((k - r * A) ** 2 + 3 * k * (r * A - B + s))) / (3 * k)
    assert sp.simplify(sp.diff(piece2, q).subs(q, root)) == 0

gs, hs = np.linspace(0, 1, 401)[:, None], np.linspace(0, 1, 401)
worst = 0.0
for case in range(400):
    s_, A_, B_ = rng.exponential(2, 3) * rng.integers(0, 2, 3) if case % 2 else rng.exponential(3, 3)
    r_ = float(rng.choice([0.0, 1.0, rng.uniform()]))
    brute = np.max(gs * (-s_ + (1 - gs) * (r_ + hs) * A_ + (1 - hs**2) * B_))
    value = lem_G(s_, A_, B_, r_)
    assert value >= brute * (1 - 1e-14)
    # a grid of step 1/400 misses the maximum of a smooth function by curvature x (1/800)^2 / 2 in each variable, with curvatures
    # at most 2(1 + r)A + 2B and mixed terms below that; 4 x covers all
    assert value - brute <= 4 * (4 * A_ + 2 * B_ + 1e-9) / 800**2
    worst = max(worst, value - brute)

# %%
# gamma and beta have simple bounds
# ---------------------------------
# **Statement.** :math:`\gamma(a, b) \le \tfrac12 a + (b - 1)_+` and :math:`\beta(a, b) \le \tfrac12 a + b`; also
# :math:`\gamma(a, b) \ge (b - 1)_+`.
#
# **Proof.** In :math:`g(1-g)(1+h)a + g[(1-h^2) b - s]` the first term is at most :math:`\frac14 \cdot 2 \cdot a`. The second is at most
# :math:`(b - 1)_+` for s = 1 and b for s = 0. The lower bound is the value at g = 1, h = 0, or g = 0. ∎

a_, b_ = rng.exponential(3, 2000), rng.exponential(3, 2000)
assert np.all(gam(a_, b_) <= (a_ / 2 + np.maximum(b_ - 1, 0)) * (1 + 1e-14))
assert np.all(gam(a_, b_) >= np.maximum(b_ - 1, 0) * (1 - 1e-14))
assert np.all(beta(a_, b_) <= (a_ / 2 + b_) * (1 + 1e-14))

# %%
# chi
# ---
# **Statement.** :math:`\chi(w) = 1` for :math:`w \le 1/2`, and :math:`(1 + 2w)^2/(8w)` otherwise.
#
# **Proof.** A concave parabola in g with its vertex at :math:`(1 + 2w)/(4w)`, which is at most 1 if and only if :math:`w \ge 1/2`; for
# smaller w the function increases on [0, 1] and is 1 at g = 1. ∎

loss = g * (1 + 2 * w * (1 - g))
assert sp.simplify(sp.solve(sp.diff(loss, g), g)[0] - (1 + 2 * w) / (4 * w)) == 0
assert sp.simplify(loss.subs(g, (1 + 2 * w) / (4 * w)) - (1 + 2 * w) ** 2 / (8 * w)) == 0
assert loss.subs(g, 1) == 1
w_ = np.concatenate([np.linspace(0, 3, 601), [0.5]])
brute = np.max(gs * (1 + 2 * w_ * (1 - gs)), axis=0)
assert np.all(brute <= chi(w_) * (1 + 1e-14))
assert np.all(chi(w_) - brute <= 2 * w_ / 800**2 + 1e-14)

# %%
# A
# -
# **Statement.** With :math:`x = \Delta t\, G > 0`
#
# .. math:: A(N, \Delta t, G) = \frac1G \left( \frac{(1 + x)\left((1 + x)^N - 1\right)}{N x} - 1 \right)
#           = \frac{\Delta t}{N} \sum_{j=0}^{N-1} \binom{N + 1}{j + 2}\, x^j ,
#
# and :math:`A = \Delta t\,(N + 1)/2` for G = 0. A does not decrease in N, :math:`\Delta t` or G.
#
# **Proof.** The inner sum is geometric: :math:`\sum_{k=1}^n (1 + x)^{n-k} = ((1 + x)^n - 1)/x`. Summing it over n, again a geometric
# series, gives :math:`\frac{\Delta t}{N x} \left( \frac{(1+x)((1+x)^N - 1)}{x} - N \right)`, which is the first form. The inner sum is also
# :math:`\sum_{j \ge 0} \binom{n}{j+1} x^j`, and :math:`\sum_{n=1}^N \binom{n}{j+1} = \binom{N+1}{j+2}`. All terms are nonnegative and
# increase in x, so A increases in G and :math:`\Delta t`; it is a mean over n of inner sums that increase with n, so it increases in
# N. ∎

x, dt = sp.symbols("x dt", positive=True)
N, n, m = sp.symbols("N n m", integer=True, positive=True)
inner = ((1 + x) ** n - 1) / x
assert sp.simplify(sp.summation((1 + x) ** m, (m, 0, n - 1)) - inner) == 0
# the sum over n, by induction on N: its value at N minus that at N - 1 is the n = N term, and at N = 1 it is the n = 1 term
total = (((1 + x) * ((1 + x) ** N - 1)) / x - N) / x
assert sp.simplify(total - total.subs(N, N - 1) - inner.subs(n, N)) == 0
assert sp.simplify(total.subs(N, 1) - inner.subs(n, 1)) == 0
closed = (x / dt) ** -1 * ((1 + x) * ((1 + x) ** N - 1) / (N * x) - 1)
assert sp.simplify(closed - dt * total / N) == 0
for size in (1, 2, 5, 9):
    binomial = dt / size * sum(sp.binomial(size + 1, j + 2) * x**j for j in range(size))
    assert sp.expand(sp.cancel(closed.subs(N, size)) - binomial) == 0

for size, step, growth in ((1, 0.5, 3.0), (7, 0.1, 0.0), (40, 0.05, 1e-9), (40, 0.05, 2.0), (300, 0.01, 5.0)):
    powers = (1 + step * growth) ** np.arange(size)
    brute = step * np.mean(np.cumsum(powers))
    assert abs(linear_growth(size, step, growth) - brute) <= 1e-12 * brute
