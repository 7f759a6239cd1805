r"""
A step of second order: Strang splitting (6.5)
==============================================

The field is that of ``vector_field``: :math:`F_z = g_1(y)(\hat z(y) - z)`, :math:`F_y = g_2(y)(\hat y(z) - y)`, with a fixed input u and products elementwise. Write
:math:`h = \Delta t` and :math:`\ell_i(y, h) = 1 - e^{-h\,g_i(y)}`. The scheme ``strang`` is

.. math::

    z_{1/2} &= z_0 + \ell_1(y_0, \tfrac h2)(\hat z(y_0) - z_0), & y_* &= y_0 + \ell_2(y_0, \tfrac h2)(\hat y(z_{1/2}) - y_0), \\
    y_1 &= y_0 + \ell_2(y_*, h)(\hat y(z_{1/2}) - y_0), & z_1 &= z_{1/2} + \ell_1(y_1, \tfrac h2)(\hat z(y_1) - z_{1/2}) .

| ``lemode.schemes.strang``; the orders and the limits are tested in ``tests/test_schemes.py``.
"""

import math

import numpy as np
import sympy as sp
import torch
from scipy.integrate import solve_ivp

from lemode import MultiscaleODE
from lemode.schemes import SCHEMES, strang

STATEMENTS = ("6.5",)

# %%
# The two parts of the field
# --------------------------
# Split :math:`F = A + B` with :math:`A = (F_z, 0)`, which moves z while y rests, and :math:`B = (0, F_y)`, which moves y while z rests.
#
# **Statement.** (i) The flow of A over time s is :math:`z \mapsto z + \ell_1(y, s)(\hat z(y) - z)`, exactly. (ii) The step :math:`y_0 \mapsto y_1` above differs from the flow of B over time h by
# :math:`O(h^3)`.
#
# **Proof.** (i) With y at rest, :math:`w = z - \hat z` solves :math:`\dot w = -g_1 w` with constant :math:`g_1`. (ii) With z at rest, :math:`w = y - \hat y` solves
# :math:`\dot w_i = -g_{2,i}(y(s))\, w_i`, component by component, so that
#
# .. math:: w_i(h) = \exp\left(-\int_0^h g_{2,i}(y(s))\,ds\right) w_i(0) .
#
# The midpoint rule gives :math:`\int_0^h g_2(y(s))\,ds = h\,g_2(y(\frac h2)) + O(h^3)`. The predictor :math:`y_*` is the first-order exponential step over :math:`\frac h2`; its error is
# :math:`y_* - y(\frac h2) = O(h^2)`, and :math:`g_2` is Lipschitz: :math:`h\,g_2(y_*) = h\,g_2(y(\frac h2)) + O(h^3)`. The exponential is Lipschitz for exponents below 0, so
# :math:`w(h) = e^{-h g_2(y_*)} w(0) + O(h^3)`, which is the step. ∎
#
# The check, with two units whose gates depend on both: the Taylor coefficients in h agree up to :math:`h^2`.

h, s = sp.symbols("h s", positive=True)
y = sp.symbols("y_1 y_2")
c = sp.symbols("c_1 c_2")  # yhat, at rest
gate = [sp.Function(f"g_{i}") for i in (1, 2)]


def relax(x, target, rate, time):
    """The flow of x' = rate (target - x)."""
    return x + (1 - sp.exp(-rate * time)) * (target - x)


field = [gate[i](*y) * (c[i] - y[i]) for i in range(2)]
middle = [relax(y[i], c[i], gate[i](*y), h / 2) for i in range(2)]
stepped = [relax(y[i], c[i], gate[i](*middle), h) for i in range(2)]
for i in range(2):
    second = sum(field[i].diff(y[j]) * field[j] for j in range(2))
    for order, exact in ((0, y[i]), (1, field[i]), (2, second)):
        taylor = stepped[i].diff(h, order).subs(h, 0).doit() if order else stepped[i].subs(h, 0)
        assert sp.simplify(taylor - exact) == 0

# %%
# Order two
# ---------
# **Statement 6.5.** One step from a state in the cube differs from the flow of the ODE by :math:`O(h^3)`. With the input piecewise constant, :math:`u = u_n` on
# :math:`(t_{n-1}, t_n]`, the error at a fixed time is :math:`O(h^2)`.
#
# **Proof.** *Local error.* Let :math:`L_A f = Df\,A`, :math:`L_B f = Df\,B` be the derivatives along the parts. The flow of A acts on functions as
# :math:`e^{sL_A} = 1 + s L_A + \frac12 s^2 L_A^2 + O(s^3)`, likewise B and :math:`A + B`. The composition of half a step of A, one of B and half a step of A is
#
# .. math::
#
#     e^{\frac h2 L_A} e^{h L_B} e^{\frac h2 L_A} = 1 + h(L_A + L_B) + \tfrac12 h^2\left(L_A^2 + L_A L_B + L_B L_A + L_B^2\right) + O(h^3)
#     = e^{h(L_A + L_B)} + O(h^3),
#
# since :math:`L_A^2` is collected as :math:`\frac18 + \frac14 + \frac18 = \frac12` and each mixed product as :math:`\frac12`. The remainders are bounded because all derivatives of F are bounded on the
# cube and nothing leaves it (below). By (i) and (ii) the scheme is this composition but for :math:`O(h^3)` in its middle part, which the last part, a Lipschitz map, passes on as :math:`O(h^3)`.
#
# *Global error.* The step is smooth in (h, y, z) and the identity at h = 0, so on the cube, which is convex and compact, it is Lipschitz with a constant
# :math:`1 + L h`. Hence :math:`e_n \le (1 + L h) e_{n-1} + C h^3` and :math:`e_n \le C h^2 (e^{L t_n} - 1)/L`. ∎
#
# The check: one unit each, all four functions arbitrary. The error of the whole step vanishes up to :math:`h^2`, and not at :math:`h^3`.

z0, y0 = sp.symbols("z y")
g1, g2, zhat, yhat = (sp.Function(name) for name in ("g_1", "g_2", "zhat", "yhat"))
z_half = relax(z0, zhat(y0), g1(y0), h / 2)
y_middle = relax(y0, yhat(z_half), g2(y0), h / 2)
y_new = relax(y0, yhat(z_half), g2(y_middle), h)
z_new = relax(z_half, zhat(y_new), g1(y_new), h / 2)
F = (g1(y0) * (zhat(y0) - z0), g2(y0) * (yhat(z0) - y0))
for start, new, rate in ((z0, z_new, F[0]), (y0, y_new, F[1])):
    second = rate.diff(z0) * F[0] + rate.diff(y0) * F[1]
    assert sp.simplify(new.subs(h, 0) - start) == 0
    assert sp.simplify(new.diff(h).subs(h, 0).doit() - rate) == 0
    assert sp.simplify(new.diff(h, 2).subs(h, 0).doit() - second) == 0

# a case in numbers for the third: unit rates and straight lines, zhat = -y, yhat = z
linear = sp.Matrix([[-1, -1], [1, -1]])  # acts on (z, y)
half = sp.Matrix([[sp.exp(-h / 2), -(1 - sp.exp(-h / 2))], [0, 1]])
whole = sp.Matrix([[1, 0], [1 - sp.exp(-h), sp.exp(-h)]])
defect = (half * whole * half - sum((linear**k * h**k / sp.factorial(k) for k in range(4)), sp.zeros(2))).applyfunc(
    lambda entry: sp.series(entry, h, 0, 4).removeO()
)
assert all(sp.expand(entry).coeff(h, k) == 0 for entry in defect for k in (0, 1, 2))
assert any(sp.expand(entry).coeff(h, 3) != 0 for entry in defect)

# %%
# The cube, for every step size
# -----------------------------
# **Statement.** For every :math:`h > 0`, :math:`|y_0|, |z_0| \le 1` implies :math:`|y_1|, |z_1| \le 1`.
#
# **Proof.** Each of the four lines has the form :math:`x' = (1 - \ell) x + \ell \hat x` with :math:`0 < \ell < 1`, :math:`|x| \le 1` and :math:`|\hat x| \le 1`, the last being a tanh. ∎
#
# An input that varies
# --------------------
# **Statement.** For an input u(t) with two continuous derivatives the scheme is of order two if it is given the value in the middle of the step, :math:`u_n = u(t_n - \frac h2)`, and of
# order one if it is given the value at the end, :math:`u_n = u(t_n)`.
#
# **Proof.** Let x solve the ODE with u(t) and :math:`\tilde x` with :math:`u_n`, from the same state at :math:`t_{n-1}`; F is smooth in (x, u). As :math:`|u(t) - u_n| = O(h)` on the step,
# :math:`x - \tilde x = O(h^2)` there. So
#
# .. math:: x(t_n) - \tilde x(t_n) = \int\left[F(x, u(t)) - F(\tilde x, u_n)\right]dt = \partial_u F \int (u(t) - u_n)\,dt + O(h^3) ,
#
# with :math:`\partial_u F` at the start of the step. For the value in the middle the integral is :math:`O(h^3)` by the midpoint rule: a local error of third order, as in 6.5. For the value at
# the end it is :math:`-\frac12 h^2\,\dot u + O(h^3)`: a local error of exactly second order wherever :math:`\partial_u F\,\dot u \ne 0`. ∎
#
# Linear stability
# ----------------
# **Statement.** For the oscillator :math:`\dot z = g(-z - \omega y)`, :math:`\dot y = g(-y + \omega z)`, which the ODE damps for every :math:`\omega \ge 0`, ``strang`` has the limit of
# ``exponential`` (``linear_stability``): with :math:`x = \Delta t\,g` it is asymptotically stable if and only if :math:`\omega \le 1` or :math:`x < \log\frac{\omega + 1}{\omega - 1}`.
#
# **Proof.** Near a fixed point :math:`\hat z = z` and :math:`\hat y = y`, so that the derivative of each gate is multiplied by 0. Let Z be the matrix of the flow of A over a whole step,
# :math:`Z^{1/2}` that over half a step and Y that of the middle part. Then :math:`Z^{1/2}\,Y\,Z^{1/2} = Z^{1/2}\,(Y Z)\,Z^{-1/2}` has the eigenvalues of :math:`YZ`, which is the
# exponential step. ∎

x, omega = sp.symbols("x omega", positive=True)
Z_half = sp.Matrix([[sp.exp(-x / 2), -omega * (1 - sp.exp(-x / 2))], [0, 1]])
Z = sp.Matrix([[sp.exp(-x), -omega * (1 - sp.exp(-x))], [0, 1]])
Y = sp.Matrix([[1, 0], [omega * (1 - sp.exp(-x)), sp.exp(-x)]])
assert (Z_half**2 - Z).applyfunc(sp.simplify) == sp.zeros(2)
strang_matrix, exponential_matrix = Z_half * Y * Z_half, Y * Z
assert sp.simplify(strang_matrix.trace() - exponential_matrix.trace()) == 0
assert sp.simplify(strang_matrix.det() - exponential_matrix.det()) == 0

# %%
# Measured
# --------
# Five networks with coupled gates: errors at time 4 with a constant input fall by 4 when the step is halved; with u(t) = sin t by 4 for the middle value and by 2 for the end value.

f64 = torch.float64
rng = np.random.default_rng(0)


def slopes(ode, u, sample):
    """Measured orders over four halvings; `sample` says which time of the step the input is taken at (1: the end)."""
    d, start = ode.hidden_size, rng.uniform(-1, 1, 2 * ode.hidden_size)

    def field(t, state):
        dy, dz = ode(torch.from_numpy(state[:d]), torch.from_numpy(state[d:]), u(t))
        return np.concatenate([dy, dz])

    truth = solve_ivp(field, (0, 4), start, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    errors = []
    for steps in (64, 128, 256, 512, 1024):
        state, dt = (torch.from_numpy(start[:d]), torch.from_numpy(start[d:])), 4 / steps
        for n in range(steps):
            state = strang(ode, state, u((n + sample) * dt), dt)
        errors.append(np.abs(np.concatenate(state) - truth).max())
    return np.log2(np.array(errors[:-1]) / errors[1:])


for _ in range(5):
    ode = MultiscaleODE(1, 3, dtype=f64).requires_grad_(False)
    for parameter in ode.parameters():
        parameter.copy_(torch.from_numpy(rng.standard_normal(tuple(parameter.shape))))
    assert np.abs(slopes(ode, lambda t: torch.ones(1, dtype=f64), 1.0) - 2).max() < 0.05
    assert np.abs(slopes(ode, lambda t: torch.tensor([math.sin(t)], dtype=f64), 0.5) - 2).max() < 0.1
    assert np.abs(slopes(ode, lambda t: torch.tensor([math.sin(t)], dtype=f64), 1.0) - 1).max() < 0.1

for step_size in (1e-3, 1.0, 1e3, 1e6):
    for dtype in (torch.float32, f64):
        ode = MultiscaleODE(1, 4, dtype=dtype).requires_grad_(False)
        for parameter in ode.parameters():
            parameter.copy_(10 * torch.from_numpy(rng.standard_normal(tuple(parameter.shape))))
        state = (torch.zeros(200, 4, dtype=dtype),) * 2
        for _ in range(20):
            state = strang(ode, state, torch.from_numpy(rng.standard_normal((200, 1))).to(dtype), step_size)
            assert max(float(part.abs().max()) for part in state) <= 1

g = 0.3
for name, scheme in SCHEMES.items():
    for w in (0.0, 0.5, 1.0, 3.0, 10.0):
        ode = MultiscaleODE(1, 1, dtype=f64).requires_grad_(False)
        for parameter in ode.parameters():
            parameter.zero_()
        blocks = ode.blocks()
        for block, value in (
            (blocks.Wz, -w),
            (blocks.Wy, w),
            (blocks.b1, math.log(g / (1 - g))),
            (blocks.b2, math.log(g / (1 - g))),
        ):
            block.fill_(value)
        limit = scheme.stability_limit(w)
        for factor in (0.999, 1.001) if math.isfinite(limit) else (1.0,):
            dt = factor * limit / g if math.isfinite(limit) else 50.0

            def one_step(state, ode=ode, scheme=scheme, dt=dt):
                return torch.cat(scheme.step(ode, (state[:1], state[1:]), torch.zeros(1, dtype=f64), dt))

            J = torch.autograd.functional.jacobian(one_step, torch.zeros(2, dtype=f64))
            radius = np.abs(np.linalg.eigvals(J.numpy())).max()
            assert (radius < 1) == (factor <= 1), (name, w, radius)
