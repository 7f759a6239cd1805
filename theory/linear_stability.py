r"""
Linear stability (6.3)
======================

How large a step does the linear part of LEM bear? In 6.3 the step is only required not to blow up, which is weaker than the invariance of the cube in S2.

| Computed by ``lemode.analysis.stability_region``; tested as 6.3 in ``tests/properties``.
"""

import numpy as np
import sympy as sp

from lemode.analysis import stability_region

STATEMENTS = ("6.3",)

# %%
# One equation
# ------------
# **Statement.** For :math:`\dot z = -g z`, LEM is :math:`z_n = (1 - \Delta t\,g) z_{n-1}`: bounded if and only if :math:`\Delta t\,g \le 2`, monotone if and only if
# :math:`\Delta t\,g \le 1`.
#
# A pair
# ------
# Linearise a z and a y that drive each other about a state, with gates that do not depend on y (:math:`W_1 = W_2 = 0`), and write :math:`a = \Delta t\,g_1`,
# :math:`b = \Delta t\,g_2`, p and q for the two couplings, derivatives of the candidates:
#
# .. math:: z_n = (1 - a) z_{n-1} + a p\,y_{n-1}, \qquad y_n = (1 - b) y_{n-1} + b q\,z_n .
#
# **Statement 6.3.** Let a, b > 0. Both eigenvalues of this map lie inside the unit circle if and only if
#
# .. math:: pq < 1, \qquad 4 - 2a - 2b + ab(1 + pq) > 0, \qquad |(1 - a)(1 - b)| < 1 ,
#
# and the third condition is implied if 0 < a, b < 2.
#
# **Proof.** Insert :math:`z_n`: the matrix of the map is
#
# .. math:: M = \begin{pmatrix} 1 - a & a p \\ b q(1 - a) & 1 - b + a b\,pq \end{pmatrix}, \qquad
#           \operatorname{tr} M = 2 - a - b + ab\,pq, \quad \det M = (1 - a)(1 - b) .
#
# Both zeros of :math:`\lambda^2 - \lambda\operatorname{tr}M + \det M` lie inside the unit circle if and only if (Schur, Jury) the polynomial is positive at 1 and at -1
# and :math:`|\det M| < 1`. At 1 it is :math:`ab(1 - pq)`, at -1 it is :math:`4 - 2a - 2b + ab(1 + pq)`. For 0 < a, b < 2, :math:`|1 - a|, |1 - b| < 1`. ∎
#
# The criterion quoted, for completeness. *Necessary*: a real polynomial :math:`\lambda^2 - T\lambda + D` with both zeros inside has
# :math:`|D| = |\lambda_1\lambda_2| < 1`, and is positive for real :math:`|\lambda| \ge 1`, since it has no zero there. *Sufficient*: complex zeros have
# :math:`|\lambda|^2 = D < 1`; real zeros :math:`\lambda_1 \le \lambda_2` with the polynomial positive at :math:`\pm 1` are both inside (-1, 1), or both to one side of it, and then
# :math:`|D| > 1`, or on different sides, and then the polynomial is negative at :math:`\pm 1`.

a, b, p, q, lam = sp.symbols("a b p q lambda")
M = sp.Matrix([[1 - a, a * p], [b * q * (1 - a), 1 - b + a * b * p * q]])
z, y = sp.symbols("z y")
z_new = (1 - a) * z + a * p * y
y_new = (1 - b) * y + b * q * z_new
assert sp.expand(M - sp.Matrix([z_new, y_new]).jacobian([z, y])) == sp.zeros(2)
assert sp.expand(M.det() - (1 - a) * (1 - b)) == 0
polynomial = lam**2 - lam * M.trace() + M.det()
assert sp.expand(polynomial.subs(lam, 1) - a * b * (1 - p * q)) == 0
assert sp.expand(polynomial.subs(lam, -1) - (4 - 2 * a - 2 * b + a * b * (1 + p * q))) == 0

# %%
# An oscillator: what the new z buys, and when
# --------------------------------------------
# **Statement.** For :math:`a = b = \theta` and :math:`pq = -\omega^2 < 0`, :math:`0 < \theta < 2`,
#
# .. math:: \text{LEM is stable iff } \theta < \frac{2}{1 + \omega}, \qquad \text{plain forward Euler (the old z) iff } \theta < \frac{2}{1 + \omega^2} .
#
# So the new z admits larger steps for fast oscillations, :math:`\omega > 1`, by a factor that grows like :math:`\omega`; for :math:`\omega < 1` forward Euler's limit is the
# larger one, but both then exceed 1, the largest step that LEM takes anyway.
#
# **Proof.** With :math:`pq = -\omega^2` the condition at -1 is
# :math:`4 - 4\theta + \theta^2(1 - \omega^2) = (2 - \theta - \theta\omega)(2 - \theta + \theta\omega) > 0`; for :math:`\theta < 2` the second factor is positive. The other two conditions
# hold. Forward Euler has the matrix :math:`\begin{pmatrix} 1 - \theta & \theta p \\ \theta q & 1 - \theta \end{pmatrix}` with eigenvalues
# :math:`1 - \theta \pm i\theta\omega`, inside the unit circle if and only if :math:`-2\theta + \theta^2(1 + \omega^2) < 0`. And
# :math:`2/(1 + \omega) > 2/(1 + \omega^2)` if and only if :math:`\omega^2 > \omega`. ∎

theta, omega = sp.symbols("theta omega", positive=True)
at_minus_one = (4 - 2 * a - 2 * b + a * b * (1 + p * q)).subs({a: theta, b: theta}).subs(p, -(omega**2) / q)
assert sp.expand(at_minus_one - (2 - theta - theta * omega) * (2 - theta + theta * omega)) == 0
euler = sp.Matrix([[1 - theta, theta * p], [theta * q, 1 - theta]]).subs(p, -(omega**2) / q)
modulus = sp.simplify(euler.det())  # of a complex pair
assert sp.expand(modulus - 1 - (-2 * theta + theta**2 * (1 + omega**2))) == 0

rng = np.random.default_rng(0)
compared = 0
for _ in range(4000):
    a_, b_, pq_ = rng.uniform(0.01, 2.6), rng.uniform(0.01, 2.6), rng.normal() * rng.choice([0.3, 1.0, 30.0])
    matrix = np.array([[1 - a_, a_ * pq_], [b_ * (1 - a_), 1 - b_ + a_ * b_ * pq_]])
    radius = max(abs(np.linalg.eigvals(matrix)))
    if abs(radius - 1) > 1e-9:
        assert stability_region(a_, b_, pq_) == (radius < 1)
        compared += 1
assert compared > 3990

for w in (0.5, 1.0, 5.0):
    assert stability_region(1.999 / (1 + w), 1.999 / (1 + w), -(w**2))
    assert not stability_region(2.001 / (1 + w), 2.001 / (1 + w), -(w**2))

# %%
# Other leaks
# -----------
# **Statement.** The schemes of ``unconditional_schemes`` are LEM with the leak :math:`\varphi(\theta)` in the place of :math:`\theta`, so the oscillator is stable if and only if
# :math:`\varphi(\theta) < 2/(1 + \omega)`. For :math:`\omega \le 1` that is every :math:`\theta > 0`; for :math:`\omega > 1`
#
# .. math:: \text{linearly implicit: } \theta < \frac{2}{\omega - 1}, \qquad \text{exponential: } \theta < \log\frac{\omega + 1}{\omega - 1} .
#
# So the unconditional invariance of the cube (6.4) is not unconditional stability of the oscillation: beyond these limits the linear pair is unstable, and it is the
# hyperbolic tangents that keep the state in the cube.
#
# **Proof.** :math:`\varphi < 1`, and :math:`2/(1 + \omega) \ge 1` for :math:`\omega \le 1`. For :math:`\omega > 1`: :math:`\theta/(1 + \theta) < 2/(1 + \omega)` is
# :math:`\theta(1 + \omega) < 2 + 2\theta`, and :math:`1 - e^{-\theta} < 2/(1 + \omega)` is :math:`e^{-\theta} > (\omega - 1)/(\omega + 1)`. ∎

limit = 2 / (omega - 1)
assert sp.simplify((limit / (1 + limit)) - 2 / (1 + omega)) == 0
limit = sp.log((omega + 1) / (omega - 1))
assert sp.simplify((1 - sp.exp(-limit)) - 2 / (1 + omega)) == 0
assert sp.simplify((theta / (1 + theta)).diff(theta)).is_positive  # both leaks increase, so the limits are thresholds
assert (1 - sp.exp(-theta)).diff(theta).is_positive
